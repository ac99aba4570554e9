"""Rows of Amazon's report of all orders by last update, as the orders that a search would have shown.

A row is an item. The report tells no item ids, no deadlines and no cancellation requests, and its times are whole
seconds; what it tells of the place an order goes to is not taken. Source: facts about
GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL as of 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.listed_orders import store_reported
from orders_pipeline.intake.search import record_orders
from orders_pipeline.intake.unreadable_entries import park_entries
from orders_pipeline.model.marketplaces import marketplace_of_sales_channel
from orders_pipeline.model.order import Order, UnreadableEntry, canonical_fulfiller, canonical_status

ORDER_ID, UPDATED, STATUS, FULFILLER = "amazon-order-id", "last-updated-date", "order-status", "fulfillment-channel"
PURCHASED, SALES_CHANNEL = "purchase-date", "sales-channel"
# What is taken of a row; nothing else of it is looked at.
REQUIRED_COLUMNS = frozenset({ORDER_ID, UPDATED, STATUS, FULFILLER})
OPTIONAL_COLUMNS = frozenset({PURCHASED, SALES_CHANNEL})
_AN_ORDER_ID = re.compile(r"[0-9A-Z]{3}-[0-9]{7}-[0-9]{7}")
# A whole second stands for any moment in it.
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RecordedOrders:
    """What some rows came to: how many orders told something new, and how many entries could not be read."""

    events_new: int
    unreadable: int


def orders_of_rows(rows: Iterable[Mapping[str, str]]) -> tuple[list[Order], list[UnreadableEntry]]:
    """One order for the rows of each order, and what could not be read. Of several versions the newest counts."""
    orders: dict[str, Order] = {}
    unreadable: dict[str | None, UnreadableEntry] = {}
    for row in rows:
        try:
            order = _order(row)
        except FieldProblem as problem:
            entry = unreadable_entry(row.get(ORDER_ID, ""), str(problem))
            unreadable.setdefault(entry.order_id, entry)
            continue
        known = orders.get(order.order_id)
        if known is None or known.last_updated_at < order.last_updated_at:
            orders[order.order_id] = order
    return list(orders.values()), list(unreadable.values())


def unreadable_entry(order_id: str, problem: str) -> UnreadableEntry:
    """An entry that could not be read, with its order's id if it is one."""
    return UnreadableEntry(order_id if _AN_ORDER_ID.fullmatch(order_id) else None, f"report: {problem}")


def record_report_orders(
    tx: AccountTransaction,
    source: str,
    orders: Sequence[Order],
    unreadable: Sequence[UnreadableEntry],
    marketplace_ids: Collection[str],
) -> RecordedOrders:
    """Record the event of each order that no search has recorded, and set aside what could not be read.

    The state of orders that need no call is taken over, as from a search.
    """
    store_reported(tx, orders, marketplace_ids)
    known = _known_changes(tx, orders)
    new = record_orders(tx, source, [order for order in orders if order.order_id not in known])
    new += park_entries(tx, source, unreadable)
    return RecordedOrders(events_new=new, unreadable=len(unreadable))


def _known_changes(tx: AccountTransaction, orders: Sequence[Order]) -> set[str]:
    """Those of the orders whose change a search has recorded, to the millisecond."""
    statement = text("""
        select distinct t.order_id
        from unnest(cast(:order_ids as text[]), cast(:changed_at as timestamptz[])) as t(order_id, changed_at)
        join pipeline.order_events e on e.account_id = :account_id and e.order_id = t.order_id
          and e.deduplication_key like 'updated:%' and e.changed_at >= t.changed_at
          and e.changed_at < t.changed_at + cast(:second as interval)
    """)
    values = {
        "account_id": tx.account_id,
        "order_ids": [order.order_id for order in orders],
        "changed_at": [order.last_updated_at for order in orders],
        "second": _SECOND,
    }
    return set(tx.execute(statement, values).scalars())


def _order(row: Mapping[str, str]) -> Order:
    fields = Fields(row, "report")
    order_id = fields.required_text(ORDER_ID)
    if not _AN_ORDER_ID.fullmatch(order_id):
        raise FieldProblem(f"{ORDER_ID} is not an order id")
    updated = fields.required_time(UPDATED)
    # Easy Ship's words go on behind a dash: "Shipped - Delivered to Buyer".
    status = canonical_status(fields.required_text(STATUS).partition(" - ")[0])
    return Order(
        order_id=order_id,
        marketplace_id=marketplace_of_sales_channel(fields.text(SALES_CHANNEL)),
        status=status,
        fulfilled_by=canonical_fulfiller(fields.text(FULFILLER)),
        purchased_at=fields.time(PURCHASED) or updated,
        last_updated_at=updated,
        # Without its item ids an order's items cannot be told apart.
        items=(),
    )
