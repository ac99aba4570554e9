"""Read the days of a backfill at Amazon, page by page: by one run, or after a kill by the runs that follow it.

Its windows belong to a request: the run that asked for the days, and each run that follows it after a kill. What one of
them has read no other reads again. Who asks for the same days anew (another request) has them read anew; a window that
an earlier request left unfinished is gone on with, while its page token lives. A window may be read from a report
instead, if whoever asks offers reports; one that will not come is replaced by the search.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.backfill_plan import PAGE_ORDERS, Days, cut_days, days_without
from orders_pipeline.intake.backfill_windows import (
    FROM_REPORT,
    begin_for_request,
    finish_by_report,
    join_request,
    orders_a_day,
    search_instead,
    searches_of_request,
    searches_to_join,
)
from orders_pipeline.intake.listed_orders import record_backfilled
from orders_pipeline.intake.search import END_NOT_LISTED, PAGE_TOKEN_LIFE, SEARCH_HOLDBACK, search_events
from orders_pipeline.intake.search_windows import StoredSearch, fail_search
from orders_pipeline.model.order import Order, OrdersPort, Priority

BACKFILL = Priority.BACKFILL.value
# A day is searched once Amazon lists its last minute; our clock may be ahead of Amazon's by the rest.
DAY_IS_LISTED_AFTER = SEARCH_HOLDBACK + timedelta(minutes=2)
# An outage is waited for: 1, 2, 4 … 60 minutes, some twenty hours in all. Then a person should know.
OUTAGE_ATTEMPTS = 24
LONGEST_OUTAGE_WAIT = timedelta(hours=1)
# A token that comes sooner is waited for within the call; for a later one the caller waits, and says so.
CALL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """How far a request has come for one account, counted over all of its runs.

    `complete`: the days of the windows that are read to their end. `pages_left`: an estimate; None where nothing tells
    how many orders a day has. `resume_at` (aware, UTC): when to go on; None when all is read. `waits_for`: why.
    `reports`: windows that are read from reports, `reports_read` of them to their end, with `rows` rows.
    """

    pages: int
    orders_seen: int
    events_new: int
    windows: int
    complete: tuple[Days, ...]
    pages_left: int | None
    resume_at: datetime | None = None
    waits_for: str = ""
    reports: int = 0
    reports_read: int = 0
    rows: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class ReportOfDays:
    """What is known of the report of some days.

    `rows`: of its document, if all of it `is_read`. One that will not come `is_searched` instead, or is an `error`.
    Otherwise it `waits_for` something until `resume_at` (aware, UTC).
    """

    is_read: bool = False
    rows: int = 0
    events_new: int = 0
    is_searched: bool = False
    error: AmazonError | None = None
    waits_for: str = ""
    resume_at: datetime | None = None


class DaysFromReports(Protocol):
    """Reads days from reports where that costs less than a search."""

    def want(self, tx: AccountTransaction, days: Days) -> Sequence[Days]:
        """Those of the days that are read from reports, a span for each report, which is wanted anew from now on."""
        ...

    def follow(self) -> None:
        """Go on with the reports that are wanted, and record those that have come."""
        ...

    def look(self, tx: AccountTransaction, days: Days) -> ReportOfDays: ...


def read_days(
    orders: OrdersPort,
    database: Database,
    days: Days,
    *,
    account_id: str,
    request: str,
    marketplace_ids: tuple[str, ...],
    fulfilled_by: tuple[str, ...] = (),
    reports: DaysFromReports | None = None,
) -> BackfillProgress:
    """Record every order that changed on these days, as far as the quota allows now; call again at `resume_at`.

    Raises AmazonError for what waiting does not mend, or has not mended for a day; for a report, once all else is read
    and was returned.
    """
    parameters = {"marketplace_ids": list(marketplace_ids), "fulfilled_by": list(fulfilled_by)}
    with database.transaction(account_id) as tx:
        searches = searches_of_request(tx, request)
        # All of them at first; later what a request that came meanwhile has taken over, and maybe read: read anew.
        for span in days_without(days, [_days_of(search) for search in searches]):
            _begin(tx, request, span, parameters, reports)
        searches = searches_of_request(tx, request)
        now = database_now(tx.connection)
    finished_before = sum(search.finished for search in searches)
    waits: list[tuple[datetime, str]] = []
    errors: list[AmazonError] = []
    if reports is not None and any(search.from_report and not search.finished for search in searches):
        reports.follow()
        waits, errors = _look_at_reports(database, account_id, searches, reports)
        with database.transaction(account_id) as tx:
            searches = searches_of_request(tx, request)
    for search in searches:
        if search.finished or search.from_report:
            continue
        if now < (listed_at := search.updated_before + DAY_IS_LISTED_AFTER):
            waits.append((listed_at, END_NOT_LISTED))
            break
        resume_at, waits_for = _read_on(orders, database, account_id, search, marketplace_ids)
        if resume_at is not None:
            waits.append((resume_at, waits_for))
            break
    with database.transaction(account_id) as tx:
        searches = searches_of_request(tx, request)
        if errors and not waits:
            if sum(search.finished for search in searches) == finished_before:
                raise errors[0]
            waits.append((database_now(tx.connection), str(errors[0])))
        resume_at = min((moment for moment, _ in waits), default=None)
        waits_for = "; ".join(why for _, why in waits)
        return _progress(searches, orders_a_day(tx), resume_at, waits_for)


def _look_at_reports(
    database: Database, account_id: str, searches: Sequence[StoredSearch], reports: DaysFromReports
) -> tuple[list[tuple[datetime, str]], list[AmazonError]]:
    """Finish the windows whose reports are read, have those searched whose reports failed; what the others wait for."""
    waits: list[tuple[datetime, str]] = []
    errors: list[AmazonError] = []
    for search in searches:
        if search.finished or not search.from_report:
            continue
        with database.transaction(account_id) as tx:
            report = reports.look(tx, _days_of(search))
            if report.is_read:
                finish_by_report(tx, search, rows=report.rows, events_new=report.events_new)
            elif report.is_searched:
                search_instead(tx, search)
            elif report.error is not None:
                errors.append(report.error)
            else:
                waits.append((report.resume_at or database_now(tx.connection), report.waits_for))
    return waits, errors


def _begin(
    tx: AccountTransaction, request: str, days: Days, parameters: dict[str, Any], reports: DaysFromReports | None
) -> None:
    """Begin the windows of these days, of which the request has none."""
    begun: list[Days] = []
    least = database_now(tx.connection) - PAGE_TOKEN_LIFE
    for search in searches_to_join(tx, BACKFILL, days.start, days.end, parameters, token_since=least):
        its = _days_of(search)
        if not (begun and its.first <= begun[-1].last):
            join_request(tx, search, request)
            begun.append(its)
    for span in days_without(days, begun):
        reported = reports.want(tx, span) if reports is not None else ()
        for window in reported:
            begin_for_request(tx, BACKFILL, window.start, window.end, parameters | FROM_REPORT, request)
        for window in cut_days(span, orders_a_day(tx), reported):
            begin_for_request(tx, BACKFILL, window.start, window.end, parameters, request)


def _read_on(
    orders: OrdersPort, database: Database, account_id: str, search: StoredSearch, marketplace_ids: Collection[str]
) -> tuple[datetime | None, str]:
    """Read one window as far as it can be; when to go on with it, and what is waited for. (None, "") at its end."""

    def record(tx: AccountTransaction, found: Sequence[Order]) -> int:
        return record_backfilled(tx, BACKFILL, found, marketplace_ids)

    try:
        totals = search_events(
            orders,
            database,
            search.window,
            account_id=account_id,
            purpose=BACKFILL,
            priority=Priority.BACKFILL,
            deadline_seconds=CALL_SECONDS,
            record=record,
            to_its_end=True,
        )
    except AmazonError as error:
        if not error.retryable:
            raise
        with database.transaction(account_id) as tx:
            failures = fail_search(tx.connection, search.window_id, str(error), outage=True)
            now = database_now(tx.connection)
        if failures >= OUTAGE_ATTEMPTS:
            raise
        wait = min(timedelta(minutes=2 ** min(failures - 1, 10)), LONGEST_OUTAGE_WAIT)
        return now + wait, f"the end of an outage of Amazon's ({type(error).__name__}, {failures} times)"
    return (None, "") if totals.finished else (totals.resume_at or database.now(), totals.waits_for)


def _days_of(search: StoredSearch) -> Days:
    """The days of a backfill's window."""
    days = Days.of(search.updated_after, search.updated_before)
    assert days is not None, "a backfill's window is of whole days"
    return days


def _progress(
    searches: Sequence[StoredSearch], expected_a_day: float | None, resume_at: datetime | None, waits_for: str
) -> BackfillProgress:
    complete = [search for search in searches if search.finished]
    reported = [search for search in searches if search.from_report]
    searched = [search for search in searches if not search.from_report]
    days_read = sum((search.updated_before - search.updated_after).days for search in searched if search.finished)
    if days_read:
        # What this request has met itself tells more than what the sweeps see.
        expected_a_day = sum(search.orders_seen for search in searched if search.finished) / days_read
    left: int | None = 0
    for search in searched:
        if search.finished or left is None:
            continue
        span = (search.updated_before - search.updated_after).days
        pages = None if expected_a_day is None else math.ceil(span * expected_a_day / PAGE_ORDERS)
        left = None if pages is None else left + max(pages - search.pages, 1)
    return BackfillProgress(
        pages=sum(search.pages for search in searches),
        orders_seen=sum(search.orders_seen for search in searched),
        events_new=sum(search.events_new for search in searches),
        windows=len(searches),
        complete=tuple(_days_of(search) for search in complete),
        pages_left=left,
        resume_at=resume_at,
        waits_for=waits_for,
        reports=len(reported),
        reports_read=sum(search.finished for search in reported),
        rows=sum(search.orders_seen for search in reported),
    )
