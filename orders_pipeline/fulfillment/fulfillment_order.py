"""Build what the warehouse is asked to ship from what is known of the order."""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.model.order import ItemDetails, ShippingDetails
from orders_pipeline.wms.port import FulfillmentLine, FulfillmentOrder, ShipTo

_NOTHING_WRITTEN = ItemDetails()


def fulfillment_order(
    account_id: str, order: AnyRow, items: Sequence[AnyRow], details: ShippingDetails
) -> FulfillmentOrder:
    """One fulfillment order; its lines are the pieces that are still to ship (a cancelled line has none)."""
    return FulfillmentOrder(
        order_ref=order.order_id,
        seller_id=account_id,
        marketplace_id=order.marketplace_id,
        purchased_at=order.purchased_at,
        ship_by=order.ship_by,
        deliver_by=order.deliver_by,
        service_level=order.service_level,
        is_prime="PRIME" in order.programs,
        is_business="AMAZON_BUSINESS" in order.programs,
        ship_to=ShipTo(
            name=details.name,
            company=details.company,
            address_line1=details.address_line1,
            address_line2=details.address_line2,
            address_line3=details.address_line3,
            city=details.city,
            district=details.district,
            state_or_region=details.state_or_region,
            postal_code=details.postal_code,
            country_code=details.country_code,
            phone=details.phone,
            address_type=details.address_type,
        ),
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
