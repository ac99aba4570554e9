"""The hourly search for what notifications missed (promise 1: notifications are not promised by Amazon).

Belongs here: which window to search, and what counts as missed. Elsewhere: pages and resuming (search), what silence
looks like (the checks on `order_sweeps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from orders_pipeline.amazon.order import Order, OrdersPort, Priority, SearchWindow, canonical_status
from orders_pipeline.intake.search import SEARCH_HOLDBACK, SearchTotals, record_orders, search_events
from orders_pipeline.store.account_starts import account_start
from orders_pipeline.store.database import Database
from orders_pipeline.store.orders import known_states
from orders_pipeline.store.search_windows import latest_finished_until, unfinished_search

SWEEP = "sweep"
# Lists miss orders for minutes up to half a day (facts/peers.md §2, 16): each sweep looks back over the one before, and
# the one after midnight over a whole day.
OVERLAP = timedelta(hours=1)
LONG_OVERLAP = timedelta(hours=24)
FIRST_LOOK_BACK = timedelta(hours=24)


@dataclass(slots=True)
class SweepTotals:
    """What one sweep did. `missed`: orders whose change we had not been told of."""

    search: SearchTotals
    # None: the account was started a moment ago, and Amazon lists nothing later yet.
    window: SearchWindow | None
    missed: int = 0


def sweep_window(
    last_until: datetime | None, now: datetime, marketplace_ids: tuple[str, ...], not_before: datetime | None = None
) -> SearchWindow | None:
    """From an hour (once a day: a day) before the last sweep's end, up to what Amazon lists by now.

    `not_before`: the account's first start, before which an old process did the work. None while Amazon lists nothing
    that is later than that.
    """
    end = now - SEARCH_HOLDBACK
    if last_until is None:
        start = end - FIRST_LOOK_BACK
    else:
        first_of_the_day = last_until.date() != end.date()
        start = last_until - (LONG_OVERLAP if first_of_the_day else OVERLAP)
    start = max(start, not_before or start)
    return SearchWindow(start, end, marketplace_ids) if start < end else None


def looks_back_to(connection: Connection, seller_id: str) -> datetime | None:
    """How far back a sweep may look: the account's first start. None, without bound, where ORDERS_START_AT is set.

    There, what was purchased before is shown and waits (store.account_starts), so it may as well be found.
    """
    start = account_start(connection, seller_id)
    return start.first_started_at if start is not None and start.start_at is None else None


def sweep_orders(
    orders: OrdersPort, database: Database, *, seller_id: str, marketplace_ids: tuple[str, ...]
) -> SweepTotals:
    """Search, and feed what was missed as order events; an unfinished sweep goes on first. Raises AmazonError."""
    with database.transaction() as connection:
        unfinished = unfinished_search(connection, seller_id, SWEEP)
        last_until = latest_finished_until(connection, seller_id, SWEEP)
        not_before = looks_back_to(connection, seller_id)
    if unfinished is not None:
        window = SearchWindow(
            unfinished.updated_after, unfinished.updated_before, tuple(unfinished.parameters["marketplace_ids"])
        )
    else:
        window = sweep_window(last_until, database.now(), marketplace_ids, not_before)
        if window is None:
            return SweepTotals(SearchTotals(finished=True), None)
    missed: set[str] = set()

    def record(connection: Connection, found: Sequence[Order]) -> int:
        news = _not_told(connection, seller_id, found)
        missed.update(order.order_id for order in news)
        return record_orders(connection, seller_id, SWEEP, news)

    search = search_events(
        orders, database, window, seller_id=seller_id, purpose=SWEEP, priority=Priority.SWEEP, record=record
    )
    return SweepTotals(search=search, window=window, missed=len(missed))


def _not_told(connection: Connection, seller_id: str, found: Sequence[Order]) -> list[Order]:
    """Those that are unknown, or whose status we do not know. A newer time alone tells nothing that matters here."""
    known = known_states(connection, seller_id, [order.order_id for order in found])
    return [order for order in found if canonical_status(order.status) != known.get(order.order_id)]
