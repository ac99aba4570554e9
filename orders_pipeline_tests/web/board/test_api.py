"""The API as a program uses it: parameters, pages, tags, and answers of the form that its document says."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from orders_pipeline_tests.web.board.served import PERSON
from orders_pipeline_tests.web.board.shop import Shop

ORDERS = "/api/amazon/orders"


def _get(url: str, path: str = ORDERS, status: int = 200, **headers: str) -> Any:
    answer = requests.get(f"{url}{path}", headers={PERSON: "victor", **headers}, timeout=30)
    assert answer.status_code == status, answer.text
    return answer


def _ids(url: str, query: str) -> list[str]:
    return [order["order_id"] for order in _get(url, f"{ORDERS}?{query}").json()["orders"]]


def test_orders_are_chosen_by_status_and_filter(board_url: str, shop: Shop):
    assert _ids(board_url, "status=Pending") == ["111-0000006-0000006"]
    assert _ids(board_url, "status=Delivered,Canceled") == ["111-0000008-0000008", "111-0000009-0000009"]
    assert _ids(board_url, "status=Other") == ["111-0000010-0000010"]
    assert _ids(board_url, "status=Unshipped&fulfillment=AFN") == ["222-0000001-0000001"]
    assert _ids(board_url, "hold=buyer_asks_to_cancel") == ["111-0000003-0000003"]
    assert _ids(board_url, "q=1Z999AA10123456784") == ["111-0000007-0000007"]
    needing = _ids(board_url, "needs=tracking")
    assert "111-0000001-0000001" in needing
    # It left, and Amazon does not show its package yet; another is shipped.
    assert "111-0000005-0000005" in needing
    assert "111-0000007-0000007" not in needing


def test_pages_hold_every_order_once(board_url: str, shop: Shop):
    everything = _ids(board_url, "limit=200")
    assert len(everything) == 14
    paged: list[str] = []
    cursor = ""
    while True:
        page = _get(board_url, f"{ORDERS}?limit=3&cursor={cursor}").json()
        paged += [order["order_id"] for order in page["orders"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
        assert len(page["orders"]) == 3
    assert paged == everything


def test_what_did_not_change_is_not_sent_again(board_url: str, shop: Shop):
    for path in (ORDERS, f"{ORDERS}/counts", f"{ORDERS}/111-0000007-0000007", "/api/openapi.json"):
        tag = _get(board_url, path).headers["ETag"]
        again = _get(board_url, path, 304, **{"If-None-Match": tag})
        assert again.content == b""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=Lost", "use Pending, Unshipped, Shipped, Delivered, Canceled, Other"),
        ("limit=0", "a number from 1 to 200"),
        ("limit=٣", "a number from 1 to 200"),
        ("fulfillment=DRONE", "use one of MFN, AFN"),
        ("marketplace=MARS", "use one of A2EUQ1WTGCTBG2, ATVPDKIKX0DER"),
        ("account=X", "use one of A3TH9S8BH6GOGM"),
        ("hold=x", "buyer_asks_to_cancel"),
        ("needs=love", "use one of tracking"),
        ("cursor=x", "cursor is none of ours"),
        ("cursor=WyJ1bnNoaXBwZWQiLCIyMDI2LTAyLTMwIDAwOjAwOjAwKzAwIiwiQSIsIkIiXQ", "cursor is none of ours"),
        ("q=%00", "printable"),
        ("page=2", "there is no parameter 'page': use status"),
        ("limit=1&limit=2", "limit is given twice"),
        ("fulfillment=" + "x" * 5000, "…: use one of"),
    ],
)
def test_a_bad_parameter_is_refused_with_what_is_allowed(board_url: str, shop: Shop, query: str, expected: str):
    error = _get(board_url, f"{ORDERS}?{query}", 400).json()["error"]
    assert error["code"] == "bad_parameter"
    assert expected in error["message"]
    assert len(error["message"]) < 500


def test_answers_have_the_form_of_the_document(board_url: str, shop: Shop):
    document = _get(board_url, "/api/openapi.json").json()
    validate(document)
    for path, schema in (
        (ORDERS, "OrderPage"),
        (f"{ORDERS}/counts", "Counts"),
        (f"{ORDERS}/111-0000007-0000007", "WholeOrders"),
    ):
        rules = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
        answer = _get(board_url, path).json()
        assert list(Draft202012Validator(rules).iter_errors(answer)) == []
        assert schema in str(document["paths"][path.replace("111-0000007-0000007", "{order_id}")])
    for path in (f"{ORDERS}/999-9999999-9999999", f"{ORDERS}/a%20name"):
        assert _get(board_url, path, 404 if "999" in path else 400).json()["error"]["message"]


def test_nobody_who_is_not_known_reads_the_api(board_url: str):
    for path in (ORDERS, "/api/openapi.json", "/board", "/board/refresh"):
        assert requests.get(f"{board_url}{path}", timeout=30).status_code == 401
