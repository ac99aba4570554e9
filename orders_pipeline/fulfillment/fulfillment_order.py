"""Build what the warehouse is asked to ship from what is known of the order."""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.model.shipping_details import ItemDetails, ShippingDetails
from orders_pipeline.wms.port import FulfillmentLine, FulfillmentOrder

_NOTHING_WRITTEN = ItemDetails()


def fulfillment_order(
    seller_id: str, order: AnyRow, items: Sequence[AnyRow], details: ShippingDetails
) -> FulfillmentOrder:
    """One fulfillment order; its lines are the pieces that are still to ship (a cancelled line has none)."""
    return FulfillmentOrder(
        order_ref=order.order_id,
        seller_id=seller_id,
        marketplace_id=order.marketplace_id,
        purchased_at=order.purchased_at,
        ship_by=order.ship_by,
        deliver_by=order.deliver_by,
        service_level=order.service_level,
        is_prime="PRIME" in order.programs,
        is_business="AMAZON_BUSINESS" in order.programs,
        ship_to=details.address,
        lines=tuple(
            _line(item, details)
            for item in items
            if not item.cancelled and item.quantity_ordered > item.quantity_fulfilled
        ),
    )


def _line(item: AnyRow, details: ShippingDetails) -> FulfillmentLine:
    written = details.items.get(item.order_item_id, _NOTHING_WRITTEN)
    return FulfillmentLine(
        line_ref=item.order_item_id,
        sku=item.sku,
        quantity=item.quantity_ordered - item.quantity_fulfilled,
        title=item.title,
        gift_message=written.gift_message,
        customization_url=written.customization_url,
    )
