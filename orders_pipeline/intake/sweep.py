"""The hourly search for what notifications missed (Amazon does not promise notifications)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orders_pipeline.channels.amazon.errors import AmazonAuthError, AmazonError, LimitNotBefore
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.listed_orders import store_amazons
from orders_pipeline.intake.search import SEARCH_HOLDBACK, SearchTotals, record_orders, search_events
from orders_pipeline.intake.search_windows import (
    fail_search,
    finish_given_up,
    give_up_search,
    given_up_since,
    given_up_until,
    latest_finished_until,
    unfinished_search,
)
from orders_pipeline.model.order import (
    AMAZON,
    UNKNOWN_FULFILLER,
    Order,
    OrdersPort,
    OrderStatus,
    Priority,
    SearchWindow,
    canonical_status,
)
from orders_pipeline.orders.event_rows import finish_search_entries
from orders_pipeline.orders.known_orders import KnownOrder, known_orders
from orders_pipeline.orders.ownership import account_start, take_in
from orders_pipeline.work.workers import error_location, is_infrastructure_error

SWEEP = "sweep"
# Lists miss orders for minutes up to half a day (amzn/selling-partner-api-models#3945): each sweep looks
# back over the one before, and the one after midnight over a whole day.
OVERLAP = timedelta(hours=1)
LONG_OVERLAP = timedelta(hours=24)
FIRST_SWEEP_REACH = timedelta(hours=24)
# The one after midnight begins where the earliest window that was given up began: it may itself be given up, and then
# the next night's reads what both did not. Not further back: each day costs pages of the quota.
GIVEN_UP_REACH = timedelta(days=3)
# A window that fails is tried hourly: what is wrong with it alone shows within three hours. Amazon's own outages strike
# every window, and are waited for.
WINDOW_ATTEMPTS, OUTAGE_ATTEMPTS = 3, 24
_TO_SHIP = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})


@dataclass(slots=True)
class SweepTotals:
    """What one sweep did. `missed`: orders whose change we had not been told of."""

    search: SearchTotals
    # None: the account was started a moment ago, and Amazon lists nothing later yet.
    window: SearchWindow | None
    missed: int = 0


def sweep_window(
    last_until: datetime | None,
    now: datetime,
    marketplace_ids: tuple[str, ...],
    not_before: datetime | None = None,
    *,
    after_gap: datetime | None = None,
    first_gap: datetime | None = None,
) -> SearchWindow | None:
    """From an hour (once a day: a day) before the last sweep's end, up to what Amazon lists by now.

    `not_before`: the account's first start, before which an old process did the work. None while Amazon lists nothing
    that is later than that. `after_gap`: the end of the latest window that was given up; the hourly sweep does not look
    back into it. `first_gap`: the beginning of the earliest one; the sweep after midnight begins there, if it is not
    too long ago.
    """
    end = now - SEARCH_HOLDBACK
    if last_until is None:
        start = end - FIRST_SWEEP_REACH
    else:
        first_of_the_day = last_until.date() != end.date()
        start = last_until - (LONG_OVERLAP if first_of_the_day else OVERLAP)
        if after_gap is not None and not first_of_the_day:
            start = max(start, after_gap)
        if first_gap is not None and first_of_the_day and first_gap >= now - GIVEN_UP_REACH:
            start = min(start, first_gap)
    start = max(start, not_before or start)
    return SearchWindow(start, end, marketplace_ids) if start < end else None


def first_sweep_from(tx: AccountTransaction) -> datetime | None:
    """How far back a sweep may look: the account's first start. None, without bound, where ORDERS_START_AT is set.

    There, what was purchased before is shown and waits (orders.account_starts), so it may as well be found.
    """
    start = account_start(tx)
    return start.first_started_at if start is not None and start.start_at is None else None


def sweep_orders(
    orders: OrdersPort,
    database: Database,
    *,
    account_id: str,
    marketplace_ids: tuple[str, ...],
    fulfilled_by: tuple[str, ...] = (),
) -> SweepTotals:
    """Search, and feed what was missed as order events; an unfinished sweep goes on first. Raises AmazonError.

    A window that fails again and again is given up, and the next one begins at once.
    """
    with database.transaction(account_id) as tx:
        # Here too: in a quiet shop no event has the orders of a marketplace that is new taken in.
        take_in(tx, marketplace_ids)
    with database.transaction(account_id) as tx:
        unfinished = unfinished_search(tx, SWEEP)
    try:
        swept = _sweep(orders, database, account_id, marketplace_ids, fulfilled_by)
    except (LimitNotBefore, AmazonAuthError):
        # The account's trouble, not the window's.
        raise
    except Exception as error:
        if is_infrastructure_error(error) or not _give_up(database, account_id, error):
            raise
        swept = _sweep(orders, database, account_id, marketplace_ids, fulfilled_by)
    with database.transaction(account_id) as tx:
        finish_given_up(tx)
        if swept.search.finished and not swept.search.unreadable and unfinished is None:
            # A whole sweep could be read: whatever could not be before is over.
            finish_search_entries(tx)
    return swept


def _sweep(
    orders: OrdersPort,
    database: Database,
    account_id: str,
    marketplace_ids: tuple[str, ...],
    fulfilled_by: tuple[str, ...],
) -> SweepTotals:
    with database.transaction(account_id) as tx:
        unfinished = unfinished_search(tx, SWEEP)
        last_until = latest_finished_until(tx, SWEEP)
        not_before = first_sweep_from(tx)
        gap = given_up_until(tx, SWEEP)
        now = database_now(tx.connection)
        first_gap = given_up_since(tx, SWEEP, now - GIVEN_UP_REACH)
    if unfinished is not None:
        window = unfinished.window
    else:
        window = sweep_window(last_until, now, marketplace_ids, not_before, after_gap=gap, first_gap=first_gap)
        if window is None:
            return SweepTotals(SearchTotals(finished=True), None)
        window = replace(window, fulfilled_by=fulfilled_by)
    missed: set[str] = set()

    def record(tx: AccountTransaction, found: Sequence[Order]) -> int:
        known = known_orders(tx, [order.order_id for order in found])
        news = [order for order in found if is_missed(order, known.get(order.order_id))]
        missed.update(order.order_id for order in news)
        store_amazons(tx, found, marketplace_ids)
        return record_orders(tx, SWEEP, news)

    search = search_events(
        orders, database, window, account_id=account_id, purpose=SWEEP, priority=Priority.SWEEP, record=record
    )
    return SweepTotals(search=search, window=window, missed=len(missed))


def is_missed(order: Order, known: KnownOrder | None) -> bool:
    """Whether the search shows a change that no notification announced: status, cancellation request, quantity or
    deadline.

    A newer time alone tells nothing, except where the listing has no items (v0): then any change may be theirs.
    """
    if known is None:
        return True
    status = canonical_status(order.status)
    if status != known.status:
        return True
    if order.fulfilled_by not in (known.fulfilled_by, UNKNOWN_FULFILLER):
        return True
    if known.fetch_is_due or AMAZON in (order.fulfilled_by, known.fulfilled_by) or status not in _TO_SHIP:
        return False
    if not known.fetched or known.last_updated_at is None:
        return True
    if order.last_updated_at < known.last_updated_at:
        # The listing lags behind what was read.
        return False
    if not order.items:
        return order.last_updated_at > known.last_updated_at
    quantities = {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in order.items}
    return (
        order.cancellation_requested != known.cancellation_requested
        or quantities != known.quantities
        or order.ship_by != known.ship_by
    )


def _give_up(database: Database, account_id: str, error: Exception) -> bool:
    """Count the failure of the window that is open; True once it is given up for it."""
    with database.transaction(account_id) as tx:
        search = unfinished_search(tx, SWEEP)
        if search is None:
            return False
        reason = str(error) if isinstance(error, AmazonError) else f"a defect of this program: {error_location(error)}"
        outage = isinstance(error, AmazonError) and error.retryable
        failures = fail_search(tx.connection, search.window_id, reason, outage=outage)
        if failures < (OUTAGE_ATTEMPTS if outage else WINDOW_ATTEMPTS):
            return False
        give_up_search(tx.connection, search.window_id)
    return True
