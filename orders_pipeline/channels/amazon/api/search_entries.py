"""Read the entries of a listing, each by itself: one that cannot be read keeps none of the others back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orders_pipeline.audit.log import is_order_id
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.model.order import Order, UnreadableEntry


def read_entries(
    entries: Sequence[Fields], id_field: str, read: Callable[[Fields], Order]
) -> tuple[tuple[Order, ...], tuple[UnreadableEntry, ...]]:
    """The orders that can be read, and of the others the id, where that can be."""
    orders: list[Order] = []
    unreadable: list[UnreadableEntry] = []
    for entry in entries:
        named_id = entry.text(id_field)
        order_id = named_id if named_id is not None and is_order_id(named_id) else None
        if order_id is None:
            unreadable.append(UnreadableEntry(None, f"{entry.path}.{id_field} is missing or unreadable"))
            continue
        try:
            orders.append(read(entry))
        except FieldProblem as problem:
            unreadable.append(UnreadableEntry(order_id, str(problem)))
    return tuple(orders), tuple(unreadable)
