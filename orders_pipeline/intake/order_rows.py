"""An order of Amazon's as the rows of our tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.model.order import Order


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


def to_ship_by_item(items: Sequence[AnyRow]) -> dict[str, int]:
    """How many pieces of each line are ordered, as our rows have it; none of a cancelled line."""
    return {item.order_item_id: 0 if item.cancelled else item.quantity_ordered for item in items}
