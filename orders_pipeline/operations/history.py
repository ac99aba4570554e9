"""Past days of order events from reports, where that costs less than searches.

A page of the search shows a hundred orders and costs three minutes of its quota once the first eleven are spent; a
report shows a month for one call of each operation. Both give the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.intake import order_report
from orders_pipeline.intake.backfill import BACKFILL, ReportOfDays
from orders_pipeline.intake.backfill_plan import Days
from orders_pipeline.model.account import HistorySource
from orders_pipeline.model.report import ReportSpecification, ReportState
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.reports.alerts import LATE_AFTER
from orders_pipeline.reports.document import BrokenLine, Columns, as_texts
from orders_pipeline.reports.follow import RecordedRows, ReportReader, follow_reports, look_pause
from orders_pipeline.reports.rows import ReportRequest, want_again, want_report, wanted_report
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import find

if TYPE_CHECKING:
    import pandas as pd

ORDERS_REPORT = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
# Up to so many days the search's burst of twenty pages is mostly enough, and nobody waits for a report.
SEARCHED_DAYS = 3
# Amazon makes reports of thirty days at most, and knows of a change up to half an hour late.
DAYS_A_REPORT = 30
REPORT_HOLDBACK = timedelta(minutes=45)
# At some 2.5 ms each: all orders of a chunk are locked until it is recorded, and live ones may be among them.
ROWS_A_TRANSACTION = 200
# While another worker, or a pause, keeps the reports from being looked at.
LOOK_AGAIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """The days that are read from reports, a span for each; the others are searched. `reason` is for people."""

    reports: tuple[Days, ...]
    reason: str


def plan_history(source: HistorySource, days: Days, now: datetime) -> HistoryPlan:
    """Choose for these UTC days. `now` is aware, UTC."""
    if source == "search":
        return HistoryPlan((), "search: ORDERS_HISTORY_SOURCE says so")
    last = min(days.last, (now - REPORT_HOLDBACK).date() - timedelta(days=1))
    count = (last - days.first).days + 1
    if count <= 0:
        return HistoryPlan((), "search: no report knows of a day that goes on, or has just ended")
    if source == "auto" and count <= SEARCHED_DAYS:
        why = f"search: {count} days are few pages; from {SEARCHED_DAYS + 1} days on a report costs less"
        return HistoryPlan((), why)
    firsts = [days.first + timedelta(days=start) for start in range(0, count, DAYS_A_REPORT)]
    reports = tuple(Days(first, min(first + timedelta(days=DAYS_A_REPORT - 1), last)) for first in firsts)
    why = f"{count} days in {len(reports)} of them, instead of a page for each hundred orders"
    if source == "report":
        why = "ORDERS_HISTORY_SOURCE says so"
    return HistoryPlan(
        reports, f"report: {why}" + ("; the day that has just ended by search" if last < days.last else "")
    )


@dataclass(frozen=True, slots=True)
class HistoryReports:
    """Reads days of order events from reports, for one account (`DaysFromReports`)."""

    account: ServedAccount
    pause: Callable[[timedelta], timedelta] = look_pause

    def want(self, tx: AccountTransaction, days: Days) -> Sequence[Days]:
        now = database_now(tx.connection)
        plan = plan_history(self.account.settings.history_source, days, now)
        for span in plan.reports:
            request = want_report(tx, self._wanted(span))
            # One that is under way is gone on with, whoever asked for it.
            if request.finished_at is not None or _failure(tx, request, now) is not None:
                want_again(tx, request.request_id, after_failure=False)
        return plan.reports

    def follow(self) -> None:
        follow_reports(
            self.account.amazon.reports,
            self.account.database,
            {ORDERS_REPORT: report_reader(self.account)},
            account_id=self.account.account_id,
            pause=self.pause,
        )

    def look(self, tx: AccountTransaction, days: Days) -> ReportOfDays:
        request = want_report(tx, self._wanted(days))
        if request.finished_at is not None:
            return ReportOfDays(is_read=True, rows=request.rows_read, events_new=request.events_new)
        now = database_now(tx.connection)
        named = f"the report of {days.first} to {days.last}"
        failure = _failure(tx, request, now)
        if failure is None:
            resume_at = next_due(tx, [Queue.REPORT]) or now + LOOK_AGAIN
            return ReportOfDays(waits_for=f"{named} ({request.state})", resume_at=resume_at)
        # Without data it costs a page to see that there are none; no report of it would ever say so.
        if self.account.settings.history_source == "report" and failure.needs_person:
            return ReportOfDays(error=AmazonError(f"{named} does not come: {failure.why}", operation="createReport"))
        return ReportOfDays(is_searched=True)

    def explain(self, tx: AccountTransaction, days: Days) -> str:
        """Which source was chosen and why, and which reports were replaced by searches and why; for people."""
        now = database_now(tx.connection)
        plan = plan_history(self.account.settings.history_source, days, now)
        told = [plan.reason]
        for span in plan.reports:
            request = wanted_report(tx, self._wanted(span))
            if request is None or (request.state is ReportState.DONE and request.document_id is not None):
                continue
            if (failure := _failure(tx, request, now)) is not None:
                told.append(f"no report of {span.first} to {span.last}: {failure.why}")
        return "; ".join(told)

    def _wanted(self, days: Days) -> ReportSpecification:
        return ReportSpecification(ORDERS_REPORT, days.start, days.end, self.account.marketplace_ids)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why no report tells a span. `needs_person`: not just for want of data."""

    why: str
    needs_person: bool = True


def _failure(tx: AccountTransaction, request: ReportRequest, now: datetime) -> _Failure | None:
    if request.state is ReportState.FATAL:
        return _Failure(request.problem or "Amazon could not make it")
    if request.state is ReportState.CANCELLED:
        return _Failure("Amazon cancelled it: no data, or asked for too often", needs_person=False)
    if request.state is ReportState.DONE and request.document_id is None:
        return _Failure("Amazon made no document: no data", needs_person=False)
    job = find(tx, Queue.REPORT, request.subject)
    if job is not None and job.parked_at is not None:
        return _Failure(f"its job was set aside: {job.last_error or 'no reason was given'}")
    if request.requested_at < now - LATE_AFTER:
        return _Failure(f"it has been awaited since {request.requested_at:%Y-%m-%d %H:%M} UTC")
    return None


def report_reader(account: ServedAccount) -> ReportReader:
    """How the account's report of orders is read."""
    fulfillers = account.settings.searched_fulfillers

    def record(tx: AccountTransaction, rows: pd.DataFrame, broken: Sequence[BrokenLine]) -> RecordedRows:
        orders, unreadable = order_report.orders_of_rows(as_texts(rows))
        unreadable += [order_report.unreadable_entry(line.key, line.problem) for line in broken]
        # As a search is asked: without what Amazon ships itself, where that is not watched.
        watched = [order for order in orders if not fulfillers or order.fulfilled_by in fulfillers]
        recorded = order_report.record_report_orders(tx, BACKFILL, watched, unreadable, account.marketplace_ids)
        return RecordedRows(events_new=recorded.events_new, unreadable=recorded.unreadable)

    columns = Columns(order_report.ORDER_ID, order_report.REQUIRED_COLUMNS, order_report.OPTIONAL_COLUMNS)
    return ReportReader(ORDERS_REPORT, columns, record, rows_a_chunk=ROWS_A_TRANSACTION)
