"""Give the orders of a listing by ids (v0) their items: as stored where they cannot have changed, else by a call.

What is shipped or cancelled as a whole has the items that are stored. Of an order that is still open they are always
asked for: that a buyer asked for a cancellation, or that a line became smaller, is told by the items alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.failures import READ_FAILURES
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.model.order import (
    LABEL_PROGRAMS,
    SHIPPED_STATUSES,
    FetchedOrder,
    Money,
    Order,
    OrderItem,
    OrderParts,
    OrdersPort,
    OrderStatus,
    Pieces,
    Priority,
)
from orders_pipeline.orders.rows import item_rows, order_row
from orders_pipeline.work.tally import Tally


@dataclass(frozen=True, slots=True)
class ListedItems:
    """The items of one page's orders. `known`: the orders whose items were not asked for."""

    orders: OrdersPort
    database: Database
    account_id: str
    pieces: Mapping[str, Pieces]
    known: list[str] = field(default_factory=list[str])

    def complete(
        self, listed: FetchedOrder, parts: OrderParts, seconds: float, *, priority: Priority = Priority.EVENT
    ) -> FetchedOrder:
        """The order as whole as get_order's answer. Raises what the job's handler is to raise."""
        if self.orders.lists_whole_orders:
            return listed
        order = self._from_known(listed.order)
        if order is not None:
            self.known.append(order.order_id)
            return replace(listed, order=order)
        try:
            return self.orders.add_items(listed, parts, priority=priority, deadline_seconds=seconds)
        except AmazonError as error:
            raise READ_FAILURES.answer(error) from error

    def as_tally(self) -> Tally:
        """The calls for items that were saved."""
        return Tally(notes={"calls_saved": len(self.known)} if self.known else {})

    def _from_known(self, order: Order) -> Order | None:
        if order.status != OrderStatus.CANCELLED and order.status not in SHIPPED_STATUSES:
            return None
        with self.database.transaction(self.account_id) as tx:
            row = order_row(tx, order.order_id)
            stored = [_item(one) for one in item_rows(tx, order.order_id)]
        items = items_when_over(order.status, stored, self.pieces.get(order.order_id))
        if row is None or items is None:
            return None
        # v0 tells it of the items.
        return replace(order, items=items, programs=order.programs | (frozenset(row.programs) & LABEL_PROGRAMS))


def items_when_over(status: str, stored: list[OrderItem], pieces: Pieces | None) -> tuple[OrderItem, ...] | None:
    """The items of an order that is shipped or cancelled, from those that are stored; None: they are to be asked for.

    All pieces are shipped if none is left and as many are as were ordered. While Pending an item has no price.
    """
    if not stored or any(item.unit_price is None for item in stored):
        return None
    if status == OrderStatus.CANCELLED:
        return tuple(replace(item, cancelled=True) for item in stored)
    ordered = sum(0 if item.cancelled else item.quantity_ordered for item in stored)
    if status not in SHIPPED_STATUSES or pieces != Pieces(shipped=ordered, unshipped=0):
        return None
    return tuple(item if item.cancelled else replace(item, quantity_fulfilled=item.quantity_ordered) for item in stored)


def _item(row: AnyRow) -> OrderItem:
    price = Money(row.unit_price, row.currency) if row.unit_price is not None and row.currency is not None else None
    return OrderItem(
        order_item_id=row.order_item_id,
        quantity_ordered=row.quantity_ordered,
        quantity_fulfilled=row.quantity_fulfilled,
        sku=row.sku,
        asin=row.asin,
        title=row.title,
        unit_price=price,
        programs=frozenset(row.programs),
        cancellation_requested=row.cancellation_requested,
        cancelled=row.cancelled,
    )
