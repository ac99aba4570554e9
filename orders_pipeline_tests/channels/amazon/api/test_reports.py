"""Reports are asked for once, and their documents come whole, in bounds, from Amazon's storage alone."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.api.report_documents import DocumentStorage
from orders_pipeline.channels.amazon.client import AmazonClient
from orders_pipeline.channels.amazon.errors import AmazonProtocolError, AmazonUnavailable
from orders_pipeline.channels.amazon.timing import Timing
from orders_pipeline.http.sessions import open_session
from orders_pipeline.model.report import Report, ReportDocument, ReportSpecification, ReportState, report_state
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon, errors
from orders_pipeline_tests.channels.amazon.conftest import OpenSandboxed
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.hostile_server import HostileServer, answer

ORDERS_REPORT = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WANTED = ReportSpecification(ORDERS_REPORT, NOW - timedelta(days=1), NOW, (MARKETPLACE,))


def wanted_now(sandbox: Sandbox) -> ReportSpecification:
    # Later than the last change, which may be a millisecond ahead of the clock.
    sandbox.clock.advance(timedelta(seconds=1))
    now = sandbox.clock.now()
    return ReportSpecification(ORDERS_REPORT, now - timedelta(days=1), now, sandbox.marketplace_ids)


def made(client: AmazonClient, sandbox: Sandbox) -> Report:
    sandbox.add_order(notify=False)
    return client.reports.get_report(client.reports.create_report(wanted_now(sandbox)))


def content(document: ReportDocument) -> str:
    return (gzip.decompress(document.content) if document.is_gzip else document.content).decode(document.charset)


def read(client: AmazonClient, report: Report) -> ReportDocument:
    assert report.document_id is not None
    return client.reports.read_document(report.document_id)


def test_a_report_is_created_found_and_read(open_sandboxed: OpenSandboxed, sandbox: Sandbox) -> None:
    client = open_sandboxed()
    order = sandbox.add_order(notify=False)
    wanted = wanted_now(sandbox)
    report_id = client.reports.create_report(wanted)
    since = sandbox.clock.now() - timedelta(hours=1)
    [found] = [one for one in client.reports.find_reports(ORDERS_REPORT, created_since=since) if one.answers(wanted)]
    assert (found.report_id, found.state) == (report_id, ReportState.DONE)
    assert order.order_id in content(read(client, found))
    assert sandbox.amazon.reports.credentials_sent == 0


@pytest.mark.parametrize(
    "named,charset", [("Cp1252", "cp1252"), ("Shift_JIS", "cp932"), ("UTF-8", "utf-8"), ("ISO-8859-1", "iso8859-1")]
)
@pytest.mark.parametrize("is_gzip", [True, False])
def test_the_charset_is_that_of_the_documents_header(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, named: str, charset: str, is_gzip: bool
) -> None:
    sandbox.amazon.options.report_charset, sandbox.amazon.options.report_gzip = named, is_gzip
    title = "髙島屋 ①" if charset == "cp932" else "Café crème"
    sandbox.add_order(items=[{"title": title}], notify=False)
    client = open_sandboxed()
    document = read(client, client.reports.get_report(client.reports.create_report(wanted_now(sandbox))))
    assert (document.charset, document.is_gzip) == (charset, is_gzip)
    assert title in content(document)


def test_an_address_that_is_refused_is_asked_for_anew_once(open_sandboxed: OpenSandboxed, sandbox: Sandbox) -> None:
    client = open_sandboxed()
    report = made(client, sandbox)
    sandbox.amazon.faults.add("document_expired")
    before = sandbox.amazon.ledger.requests["getReportDocument"]
    assert content(read(client, report)).startswith("amazon-order-id")
    assert sandbox.amazon.ledger.requests["getReportDocument"] - before == 2
    sandbox.amazon.faults.add("document_expired", times=2)
    with pytest.raises(AmazonUnavailable, match="refused twice"):
        read(client, report)


@pytest.mark.parametrize(
    "fault,says", [("document_foreign_host", "documents.example.net"), ("document_html", "web page")]
)
def test_what_is_not_amazons_storage_is_not_believed(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, fault: str, says: str
) -> None:
    client = open_sandboxed()
    report = made(client, sandbox)
    sandbox.amazon.faults.add(fault)
    with pytest.raises(AmazonProtocolError, match=says):
        read(client, report)


@pytest.mark.parametrize(
    "url",
    [
        "http://tortuga-prod-na.s3-external-1.amazonaws.com/d?X-Amz-Signature=s",
        "https://amazonaws.com.example.net/d",
        "https://evilamazonaws.com/d",
        "https://s3.amazonaws.com@example.net/d",
        "https://s3.amazonaws.com\\@example.net/d",
        "https://127.0.0.1/d",
        "ftp://s3.amazonaws.com/d",
    ],
)
def test_a_document_is_fetched_from_amazons_hosts_over_tls_alone(url: str) -> None:
    with open_session() as session:
        storage = DocumentStorage(session, endpoint="https://sellingpartnerapi-na.amazon.com", seller_id=SELLER)
        with pytest.raises(AmazonProtocolError, match="not one of Amazon's storage") as refused:
            storage.download(url, is_gzip=False, deadline=Timing().deadline(5))
    assert "Signature" not in str(refused.value)


def test_no_token_goes_to_the_storage_and_its_address_is_in_no_log(
    caplog: pytest.LogCaptureFixture, client: AmazonClient, amazon: CannedAmazon
) -> None:
    url = "https://tortuga-prod-na.s3-external-1.amazonaws.com/doc?X-Amz-Signature=sesame"
    amazon.lay(Canned(body={"reportDocumentId": "d", "url": url}), Canned(text="amazon-order-id\r\n"))
    with caplog.at_level(logging.DEBUG):
        client.reports.read_document("d")
    api, storage = amazon.asked
    assert "x-amz-access-token" in api.headers
    assert {name.lower() for name in storage.headers} <= {"user-agent", "accept", "accept-encoding", "connection"}
    assert "sesame" not in caplog.text


def test_a_document_has_bounds(sandbox: Sandbox) -> None:
    zeros = zlib.compressobj(wbits=31)
    bomb = zeros.compress(bytes(3_000_000)) + zeros.flush()
    sent = {
        b"/large": answer(b"x" * 2_000_000, Content_Type="text/plain"),
        b"/bomb": answer(bomb, Content_Encoding="gzip", Content_Type="text/plain"),
        b"/elsewhere": answer(b"", "302 Found", Location="https://example.net/d"),
        b"/charset": answer(b"a\tb\r\n", Content_Type="text/plain; charset=rot13"),
        b"/busy": answer(b"", "503 Slow Down"),
        b"/cut": answer(b"abc").replace(b"Content-Length: 3", b"Content-Length: 30"),
    }
    expected = {
        b"/large": (AmazonProtocolError, "larger than"),
        b"/bomb": (AmazonProtocolError, "larger than"),
        b"/elsewhere": (AmazonProtocolError, "a redirect to example.net"),
        b"/charset": (AmazonProtocolError, "charset"),
        b"/busy": (AmazonUnavailable, "503"),
        b"/cut": (AmazonUnavailable, "no answer"),
    }
    respond = lambda request: [sent[request.split(b" ")[1]]]  # noqa: E731
    with HostileServer.answering(respond) as server, open_session() as session:
        storage = DocumentStorage(session, endpoint=server.url, seller_id=SELLER, largest_bytes=1_000_000)
        for path, (kind, words) in expected.items():
            with pytest.raises(kind, match=words):
                storage.download(server.url + path.decode(), is_gzip=False, deadline=Timing().deadline(5))


def test_a_report_is_not_asked_for_again_when_the_answer_is_lost(client: AmazonClient, amazon: CannedAmazon) -> None:
    amazon.lay(Canned(500, errors("InternalFailure")))
    with pytest.raises(AmazonUnavailable):
        client.reports.create_report(WANTED)
    assert len(amazon.asked) == 1


def test_a_report_answers_only_what_was_wanted_and_never_one_that_failed() -> None:
    done = Report("1", ORDERS_REPORT, ReportState.DONE, NOW, (MARKETPLACE,), WANTED.data_start, WANTED.data_end)
    assert done.answers(WANTED)
    for other in (
        Report("2", ORDERS_REPORT, ReportState.CANCELLED, NOW, (MARKETPLACE,), WANTED.data_start, WANTED.data_end),
        Report("3", ORDERS_REPORT, ReportState.FATAL, NOW, (MARKETPLACE,), WANTED.data_start, WANTED.data_end),
        Report("4", ORDERS_REPORT, ReportState.DONE, NOW, (MARKETPLACE,), WANTED.data_start, NOW - timedelta(hours=1)),
        Report("5", ORDERS_REPORT, ReportState.DONE, NOW, ("A2",), WANTED.data_start, WANTED.data_end),
        Report("6", "GET_OTHER", ReportState.DONE, NOW, (MARKETPLACE,), WANTED.data_start, WANTED.data_end),
    ):
        assert not other.answers(WANTED)


def test_a_status_that_is_not_known_is_on_its_way() -> None:
    assert report_state("IN_REVIEW") is ReportState.IN_PROGRESS
    assert report_state("FATAL") is ReportState.FATAL
    assert json.dumps(ReportState.DONE) == '"done"'
