"""FBA_OUTBOUND_SHIPMENT_STATUS 1.0: what Amazon says of a shipment of FBA Onsite, which there is in Brazil alone."""

from __future__ import annotations

import uuid
from typing import Any

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.clock import Clock, iso

FBA_SHIPMENT_STATUS = "FBA_OUTBOUND_SHIPMENT_STATUS"
BRAZIL = "A2Q3Y263D00KWC"
CREATED, CANCELLED = "Created", "Cancelled"


def fba_shipment_message(
    order: Order, shipment_id: str, status: str, *, clock: Clock, application_id: str, subscription_id: str
) -> dict[str, Any]:
    published = iso(clock.now())
    return {
        "NotificationVersion": "1.0",
        "NotificationType": FBA_SHIPMENT_STATUS,
        "PayloadVersion": "1.0",
        "EventTime": published,
        "Payload": {
            "FBAOutboundShipmentStatusNotification": {
                "SellerId": order.seller_id,
                "AmazonOrderId": order.order_id,
                "AmazonShipmentId": shipment_id,
                "ShipmentStatus": status,
            }
        },
        "NotificationMetadata": {
            "ApplicationId": application_id,
            "SubscriptionId": subscription_id,
            "PublishTime": published,
            "NotificationId": str(uuid.uuid4()),
        },
    }
