"""Notification destinations and subscriptions: who gets which messages, and where."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

ORDER_CHANGE = "ORDER_CHANGE"


@dataclass
class Destination:
    destination_id: str
    name: str
    arn: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "destinationId": self.destination_id, "resource": {"sqs": {"arn": self.arn}}}


@dataclass
class Subscription:
    subscription_id: str
    seller_id: str
    notification_type: str
    payload_version: str
    destination_id: str
    queue_arn: str
    processing_directive: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "subscriptionId": self.subscription_id,
            "payloadVersion": self.payload_version,
            "destinationId": self.destination_id,
        }
        if self.processing_directive:
            body["processingDirective"] = self.processing_directive
        return body

    def wants(self, marketplace_id: str, change_type: str) -> bool:
        event_filter: dict[str, Any] = self.processing_directive.get("eventFilter", {})
        types = event_filter.get("orderChangeTypes")
        marketplaces = event_filter.get("marketplaceIds")
        return (not types or change_type in types) and (not marketplaces or marketplace_id in marketplaces)


class Subscriptions:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.destinations: dict[str, Destination] = {}
        self.subscriptions: dict[str, Subscription] = {}

    def add_destination(self, name: str, arn: str) -> Destination | None:
        """None: there is one with this name or this queue already."""
        with self._lock:
            if any(name == known.name or arn == known.arn for known in self.destinations.values()):
                return None
            destination = Destination(str(uuid.uuid4()), name, arn)
            self.destinations[destination.destination_id] = destination
            return destination

    def remove_destination(self, destination_id: str) -> bool:
        with self._lock:
            return self.destinations.pop(destination_id, None) is not None

    def subscribe(
        self,
        seller_id: str,
        notification_type: str,
        payload_version: str,
        destination: Destination,
        processing_directive: dict[str, Any],
    ) -> Subscription | None:
        """None: the seller has one of this type and version already."""
        if self.find(seller_id, notification_type, payload_version) is not None:
            return None
        subscription = Subscription(
            str(uuid.uuid4()),
            seller_id,
            notification_type,
            payload_version,
            destination.destination_id,
            destination.arn,
            processing_directive,
        )
        with self._lock:
            self.subscriptions[subscription.subscription_id] = subscription
        return subscription

    def find(self, seller_id: str, notification_type: str, payload_version: str | None) -> Subscription | None:
        with self._lock:
            for known in self.subscriptions.values():
                if (known.seller_id, known.notification_type) == (seller_id, notification_type) and (
                    payload_version in (None, known.payload_version)
                ):
                    return known
        return None

    def remove_subscription(self, subscription_id: str) -> bool:
        with self._lock:
            return self.subscriptions.pop(subscription_id, None) is not None

    def wanting(self, seller_id: str, marketplace_id: str, change_type: str) -> list[Subscription]:
        with self._lock:
            return [
                known
                for known in self.subscriptions.values()
                if known.seller_id == seller_id
                and known.notification_type == ORDER_CHANGE
                and known.wants(marketplace_id, change_type)
            ]
