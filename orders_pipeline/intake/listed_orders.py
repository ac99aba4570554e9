"""What a listing of past days tells of an order is stored as it is: a call of its own is for what must still ship."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.intake.save import SHIPPABLE, details_are_of_use
from orders_pipeline.intake.search import record_orders
from orders_pipeline.model.order import AMAZON, MERCHANT, Order, OrderStatus
from orders_pipeline.orders.answers import item_values, order_values
from orders_pipeline.orders.fetches import awaiting_fetch
from orders_pipeline.orders.ownership import AccountStart, account_start, awaits_adoption, bought_before_start
from orders_pipeline.orders.rows import lock_orders, queue_states, save_fetched_order
from orders_pipeline.work.jobs import BACKFILLED

_KNOWN_STATUSES = frozenset(value for name, value in vars(OrderStatus).items() if not name.startswith("_"))


def record_backfilled(
    tx: AccountTransaction, source: str, found: Sequence[Order], marketplace_ids: Collection[str]
) -> int:
    """Record an event for each order, and take over the state of those that need no call; how many events were new.

    An order that is known by an answer of its own, or is on its way to the warehouse, is left to its event.
    """
    start, now = account_start(tx), database_now(tx.connection)
    for order, row in _unread(tx, found, marketplace_ids):
        if not _must_ship(order, now) or _is_an_old_process_s(tx, row, order, start):
            _store(tx, order)
    return record_orders(tx, source, found)


def store_amazons(tx: AccountTransaction, found: Sequence[Order], marketplace_ids: Collection[str]) -> None:
    """Take over what a search tells of the orders that Amazon ships: their dates and items too, at no call.

    Where it tells no items (v0) it tells no more than its event does.
    """
    afn = sorted((one for one in found if _is_told_whole(one, marketplace_ids)), key=lambda order: order.order_id)
    order_ids = [order.order_id for order in afn]
    rows = lock_orders(tx, order_ids)
    left_to_events = awaiting_fetch(tx, order_ids) | queue_states(tx, order_ids).keys()
    for order in afn:
        row = rows.get(order.order_id)
        is_older = row is not None and row.fetched_at is not None and row.last_updated_at >= order.last_updated_at
        is_known_as_ours = row is not None and row.fulfilled_by != AMAZON
        if order.order_id not in left_to_events and not is_older and not is_known_as_ours:
            _store(tx, order)


def _is_told_whole(order: Order, marketplace_ids: Collection[str]) -> bool:
    return order.fulfilled_by == AMAZON and bool(order.items) and order.marketplace_id in marketplace_ids


def store_reported(tx: AccountTransaction, found: Sequence[Order], marketplace_ids: Collection[str]) -> None:
    """Take over the state of those orders of a report that need no call; their events are recorded by the caller.

    A report may be a day old, and tells neither items nor deadlines: whatever might have to ship, was told anything
    newer, or is described in words that we do not know, is left to its event.
    """
    now = database_now(tx.connection)
    for order, row in _unread(tx, found, marketplace_ids):
        told_at = None if row is None else row.last_updated_at
        is_clear = order.status in _KNOWN_STATUSES and order.fulfilled_by in (AMAZON, MERCHANT)
        if is_clear and not _must_ship(order, now) and (told_at is None or told_at <= order.last_updated_at):
            _store(tx, order)


def _unread(
    tx: AccountTransaction, found: Sequence[Order], marketplace_ids: Collection[str]
) -> Iterator[tuple[Order, AnyRow | None]]:
    """Those of which neither a fetch nor an event tells more than this listing, each with its locked row."""
    order_ids = sorted(order.order_id for order in found)
    rows = lock_orders(tx, order_ids)
    left_to_events = awaiting_fetch(tx, order_ids) | queue_states(tx, order_ids).keys()
    for order in sorted(found, key=lambda order: order.order_id):
        row = rows.get(order.order_id)
        if order.order_id not in left_to_events and _is_unread(row) and order.marketplace_id in marketplace_ids:
            yield order, row


def _store(tx: AccountTransaction, order: Order) -> None:
    items = item_values(tx.account_id, order)
    save_fetched_order(tx, order_values(tx.account_id, order), items, priority=BACKFILLED)


def _is_unread(row: AnyRow | None) -> bool:
    """Amazon has answered nothing about it yet, and no message questions what it will."""
    return row is None or (row.fetched_at is None and row.told_at is None and row.cancellation_told_at is None)


def _must_ship(order: Order, now: datetime) -> bool:
    # Where the listing leaves out who ships it, only a call tells.
    to_ship = order.status in SHIPPABLE and order.fulfilled_by != AMAZON
    return to_ship and details_are_of_use(order.programs, order.deliver_by, now)


def _is_an_old_process_s(tx: AccountTransaction, row: AnyRow | None, order: Order, start: AccountStart | None) -> bool:
    return bought_before_start(start, order.purchased_at) if row is None else awaits_adoption(tx, row)
