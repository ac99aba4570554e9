"""The order events of past days, from reports or from searches, whichever costs less.

A page of the search shows a hundred orders and costs three minutes of its quota once the first twenty are spent; a
report shows a month for one call of each operation. Both give the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.intake import order_report
from orders_pipeline.intake.search import SEARCH_HOLDBACK, SearchTotals, resumed_window, search_events
from orders_pipeline.intake.search_windows import finish_given_up, is_searched
from orders_pipeline.model.account import HistorySource
from orders_pipeline.model.order import Priority, SearchWindow
from orders_pipeline.model.report import ReportSpecification, ReportState
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.reports.alerts import LATE_AFTER
from orders_pipeline.reports.document import BrokenLine, Columns, as_texts
from orders_pipeline.reports.follow import RecordedRows, ReportReader, follow_reports, look_pause
from orders_pipeline.reports.rows import ReportRequest, settle_report, want_again, want_report
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import find

if TYPE_CHECKING:
    import pandas as pd

ORDERS_REPORT = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
# Events of history are a backfill's, wherever they come from.
SOURCE = Priority.BACKFILL.value
# Up to so many days the search's burst of twenty pages is mostly enough, and nobody waits for a report.
SEARCHED_DAYS = 3
# Amazon makes reports of thirty days at most, and knows of a change up to half an hour late.
DAYS_A_REPORT = 30
REPORT_HOLDBACK = timedelta(minutes=45)

# [start, end), aware, UTC.
Span = tuple[datetime, datetime]
SearchAWindow = Callable[[ServedAccount, SearchWindow], SearchTotals]


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """Which spans are read from reports, which by searches; `reason` is for people.

    `goes_on`: the span whose end moves with the clock, by search; the other searches are of days that are over.
    """

    reports: tuple[Span, ...]
    searches: tuple[Span, ...]
    goes_on: Span | None
    reason: str


@dataclass(slots=True)
class HistoryTotals:
    """How far the history is read. `resume_at`: when there is more to do, if it is not finished (aware, UTC).

    `problem`: why it will not be finished by going on; a person must act.
    """

    reason: str
    reports: int = 0
    reports_read: int = 0
    rows_read: int = 0
    replaced_by_search: int = 0
    pages: int = 0
    events_new: int = 0
    unreadable: int = 0
    finished: bool = False
    resume_at: datetime | None = None
    problem: str | None = None
    waits_for: list[str] = field(default_factory=list[str])

    def as_metadata(self) -> Numbers:
        numbers: dict[str, int | str] = {
            "source": self.reason,
            "reports": self.reports,
            "reports_read": self.reports_read,
            "rows_read": self.rows_read,
            "replaced_by_search": self.replaced_by_search,
            "pages": self.pages,
            "events_new": self.events_new,
            "unreadable_entries": self.unreadable,
            "finished": int(self.finished),
            "resume_at": self.resume_at.isoformat() if self.resume_at else "",
        }
        if self.waits_for:
            numbers["waits_for"] = ", ".join(self.waits_for)
        if self.problem is not None:
            numbers["problem"] = self.problem
        return numbers

    def add_search(self, totals: SearchTotals) -> None:
        self.pages += totals.pages
        self.events_new += totals.events_new
        self.unreadable += totals.unreadable


def plan_history(source: HistorySource, first_day: date, last_day: date, now: datetime) -> HistoryPlan:
    """Choose for the UTC days first_day to last_day, both included. `now` is aware, UTC."""
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    end = datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) + timedelta(days=1)
    # A report is of whole days; what changed since is a search's.
    over = min(end, _midnight(now - REPORT_HOLDBACK))
    listed_until = min(end, now - SEARCH_HOLDBACK)
    days = max((over - start).days, 0)
    whole = ((start, over),) if days else ()
    goes_on = (max(start, over), listed_until) if listed_until > max(start, over) else None
    if source == "search":
        return HistoryPlan((), whole, goes_on, "search: ORDERS_HISTORY_SOURCE says so")
    if days == 0:
        return HistoryPlan((), (), goes_on, "search: no report knows of a day that goes on, or has just ended")
    if source == "auto" and days <= SEARCHED_DAYS:
        why = f"search: {days} days are few pages; from {SEARCHED_DAYS + 1} days on a report costs less"
        return HistoryPlan((), whole, goes_on, why)
    starts = [start + timedelta(days=DAYS_A_REPORT * number) for number in range(-(-days // DAYS_A_REPORT))]
    reports = tuple((one, min(one + timedelta(days=DAYS_A_REPORT), over)) for one in starts)
    why = f"{days} days in {len(reports)} of them, instead of a page for each hundred orders"
    if source == "report":
        why = "ORDERS_HISTORY_SOURCE says so"
    return HistoryPlan(reports, (), goes_on, f"report: {why}" + ("; the latest changes by search" if goes_on else ""))


def search_window(account: ServedAccount, window: SearchWindow) -> SearchTotals:
    """Record what the search shows of exactly this window, as far as the quota allows now. Raises AmazonError."""
    totals = search_events(
        account.amazon.orders,
        account.database,
        window,
        account_id=account.account_id,
        purpose=SOURCE,
        priority=Priority.BACKFILL,
    )
    if totals.finished:
        with account.transaction() as tx:
            finish_given_up(tx)
    return totals


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def read_history(
    account: ServedAccount,
    first_day: date,
    last_day: date,
    *,
    anew: bool = False,
    deadline_seconds: float = 45.0,
    search: SearchAWindow = search_window,
    pause: Callable[[timedelta], timedelta] = look_pause,
) -> HistoryTotals:
    """Record every order that changed on these UTC days, both included, as far as reports and quota allow now.

    Call it again, at `resume_at`, until it is finished; after a kill too: all progress is stored. `anew`: ask again for
    what was read before (on the first call alone). Raises AmazonError of a search.
    """
    source = account.settings.history_source
    with account.transaction() as tx:
        note_start(tx, account.settings.start_at)
        now = database_now(tx.connection)
        plan = plan_history(source, first_day, last_day, now)
        requests = [want_report(tx, _wanted(account, span)) for span in plan.reports]
        for request in requests if anew else ():
            want_again(tx, request.request_id, after_failure=False)
    totals = HistoryTotals(plan.reason, reports=len(requests))
    if requests:
        follow_reports(
            account.amazon.reports,
            account.database,
            READERS,
            account_id=account.account_id,
            deadline_seconds=deadline_seconds,
            pause=pause,
        )
    # Each of them: one that is replaced by a search does not wait for one that is still being made.
    settled = [_is_settled(account, span, totals, search, now) for span in plan.reports]
    if not all(settled):
        if totals.resume_at is None and totals.problem is None:
            with account.transaction() as tx:
                totals.resume_at = next_due(tx, [Queue.REPORT]) or now
        return totals
    totals.finished = _are_searched(account, plan, totals, search, anew=anew)
    return totals


def _are_searched(
    account: ServedAccount, plan: HistoryPlan, totals: HistoryTotals, search: SearchAWindow, *, anew: bool
) -> bool:
    """Whether all that is to be searched was: days that are over once, and then what goes on."""
    windows = [_window(account, span) for span in plan.searches]
    with account.transaction() as tx:
        wanted = [one for one in windows if anew or not is_searched(tx, SOURCE, one)]
        if plan.goes_on is not None:
            wanted.append(resumed_window(tx, SOURCE, _window(account, plan.goes_on)))
    for window in wanted:
        searched = search(account, window)
        totals.add_search(searched)
        if not searched.finished:
            totals.resume_at = searched.resume_at or account.database.now()
            return False
    return True


def _is_settled(
    account: ServedAccount,
    span: tuple[datetime, datetime],
    totals: HistoryTotals,
    search: SearchAWindow,
    now: datetime,
) -> bool:
    """Whether the span's data are recorded; a report that will not tell them is replaced by a search."""
    with account.transaction() as tx:
        request = want_report(tx, _wanted(account, span))
        failure = _failure(tx, request, now)
    if request.settled_at is not None:
        totals.reports_read += int(request.state is ReportState.DONE)
        totals.rows_read += request.rows_read
        totals.events_new += request.events_new
        totals.unreadable += request.rows_unreadable
        return True
    days = f"{span[0]:%Y-%m-%d} to {span[1] - timedelta(days=1):%Y-%m-%d}"
    if failure is None:
        totals.waits_for.append(f"report of {days}: {request.state}")
        return False
    # Without data it costs a page to see that there are none; no report of it would ever say so.
    if account.settings.history_source == "report" and failure.needs_person:
        totals.problem = f"The report of {days} does not come: {failure.why}"
        return False
    searched = search(account, _window(account, span))
    totals.add_search(searched)
    totals.waits_for.append(f"search of {days}, since {failure.why}")
    if not searched.finished:
        totals.resume_at = searched.resume_at or now
        return False
    with account.transaction() as tx:
        settle_report(tx, request.request_id)
    totals.replaced_by_search += 1
    return True


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


def _record(tx: AccountTransaction, rows: pd.DataFrame, broken: Sequence[BrokenLine]) -> RecordedRows:
    orders, unreadable = order_report.orders_of_rows(as_texts(rows))
    unreadable += [order_report.unreadable_entry(line.key, line.problem) for line in broken]
    recorded = order_report.record_report_orders(tx, SOURCE, orders, unreadable)
    return RecordedRows(events_new=recorded.events_new, unreadable=recorded.unreadable)


READERS = {
    ORDERS_REPORT: ReportReader(
        ORDERS_REPORT,
        Columns(order_report.ORDER_ID, order_report.REQUIRED_COLUMNS, order_report.OPTIONAL_COLUMNS),
        _record,
    )
}


def _wanted(account: ServedAccount, span: tuple[datetime, datetime]) -> ReportSpecification:
    return ReportSpecification(ORDERS_REPORT, *span, account.marketplace_ids)


def _window(account: ServedAccount, span: tuple[datetime, datetime]) -> SearchWindow:
    return SearchWindow(*span, account.marketplace_ids)
