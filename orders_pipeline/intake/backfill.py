"""Read the days of a backfill at Amazon, page by page, over as many runs as it takes.

Its windows belong to a request: the run that asked for the days, and each run that follows it after a kill. What one of
them has read no other reads again. Who asks for the same days anew (another request) has them read anew; a window that
an earlier request left unfinished is gone on with, while its page token lives.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.backfill_plan import PAGE_ORDERS, Days, cut_days
from orders_pipeline.intake.backfill_windows import (
    begin_for_request,
    join_request,
    orders_a_day,
    searches_of_request,
    searches_to_join,
)
from orders_pipeline.intake.listed_orders import record_backfilled
from orders_pipeline.intake.search import PAGE_TOKEN_LIFE, SEARCH_HOLDBACK, search_events
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
    """

    pages: int
    orders_seen: int
    events_new: int
    windows: int
    complete: tuple[Days, ...]
    pages_left: int | None
    resume_at: datetime | None = None
    waits_for: str = ""


def read_days(
    orders: OrdersPort,
    database: Database,
    days: Days,
    *,
    account_id: str,
    request: str,
    marketplace_ids: tuple[str, ...],
    fulfilled_by: tuple[str, ...] = (),
) -> BackfillProgress:
    """Record every order that changed on these days, as far as the quota allows now; call again at `resume_at`.

    Raises AmazonError for what waiting does not mend, or has not mended for a day.
    """
    parameters = {"marketplace_ids": list(marketplace_ids), "fulfilled_by": list(fulfilled_by)}
    with database.transaction(account_id) as tx:
        searches = searches_of_request(tx, request) or _begin(tx, request, days, parameters)
        now = database_now(tx.connection)
    resume_at, waits_for = None, ""
    for search in searches:
        if search.finished:
            continue
        if now < (listed_at := search.updated_before + DAY_IS_LISTED_AFTER):
            resume_at, waits_for = listed_at, "Amazon to list the end of the last day"
            break
        resume_at, waits_for = _read_on(orders, database, account_id, search, marketplace_ids)
        if resume_at is not None:
            break
    with database.transaction(account_id) as tx:
        return _progress(searches_of_request(tx, request), orders_a_day(tx), resume_at, waits_for)


def _begin(tx: AccountTransaction, request: str, days: Days, parameters: dict[str, Any]) -> Sequence[StoredSearch]:
    begun: list[Days] = []
    least = database_now(tx.connection) - PAGE_TOKEN_LIFE
    for search in searches_to_join(tx, BACKFILL, days.start, days.end, parameters, token_since=least):
        its = Days.of(search.updated_after, search.updated_before)
        if its is not None and not (begun and its.first <= begun[-1].last):
            join_request(tx, search, request)
            begun.append(its)
    for window in cut_days(days, orders_a_day(tx), begun):
        begin_for_request(tx, BACKFILL, window.start, window.end, parameters, request)
    return searches_of_request(tx, request)


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
    return (None, "") if totals.finished else (totals.resume_at or database.now(), "the quota")


def _progress(
    searches: Sequence[StoredSearch], expected_a_day: float | None, resume_at: datetime | None, waits_for: str
) -> BackfillProgress:
    complete = [search for search in searches if search.finished]
    days_read = sum((search.updated_before - search.updated_after).days for search in complete)
    if days_read:
        # What this request has met itself tells more than what the sweeps see.
        expected_a_day = sum(search.orders_seen for search in complete) / days_read
    left: int | None = 0
    for search in searches:
        if search.finished or left is None:
            continue
        span = (search.updated_before - search.updated_after).days
        pages = None if expected_a_day is None else math.ceil(span * expected_a_day / PAGE_ORDERS)
        left = None if pages is None else left + max(pages - search.pages, 1)
    return BackfillProgress(
        pages=sum(search.pages for search in searches),
        orders_seen=sum(search.orders_seen for search in searches),
        events_new=sum(search.events_new for search in searches),
        windows=len(searches),
        complete=tuple(days for one in complete if (days := Days.of(one.updated_after, one.updated_before))),
        pages_left=left,
        resume_at=resume_at,
        waits_for=waits_for,
    )
