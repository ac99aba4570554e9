"""Keep the state of an order as an answer of Amazon's has it, whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.order import REGULATED_PROGRAM, Order, OrderStatus
from orders_pipeline.model.states import AT_THE_WAREHOUSE
from orders_pipeline.orders.event_rows import latest_change_told
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.rows import item_rows, note_reduced_items, order_row, queue_states, save_fetched_order
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import find


def save_order(tx: AccountTransaction, order: Order, queue_state: str | None, **more: Any) -> bool:
    """Store the order and its items unless a newer state is there; whether it was taken. `more`: columns of orders.

    `queue_state`: of its fulfillment order; what the warehouse has is noted if it becomes less.
    """
    before = _to_ship_by_item(item_rows(tx, order.order_id))
    values = order_values(tx.account_id, order) | more
    taken = save_fetched_order(tx, values, item_values(tx.account_id, order))
    if taken and queue_state in AT_THE_WAREHOUSE:
        _note_reduced_items(tx, order, before)
    return taken


def refresh_order(tx: AccountTransaction, order: Order) -> None:
    """Take over the state that a verification's answer shows, which is as good as a fetch's.

    The caller has locked the order's row. While a fetch is pending, or a message announced what no answer has
    confirmed yet, that fetch tells: it knows what to compare with.
    """
    row = order_row(tx, order.order_id)
    if row is None or row.fetched_at is None or row.told_at is not None or row.cancellation_told_at is not None:
        return
    if find(tx, Queue.FETCH, order.order_id) is not None:
        return
    told_at = latest_change_told(tx, order.order_id, row.fetched_at)
    if is_older(order.last_updated_at, told_at):
        # What was taken for the echo of our own confirmation tells of more: a page shows what was two minutes ago.
        request_fetch(tx, order_id=order.order_id, told_at=told_at)
        return
    # By its SKUs, which only the fetch knows of.
    regulated = {REGULATED_PROGRAM} & set(row.programs)
    state = queue_states(tx, [order.order_id]).get(order.order_id)
    save_order(tx, order, state, programs=sorted(order.programs | regulated))


def is_older(answered: datetime, announced: datetime | None) -> bool:
    """Whether the answer does not show yet what was announced. In whole seconds: v0 writes no more."""
    return announced is not None and answered.replace(microsecond=0) < announced.replace(microsecond=0)


def order_values(account_id: str, order: Order) -> dict[str, Any]:
    """The columns of `orders` that an answer of Amazon's sets."""
    return {
        "account_id": account_id,
        "order_id": order.order_id,
        "marketplace_id": order.marketplace_id,
        "status": order.status,
        "fulfilled_by": order.fulfilled_by,
        "service_level": order.service_level,
        "programs": sorted(order.programs),
        "total_amount": order.total.amount if order.total else None,
        "total_currency": order.total.currency if order.total else None,
        "purchased_at": order.purchased_at,
        "last_updated_at": order.last_updated_at,
        "earliest_ship_at": order.earliest_ship_at,
        "ship_by": order.ship_by,
        "deliver_by": order.deliver_by,
        "cancellation_requested": order.cancellation_requested,
    }


def item_values(account_id: str, order: Order) -> list[dict[str, Any]]:
    """The rows of `order_items` for an answer of Amazon's."""
    return [
        {
            "account_id": account_id,
            "order_id": order.order_id,
            "order_item_id": item.order_item_id,
            "position": position,
            "sku": item.sku,
            "asin": item.asin,
            "title": item.title,
            "quantity_ordered": item.quantity_ordered,
            "quantity_fulfilled": item.quantity_fulfilled,
            "unit_price": item.unit_price.amount if item.unit_price else None,
            "currency": item.unit_price.currency if item.unit_price else None,
            "programs": sorted(item.programs),
            "cancellation_requested": item.cancellation_requested,
            "cancelled": item.cancelled,
        }
        for position, item in enumerate(order.items)
    ]


def _to_ship_by_item(items: Sequence[AnyRow]) -> dict[str, int]:
    """How many pieces of each line are ordered, as our rows have it; none of a cancelled line."""
    return {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in items}


def _note_reduced_items(tx: AccountTransaction, order: Order, before: dict[str, int]) -> None:
    """A line was cancelled, or made smaller, at Amazon: the contract has no word for it, so a person has to say it."""
    now = {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in order.items}
    fewer = sorted(item_id for item_id, quantities in before.items() if now.get(item_id, 0) < quantities)
    if fewer and order.status != OrderStatus.CANCELLED:
        note_reduced_items(tx, order_id=order.order_id, item_ids=fewer)
