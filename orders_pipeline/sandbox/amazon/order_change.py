"""ORDER_CHANGE 1.0, the message that Amazon puts on the seller's queue when an order changed."""

from __future__ import annotations

import uuid
from typing import Any

from orders_pipeline.sandbox.amazon.order import BUSINESS, CANCELLED, PENDING, PRIME, V0_STATUS, Order, OrderItem
from orders_pipeline.sandbox.clock import Clock, iso

STATUS_CHANGE = "OrderStatusChange"
BUYER_REQUEST = "BuyerRequestedChange"

_PROGRAMS = {PRIME: "Prime", BUSINESS: "Business", "PREMIUM": "Premium", "INVOICE_BY_AMAZON": "IBA"}


def order_change_messages(
    order: Order,
    *,
    clock: Clock,
    application_id: str,
    subscription_id: str,
    change_type: str = STATUS_CHANGE,
    reason: str = "Order status changed",
    item_level: bool = False,
) -> list[dict[str, Any]]:
    """One message for the order, or one for each item, as Amazon sends when the items went different ways."""
    groups = [[item] for item in order.items] if item_level else [order.items]
    level = "OrderItemLevel" if item_level else "OrderLevel"
    published = iso(clock.now())
    return [
        {
            "NotificationVersion": "1.0",
            "NotificationType": "ORDER_CHANGE",
            "PayloadVersion": "1.0",
            "EventTime": published,
            "Payload": {
                "OrderChangeNotification": {
                    "NotificationLevel": level,
                    "SellerId": order.seller_id,
                    "AmazonOrderId": order.order_id,
                    "OrderChangeType": change_type,
                    "OrderChangeTrigger": {"TimeOfOrderChange": iso(order.last_updated), "ChangeReason": reason},
                    "Summary": _summary(order, items),
                }
            },
            "NotificationMetadata": {
                "ApplicationId": application_id,
                "SubscriptionId": subscription_id,
                "PublishTime": published,
                "NotificationId": str(uuid.uuid4()),
            },
        }
        for items in groups
    ]


def _summary(order: Order, items: list[OrderItem]) -> dict[str, Any]:
    shipped = sum(order.shipped_units(item.item_id) for item in order.items)
    ordered = sum(item.quantity for item in order.items)
    unshipped = 0 if order.status == CANCELLED else ordered - shipped
    # Amazon has no address to show before the payment is through, and shows none of an order that it ships itself.
    has_address = order.status not in (PENDING, CANCELLED) and order.merchant_fulfilled
    summary: dict[str, Any] = {
        "MarketplaceId": order.marketplace_id,
        "OrderStatus": V0_STATUS[order.status],
        "PurchaseDate": iso(order.created),
        "DestinationPostalCode": order.address.postal_code if has_address else None,
        "FulfillmentType": "MFN" if order.merchant_fulfilled else "AFN",
        "OrderType": "StandardOrder",
        "NumberOfItemsShipped": shipped,
        "NumberOfItemsUnshipped": unshipped,
        "OrderItems": [_item(order, item) for item in items],
    }
    if order.merchant_fulfilled:
        summary |= {
            "EarliestShipDate": iso(order.ship_by[0]),
            "LatestShipDate": iso(order.ship_by[1]),
            "EarliestDeliveryDate": iso(order.deliver_by[0]),
            "LatestDeliveryDate": iso(order.deliver_by[1]),
        }
    programs = [_PROGRAMS[program] for program in order.programs if program in _PROGRAMS]
    if programs:
        summary["OrderPrograms"] = programs
    return summary


def _item(order: Order, item: OrderItem) -> dict[str, Any]:
    return {
        "OrderItemId": item.item_id,
        "SellerSKU": item.sku or "",
        "SupplySourceId": None,
        "Quantity": item.quantity,
        "QuantityShipped": order.shipped_units(item.item_id),
        "IsBuyerRequestedCancel": item.cancel_request_reason is not None,
        **(
            {"OrderItemStatus": "Shipped" if order.shipped_units(item.item_id) >= item.quantity else "Unshipped"}
            if order.any_shipped and not order.all_shipped
            else {}
        ),
    }
