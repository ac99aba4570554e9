"""The sandbox's Reports API keeps Amazon's rules: shapes by its model, life cycle, windows, addresses that expire."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from orders_pipeline.sandbox.amazon.order_report import COLUMNS
from orders_pipeline.sandbox.amazon.reports import ALL_ORDERS_BY_LAST_UPDATE
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.sandbox.amazon_models import problems
from orders_pipeline_tests.sandbox.honest_client import HonestClient

MODEL = "reports_2021-06-30.json"
REPORTS, DOCUMENTS = "/reports/2021-06-30/reports", "/reports/2021-06-30/documents"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """One of its own: each test's reports are about its own orders alone."""
    with Sandbox(time_scale=100_000, canary=True, floor=FloorOptions(automatic=False), subscribed=False) as started:
        yield started


def specification(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    # Later than the last change, which may be a millisecond ahead of the clock.
    sandbox.clock.advance(timedelta(seconds=1))
    now = sandbox.clock.now()
    return {
        "reportType": ALL_ORDERS_BY_LAST_UPDATE,
        "marketplaceIds": [MARKETPLACE_ID],
        "dataStartTime": iso(now - timedelta(days=1)),
        "dataEndTime": iso(now),
        **changes,
    }


def create(client: HonestClient, sandbox: Sandbox, **changes: Any) -> str:
    answer = client.amazon("POST", REPORTS, body=specification(sandbox, **changes))
    assert answer.status_code == 202, answer.text
    assert problems(MODEL, "CreateReportResponse", answer.json()) == []
    return answer.json()["reportId"]


def look(client: HonestClient, report_id: str) -> dict[str, Any]:
    answer = client.amazon("GET", f"{REPORTS}/{report_id}")
    assert answer.status_code == 200, answer.text
    assert problems(MODEL, "Report", answer.json()) == []
    return answer.json()


def document(client: HonestClient, report: dict[str, Any]) -> dict[str, Any]:
    answer = client.amazon("GET", f"{DOCUMENTS}/{report['reportDocumentId']}")
    assert problems(MODEL, "ReportDocument", answer.json()) == []
    return answer.json()


def refusal(answer: requests.Response) -> str:
    assert answer.status_code == 400, answer.text
    assert problems(MODEL, "ErrorList", answer.json()) == []
    return answer.json()["errors"][0]["message"]


def test_a_report_waits_is_made_and_tells_every_item_in_amazons_columns(sandbox: Sandbox, client: HonestClient) -> None:
    sandbox.amazon.options.report_queue_seconds, sandbox.amazon.options.report_work_seconds = 60, 60
    order = sandbox.add_order(items=[{"title": 'A 15" frame', "quantity": 2, "unit_price": "7.00"}, {}], notify=False)
    sandbox.amazon.cancel(sandbox.add_order(notify=False).order_id, notify=False)
    report_id = create(client, sandbox)
    seen = [look(client, report_id)["processingStatus"]]
    for _ in range(2):
        sandbox.clock.advance(timedelta(seconds=61))
        seen.append(look(client, report_id)["processingStatus"])
    assert seen == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    told = document(client, look(client, report_id))
    assert told["compressionAlgorithm"] == "GZIP"
    answer = requests.get(told["url"], timeout=5)
    assert answer.headers["Content-Type"] == "text/plain;charset=UTF-8"
    header, *lines = gzip.decompress(answer.content).decode().splitlines()
    assert tuple(header.split("\t")) == COLUMNS
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]
    assert len(rows) == 3
    first = rows[0]
    assert (first["amazon-order-id"], first["order-status"], first["fulfillment-channel"], first["sales-channel"]) == (
        order.order_id, "Unshipped", "Merchant", "Amazon.com",
    )  # fmt: skip
    assert (first["product-name"], first["quantity"], first["item-price"]) == ('A 15" frame', "2", "14.0")
    assert first["last-updated-date"].endswith("+00:00")
    # Two l, and no pieces.
    assert (rows[2]["order-status"], rows[2]["quantity"]) == ("Cancelled", "0")
    # Of the buyer it tells the place alone, as Amazon's does.
    for who in (order.address.name, order.address.address_line1, order.address.phone, order.buyer.email):
        assert who
        assert who not in answer.text
        assert who not in "\n".join(lines)


def test_an_address_of_a_document_lives_five_minutes_and_takes_no_credentials(
    sandbox: Sandbox, client: HonestClient
) -> None:
    sandbox.add_order(notify=False)
    told = document(client, look(client, create(client, sandbox)))
    with_token = requests.get(told["url"], headers={"x-amz-access-token": "Atza|x"}, timeout=5)
    assert with_token.status_code == 400
    assert sandbox.amazon.reports.credentials_sent == 1
    assert requests.get(told["url"].replace("Signature=", "Signature=x"), timeout=5).status_code == 403
    sandbox.clock.advance(timedelta(seconds=299))
    assert requests.get(told["url"], timeout=5).status_code == 200
    sandbox.clock.advance(timedelta(seconds=2))
    late = requests.get(told["url"], timeout=5)
    assert (late.status_code, "Request has expired" in late.text) == (403, True)


@pytest.mark.parametrize("charset,codec", [("Cp1252", "cp1252"), ("Shift_JIS", "cp932"), ("UTF-8", "utf-8")])
def test_the_header_of_the_document_names_its_charset(
    sandbox: Sandbox, client: HonestClient, charset: str, codec: str
) -> None:
    title = "髙島屋 ①" if codec == "cp932" else "Café crème"
    sandbox.amazon.options.report_charset, sandbox.amazon.options.report_gzip = charset, False
    sandbox.add_order(items=[{"title": title}], notify=False)
    told = document(client, look(client, create(client, sandbox)))
    assert "compressionAlgorithm" not in told
    answer = requests.get(told["url"], timeout=5)
    assert answer.headers["Content-Type"] == f"text/plain;charset={charset}"
    assert title in answer.content.decode(codec)


def test_a_report_without_data_is_cancelled_and_a_failed_one_explains_itself_in_its_document(
    sandbox: Sandbox, client: HonestClient
) -> None:
    empty = look(client, create(client, sandbox))
    assert (empty["processingStatus"], "reportDocumentId" in empty) == ("CANCELLED", False)
    sandbox.add_order(notify=False)
    sandbox.amazon.faults.add("report_fatal")
    failed = look(client, create(client, sandbox))
    assert failed["processingStatus"] == "FATAL"
    told = document(client, failed)
    assert b"errorDetails" in gzip.decompress(requests.get(told["url"], timeout=5).content)


def test_only_a_waiting_report_can_be_cancelled_and_it_stays_listed(sandbox: Sandbox, client: HonestClient) -> None:
    sandbox.amazon.options.report_queue_seconds = 60
    waiting = create(client, sandbox)
    assert client.amazon("DELETE", f"{REPORTS}/{waiting}").status_code == 200
    assert "IN_QUEUE" in refusal(client.amazon("DELETE", f"{REPORTS}/{waiting}"))
    listed = client.amazon("GET", REPORTS, parameters={"reportTypes": ALL_ORDERS_BY_LAST_UPDATE}).json()
    assert problems(MODEL, "GetReportsResponse", listed) == []
    assert [(one["reportId"], one["processingStatus"]) for one in listed["reports"]] == [(waiting, "CANCELLED")]


@pytest.mark.parametrize(
    "changes,sentence",
    [
        ({"reportType": "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"}, "cannot be requested"),
        ({"reportType": "GET_NOTHING"}, "Report Type"),
        ({"marketplaceIds": []}, "1 to 25"),
        ({"dataStartTime": "2024-01-01T00:00:00Z"}, "30 days"),
        ({"dataEndTime": "2099-01-01T00:00:00Z"}, "prior to or equal"),
        ({"dataStartTime": "yesterday"}, "ISO 8601"),
        ({"invented": 1}, "invented"),
    ],
)
def test_what_amazon_does_not_make_is_refused(
    sandbox: Sandbox, client: HonestClient, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(client.amazon("POST", REPORTS, body=specification(sandbox, **changes)))


def test_the_next_page_is_asked_for_by_its_token_alone(sandbox: Sandbox, client: HonestClient) -> None:
    made = [create(client, sandbox) for _ in range(3)]
    first = client.amazon("GET", REPORTS, parameters={"reportTypes": ALL_ORDERS_BY_LAST_UPDATE, "pageSize": "2"}).json()
    token = {"nextToken": first["nextToken"]}
    assert "only parameter" in refusal(client.amazon("GET", REPORTS, parameters={**token, "pageSize": "2"}))
    second = client.amazon("GET", REPORTS, parameters=token).json()
    ids = [one["reportId"] for one in (*first["reports"], *second["reports"])]
    assert ids == made[::-1]
    assert "nextToken" not in second


def test_reports_are_listed_for_ninety_days_and_kept_for_thirty(sandbox: Sandbox, client: HonestClient) -> None:
    report_id = create(client, sandbox)
    since = iso(sandbox.clock.now() - timedelta(days=91))
    query = {"reportTypes": ALL_ORDERS_BY_LAST_UPDATE, "createdSince": since}
    assert "more than 90 days old" in refusal(client.amazon("GET", REPORTS, parameters=query))
    sandbox.clock.advance(timedelta(days=30, minutes=1))
    client.sign_in()
    fresh = HonestClient(sandbox.environment())
    assert fresh.amazon("GET", f"{REPORTS}/{report_id}").status_code == 404


def test_another_sellers_report_is_not_there(sandbox: Sandbox, client: HonestClient) -> None:
    report_id = create(client, sandbox)
    sandbox.amazon.accounts.add_seller("A2OTHER", [MARKETPLACE_ID])
    other = HonestClient(sandbox.environment("A2OTHER"))
    assert other.amazon("GET", f"{REPORTS}/{report_id}").status_code == 404
