"""A report that is wanted is asked for once, followed, and its document recorded, through kills and failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.model.report import ReportSpecification, ReportState
from orders_pipeline.reports.document import BrokenLine, Columns
from orders_pipeline.reports.follow import RecordedRows, ReportReader, follow_reports, look_pause
from orders_pipeline.reports.rows import ReportRequest, report_request, want_again, want_report
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import find
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import SELLER

ORDERS_REPORT = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
KEY = "amazon-order-id"


class Killed(BaseException):
    """As a kill: nothing that would run after it does."""


@dataclass
class Reports:
    """A sandbox, its client, and a reader that keeps the ids that it was given."""

    sandbox: Sandbox
    client: AmazonClient
    database: Database
    read: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])
    dies_after: int | None = None
    rows_a_chunk: int = 5_000

    def want(self) -> ReportRequest:
        self.sandbox.clock.advance(timedelta(seconds=1))
        now = self.sandbox.clock.now()
        wanted = ReportSpecification(ORDERS_REPORT, now - timedelta(days=1), now, self.sandbox.marketplace_ids)
        with self.database.transaction(SELLER) as tx:
            return want_report(tx, wanted)

    def record(self, tx: AccountTransaction, rows: pd.DataFrame, broken: tuple[BrokenLine, ...]) -> RecordedRows:
        if self.dies_after is not None and len(self.read) >= self.dies_after:
            raise Killed
        self.read += list(rows[KEY])
        self.broken += [line.key for line in broken]
        return RecordedRows(len(rows), len(broken))

    def follow(self) -> Tally:
        columns = Columns(KEY, frozenset({"last-updated-date"}))
        reader = ReportReader(ORDERS_REPORT, columns, self.record, self.rows_a_chunk)
        return follow_reports(
            self.client.reports, self.database, {ORDERS_REPORT: reader}, account_id=SELLER,
            pause=lambda _: timedelta(),
        )  # fmt: skip

    def now(self, request: ReportRequest) -> ReportRequest:
        with self.database.transaction(SELLER) as tx:
            found = report_request(tx, request.request_id)
        assert found is not None
        return found

    def make_due(self) -> None:
        with self.database.begin() as connection:
            connection.exec_driver_sql(
                "update pipeline.jobs set due_at = clock_timestamp(), "
                "leased_until = case when leased_until is not null then clock_timestamp() end"
            )

    def calls(self, operation: str) -> int:
        return self.sandbox.amazon.ledger.requests[operation]


@pytest.fixture
def reports(database: Database, tmp_path: Path) -> Iterator[Reports]:
    with Sandbox(time_scale=100_000, floor=FloorOptions(automatic=False), subscribed=False) as sandbox:
        settings = load_settings(sandbox.environment()).require_amazon()
        client = open_amazon(settings, database, LocalKeyring(tmp_path / "keyring.json"))
        yield Reports(sandbox, client, database)
        client.close()


def test_a_report_is_asked_for_followed_and_recorded(reports: Reports) -> None:
    orders = [reports.sandbox.add_order(notify=False).order_id for _ in range(3)]
    request = reports.want()
    assert reports.follow().outcomes == {"created": 1, "waits": 1, "read": 1}
    done = reports.now(request)
    assert (done.state, done.rows_read, done.events_new, done.attempts) == (ReportState.DONE, 3, 3, 1)
    assert done.finished_at is not None
    assert sorted(reports.read) == sorted(orders)
    assert reports.follow().outcomes == {}, "nothing is left to do"


def test_a_report_that_goes_on_is_looked_at_ever_less_often_and_holds_no_worker(reports: Reports) -> None:
    reports.sandbox.add_order(notify=False)
    reports.sandbox.amazon.options.report_queue_seconds = 60
    request = reports.want()
    reader = ReportReader(ORDERS_REPORT, Columns(KEY, frozenset()), reports.record)
    follow_reports(reports.client.reports, reports.database, {ORDERS_REPORT: reader}, account_id=SELLER)
    assert reports.now(request).state is ReportState.IN_QUEUE
    with reports.database.transaction(SELLER) as tx:
        job = find(tx, Queue.REPORT, request.subject)
    assert job is not None
    assert job.lease_id is None
    assert job.due_at > job.enqueued_at
    ages = [timedelta(seconds=0), timedelta(minutes=2), timedelta(hours=2)]
    assert [look_pause(age) for age in ages] == [
        timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2),
    ]  # fmt: skip


def test_a_young_report_of_the_same_data_is_used_instead_of_a_new_one(reports: Reports) -> None:
    reports.sandbox.add_order(notify=False)
    request = reports.want()
    reports.client.reports.create_report(request.wanted)
    assert reports.follow().outcomes == {"found": 1, "read": 1}
    assert reports.calls("createReport") == 1
    # Another day's, or one that is older than a day, is not.
    reports.sandbox.clock.advance(timedelta(hours=25))
    with reports.database.transaction(SELLER) as tx:
        want_again(tx, request.request_id, after_failure=False)
    reports.database.now()
    assert reports.want().request_id != request.request_id


def test_a_report_whose_creation_got_no_answer_is_found_and_not_asked_for_twice(reports: Reports) -> None:
    reports.sandbox.add_order(notify=False)
    reports.sandbox.amazon.faults.add("html_500_after", "createReport")
    request = reports.want()
    assert reports.follow().errors == {"AmazonUnavailable": 1}
    assert reports.now(request).report_id is None
    reports.make_due()
    assert reports.follow().outcomes == {"found": 1, "read": 1}
    assert reports.calls("createReport") == 1


def test_a_kill_within_a_document_costs_no_row_and_repeats_none(reports: Reports) -> None:
    reports.rows_a_chunk = 2
    orders = [reports.sandbox.add_order(notify=False).order_id for _ in range(7)]
    request = reports.want()
    reports.dies_after = 3
    with pytest.raises(Killed):
        reports.follow()
    begun = reports.now(request)
    assert 0 < begun.rows_read < 7
    assert begun.rows_read == len(reports.read)
    with reports.database.transaction(SELLER) as tx:
        goes_on_at = next_due(tx, [Queue.REPORT])
    assert goes_on_at is not None
    assert goes_on_at - reports.database.now() <= timedelta(minutes=2)
    reports.dies_after = None
    reports.make_due()
    assert reports.follow().outcomes == {"read": 1}
    assert sorted(reports.read) == sorted(orders), "each row once"
    assert reports.calls("createReport") == 1


def test_a_report_that_failed_is_asked_for_once_more_and_then_given_up(reports: Reports) -> None:
    reports.sandbox.add_order(notify=False)
    reports.sandbox.amazon.faults.add("report_fatal", times=2)
    request = reports.want()
    assert reports.follow().outcomes == {"created": 1, "wanted_again": 1}
    assert reports.now(request).state is ReportState.WANTED
    reports.make_due()
    assert reports.follow().outcomes == {"created": 1, "given_up": 1}
    given_up = reports.now(request)
    assert (given_up.state, given_up.attempts) == (ReportState.FATAL, 2)
    assert "FATAL" in (given_up.problem or "")


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_report_without_data_ends_and_is_not_asked_for_again(reports: Reports, cancelled: bool) -> None:
    if cancelled:
        reports.sandbox.add_order(notify=False)
        reports.sandbox.amazon.faults.add("report_cancelled")
    request = reports.want()
    assert reports.follow().outcomes == {"created": 1, "ended_without_data": 1}
    assert (reports.now(request).state, reports.now(request).finished_at) == (ReportState.CANCELLED, None)
    assert reports.follow().outcomes == {}


@pytest.mark.parametrize(
    "fault", ["document_html", "document_truncated", "document_missing_column", "document_foreign_host"]
)
def test_a_damaged_document_is_fetched_anew_and_at_the_third_failure_given_up(reports: Reports, fault: str) -> None:
    reports.sandbox.add_order(notify=False)
    reports.sandbox.amazon.faults.add(fault, times=None)
    request = reports.want()
    outcomes: list[Any] = [reports.follow().outcomes]
    for _ in range(2):
        reports.make_due()
        outcomes.append(reports.follow().outcomes)
    assert outcomes == [{"created": 1, "waits": 1, "retry": 1}, {"retry": 1}, {"given_up": 1}]
    assert reports.now(request).state is ReportState.FATAL
    assert reports.read == []


def test_a_document_that_is_whole_the_second_time_is_recorded(reports: Reports) -> None:
    reports.sandbox.add_order(notify=False)
    reports.sandbox.amazon.faults.add("document_truncated")
    request = reports.want()
    reports.follow()
    reports.make_due()
    assert reports.follow().outcomes == {"read": 1}
    assert reports.now(request).finished_at is not None


@pytest.mark.parametrize("fault", ["document_header_only", "document_extra_column", "document_charset"])
def test_what_a_document_may_have_does_no_harm(reports: Reports, fault: str) -> None:
    order = reports.sandbox.add_order(items=[{"title": "Café"}], notify=False)
    reports.sandbox.amazon.options.report_charset = "Cp1252"
    reports.sandbox.amazon.faults.add(fault)
    reports.want()
    assert reports.follow().outcomes["read"] == 1
    assert reports.read == ([] if fault == "document_header_only" else [order.order_id])


def test_what_amazon_refuses_to_make_is_given_up_at_once_with_its_reason(reports: Reports) -> None:
    now = reports.sandbox.clock.now()
    wanted = ReportSpecification(ORDERS_REPORT, now - timedelta(days=40), now, reports.sandbox.marketplace_ids)
    with reports.database.transaction(SELLER) as tx:
        request = want_report(tx, wanted)
    assert reports.follow().outcomes == {"given_up": 1}
    assert "30 days" in (reports.now(request).problem or "")


def test_a_missing_role_holds_up_reports_alone(reports: Reports) -> None:
    reports.sandbox.amazon.faults.add("access_denied", "getReports", times=None)
    reports.want()
    tally = reports.follow()
    assert list(tally.paused) == ["amazon.reports"]
    reports.sandbox.amazon.faults.clear()
