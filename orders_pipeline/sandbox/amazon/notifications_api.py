"""Notifications API v1: destinations and subscriptions."""

from __future__ import annotations

import re
from typing import Any

from starlette.concurrency import run_in_threadpool

from orders_pipeline.sandbox.amazon.fba_shipment import FBA_SHIPMENT_STATUS
from orders_pipeline.sandbox.amazon.gate import ApiError, Call, invalid_input, not_found
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.amazon.subscriptions import ORDER_CHANGE, Subscription
from orders_pipeline.sandbox.queue import Queue

QUEUE_ARN = re.compile(r"arn:aws:sqs:\S+:\S+:\S+")
CHANGE_TYPES = frozenset({"BuyerRequestedChange", "DeliveryTipChange", "OrderStatusChange"})
KNOWN_TYPES = frozenset(
    {
        ORDER_CHANGE,
        FBA_SHIPMENT_STATUS,
        "ANY_OFFER_CHANGED",
        "FEED_PROCESSING_FINISHED",
        "REPORT_PROCESSING_FINISHED",
        "TRANSACTION_UPDATE",
    }
)


class NotificationsApi:
    def __init__(self, state: AmazonState, queue: Queue) -> None:
        self._subscriptions = state.subscriptions
        self._queue = queue

    async def create_destination(self, call: Call) -> tuple[int, dict[str, Any]]:
        body = call.json_body()
        name, specification = body.get("name"), body.get("resourceSpecification")
        if not isinstance(name, str) or not 1 <= len(name) <= 256 or not isinstance(specification, dict):
            raise invalid_input("name and resourceSpecification are required.")
        arn = specification.get("sqs", {}).get("arn") if isinstance(specification.get("sqs"), dict) else None
        if set(specification) != {"sqs"} or not isinstance(arn, str) or not QUEUE_ARN.fullmatch(arn) or len(arn) > 1000:
            raise invalid_input("resourceSpecification must hold the ARN of an SQS queue.")
        if not await run_in_threadpool(self._queue.accepts_amazon, arn):
            raise invalid_input(
                "The queue does not exist, is not a standard queue, or its policy does not let us send."
            )
        destination = self._subscriptions.add_destination(name, arn)
        if destination is None:
            raise ApiError(409, "Conflict", "A destination with this name or resource already exists.")
        return 200, {"payload": destination.as_json()}

    async def get_destinations(self, _call: Call) -> tuple[int, dict[str, Any]]:
        return 200, {"payload": [one.as_json() for one in self._subscriptions.destinations.values()]}

    async def get_destination(self, call: Call) -> tuple[int, dict[str, Any]]:
        destination = self._subscriptions.destinations.get(call.request.path_params["destination_id"])
        if destination is None:
            raise not_found("destination")
        return 200, {"payload": destination.as_json()}

    async def delete_destination(self, call: Call) -> tuple[int, dict[str, Any]]:
        if not self._subscriptions.remove_destination(call.request.path_params["destination_id"]):
            raise not_found("destination")
        return 200, {}

    async def create_subscription(self, call: Call) -> tuple[int, dict[str, Any]]:
        kind = _kind(call)
        body = call.json_body()
        version, destination_id = body.get("payloadVersion"), body.get("destinationId")
        if not isinstance(version, str) or not isinstance(destination_id, str):
            raise invalid_input("payloadVersion and destinationId are required.")
        if kind in (ORDER_CHANGE, FBA_SHIPMENT_STATUS) and version != "1.0":
            raise invalid_input("The payload version is not supported for this notification type.")
        destination = self._subscriptions.destinations.get(destination_id)
        if destination is None:
            raise invalid_input("The destination does not exist.")
        directive = body.get("processingDirective", {})
        _check_directive(kind, directive)
        subscription = self._subscriptions.subscribe(call.seller.seller_id, kind, version, destination, directive)
        if subscription is None:
            raise ApiError(409, "Conflict", "A subscription of this type and version already exists.")
        return 200, {"payload": subscription.as_json()}

    async def get_subscription(self, call: Call) -> tuple[int, dict[str, Any]]:
        version = call.query().get("payloadVersion")
        subscription = self._subscriptions.find(call.seller.seller_id, _kind(call), version)
        if subscription is None:
            raise not_found("subscription")
        return 200, {"payload": subscription.as_json()}

    async def get_subscriptions(self, call: Call) -> tuple[int, dict[str, Any]]:
        kinds = call.query().get("notificationTypes", "").split(",")
        if len(kinds) != 1 or kinds[0] not in KNOWN_TYPES:
            raise invalid_input("notificationTypes must be exactly one known type.")
        found = self._subscriptions.find(call.seller.seller_id, kinds[0], call.query().get("payloadVersion"))
        return 200, {"payload": {"subscriptions": [found.as_json()] if found else []}}

    async def get_subscription_by_id(self, call: Call) -> tuple[int, dict[str, Any]]:
        return 200, {"payload": self._by_id(call).as_json()}

    async def delete_subscription_by_id(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._subscriptions.remove_subscription(self._by_id(call).subscription_id)
        return 200, {}

    def _by_id(self, call: Call) -> Subscription:
        subscription = self._subscriptions.subscriptions.get(call.request.path_params["subscription_id"])
        if subscription is None or subscription.notification_type != _kind(call):
            raise not_found("subscription")
        return subscription


def _kind(call: Call) -> str:
    kind: str = call.request.path_params["notification_type"]
    if kind not in KNOWN_TYPES:
        raise invalid_input("The notification type is invalid.")
    return kind


def _check_directive(kind: str, directive: Any) -> None:
    if not isinstance(directive, dict) or set(directive) - {"eventFilter", "filterExpression"}:
        raise invalid_input("processingDirective is invalid.")
    if len(directive) > 1:
        raise invalid_input("eventFilter and filterExpression exclude each other.")
    event_filter = directive.get("eventFilter")
    if event_filter is None:
        return
    if not isinstance(event_filter, dict) or event_filter.get("eventFilterType") != kind:
        raise invalid_input("eventFilterType must be the notification type.")
    types = event_filter.get("orderChangeTypes", [])
    if not isinstance(types, list) or not set(types) <= CHANGE_TYPES:
        raise invalid_input("orderChangeTypes has an unknown value.")
