"""The Notifications API: a destination, and a subscription for each type of notification that is wanted.

Destinations belong to the application (grantless token), subscriptions to the seller. Amazon answers 409 to what is
there already: then it is read and used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonConflict, AmazonError, AmazonNotFound
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import Answer, protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import (
    CREATE_DESTINATION,
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    GET_DESTINATIONS,
    GET_SUBSCRIPTION,
    Operation,
)
from orders_pipeline.model.order import Priority

ORDER_CHANGE = "ORDER_CHANGE"
FBA_SHIPMENT_STATUS = "FBA_OUTBOUND_SHIPMENT_STATUS"
PAYLOAD_VERSION = "1.0"
QUEUE_ARN = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")
# Status changes of an order, and a buyer's wish to cancel; tips do not concern a warehouse.
ORDER_CHANGE_TYPES = ("OrderStatusChange", "BuyerRequestedChange")
DIRECTIVE: dict[str, Any] = {
    "eventFilter": {"eventFilterType": ORDER_CHANGE, "orderChangeTypes": list(ORDER_CHANGE_TYPES)}
}
DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Destination:
    destination_id: str
    name: str | None
    queue_arn: str | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """`order_change_types` is empty where the subscription has no event filter: then everything is delivered."""

    subscription_id: str
    payload_version: str | None
    destination_id: str | None
    order_change_types: frozenset[str]

    @property
    def delivers_what_is_needed(self) -> bool:
        return not self.order_change_types or self.order_change_types >= set(ORDER_CHANGE_TYPES)


@dataclass(frozen=True, slots=True)
class SubscriptionReport:
    """What is there now. `problem` says what a person must decide; it is empty when notifications will arrive."""

    destination: Destination
    destination_created: bool
    subscription: Subscription
    subscription_created: bool
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


class NotificationsV1:
    """Destinations and subscriptions of one application and seller."""

    def __init__(self, transport: Transport, tokens: AccessTokens, application_tokens: AccessTokens) -> None:
        self._transport = transport
        self._tokens = tokens
        self._application_tokens = application_tokens

    def get_destinations(self) -> list[Destination]:
        answer = self._call(GET_DESTINATIONS)
        return [self._read(GET_DESTINATIONS, answer, one) for one in Fields(answer.body, "answer").parts("payload")]

    def create_destination(self, name: str, queue_arn: str) -> Destination:
        """Raises AmazonConflict if there is one of this name or queue already."""
        body = {"name": name, "resourceSpecification": {"sqs": {"arn": queue_arn}}}
        answer = self._call(CREATE_DESTINATION, body=body)
        return self._read(CREATE_DESTINATION, answer, Fields(answer.body, "answer").part("payload"))

    def get_subscription(self, notification_type: str = ORDER_CHANGE) -> Subscription | None:
        """The seller's subscription, or None."""
        try:
            answer = self._call(
                GET_SUBSCRIPTION,
                {"notification_type": notification_type},
                query={"payloadVersion": PAYLOAD_VERSION},
            )
        except AmazonNotFound:
            return None
        return self._read_subscription(GET_SUBSCRIPTION, answer)

    def create_subscription(self, destination_id: str, notification_type: str = ORDER_CHANGE) -> Subscription:
        """Raises AmazonConflict if the seller has one of this type already."""
        body: dict[str, Any] = {"payloadVersion": PAYLOAD_VERSION, "destinationId": destination_id}
        if notification_type == ORDER_CHANGE:
            body["processingDirective"] = DIRECTIVE
        answer = self._call(CREATE_SUBSCRIPTION, {"notification_type": notification_type}, body=body)
        return self._read_subscription(CREATE_SUBSCRIPTION, answer)

    def delete_subscription(self, subscription_id: str, notification_type: str = ORDER_CHANGE) -> None:
        values = {"notification_type": notification_type, "subscription_id": subscription_id}
        self._call(DELETE_SUBSCRIPTION, values)

    def subscribe(
        self, queue_arn: str, notification_type: str = ORDER_CHANGE, *, replace: bool = False
    ) -> SubscriptionReport:
        """Have this type delivered to this queue; running it again changes nothing.

        A subscription to another queue, or with another filter, is left alone and reported, unless `replace`: taking
        it away could stop another program.
        """
        check_queue_arn(queue_arn)
        destination, destination_created = self._destination(queue_arn)
        subscription = self.get_subscription(notification_type)
        problem = _problem(subscription, destination, notification_type) if subscription else ""
        if subscription is not None and problem and replace:
            self.delete_subscription(subscription.subscription_id, notification_type)
            subscription, problem = None, ""
        created = subscription is None
        if subscription is None:
            subscription, created = self._subscription(destination.destination_id, notification_type)
            problem = _problem(subscription, destination, notification_type)
        return SubscriptionReport(destination, destination_created, subscription, created, problem)

    def _destination(self, queue_arn: str) -> tuple[Destination, bool]:
        known = self._find_destination(queue_arn)
        if known is not None:
            return known, False
        # A name of its own for each queue: two deployments of one application do not meet.
        name = f"orders-pipeline-{hashlib.sha256(queue_arn.encode()).hexdigest()[:12]}"
        try:
            return self.create_destination(name, queue_arn), True
        except AmazonConflict:
            known = self._find_destination(queue_arn)
            if known is None:
                raise
            return known, False

    def _find_destination(self, queue_arn: str) -> Destination | None:
        return next((one for one in self.get_destinations() if one.queue_arn == queue_arn), None)

    def _subscription(self, destination_id: str, notification_type: str) -> tuple[Subscription, bool]:
        try:
            return self.create_subscription(destination_id, notification_type), True
        except AmazonConflict:
            known = self.get_subscription(notification_type)
            if known is None:
                raise
            return known, False

    def _call(
        self,
        operation: Operation,
        values: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        request = Request(operation, operation.url_path(**(values or {})), query=query or {}, body=body)
        tokens = self._application_tokens if operation.scope else self._tokens
        deadline = self._transport.deadline(DEADLINE_SECONDS)
        return self._transport.call(request, tokens, priority=Priority.EVENT, deadline=deadline)

    def _read(self, operation: Operation, answer: Answer, body: Fields) -> Destination:
        try:
            return Destination(
                destination_id=body.required_text("destinationId"),
                name=body.text("name"),
                queue_arn=body.part("resource").part("sqs").text("arn"),
            )
        except FieldProblem as problem:
            raise self._protocol_error(operation, answer, problem) from None

    def _read_subscription(self, operation: Operation, answer: Answer) -> Subscription:
        body = Fields(answer.body, "answer").part("payload")
        try:
            return Subscription(
                subscription_id=body.required_text("subscriptionId"),
                payload_version=body.text("payloadVersion"),
                destination_id=body.text("destinationId"),
                order_change_types=frozenset(
                    body.part("processingDirective").part("eventFilter").texts("orderChangeTypes")
                ),
            )
        except FieldProblem as problem:
            raise self._protocol_error(operation, answer, problem) from None

    def _protocol_error(self, operation: Operation, answer: Answer, problem: FieldProblem) -> AmazonError:
        return protocol_error(operation, self._transport.seller_id, answer.request_id, str(problem))


def check_queue_arn(queue_arn: str) -> None:
    """Raises AmazonBadRequest, nothing sent, for a queue that Amazon cannot deliver to."""
    match = QUEUE_ARN.fullmatch(queue_arn)
    if match is None or match.group(1):
        problem = (
            "it names a FIFO queue; Amazon delivers to standard queues only" if match else "it is no SQS queue ARN"
        )
        raise AmazonBadRequest(
            f"createDestination was not sent: {queue_arn}: {problem}. Give the ARN of a standard queue.",
            operation=CREATE_DESTINATION.name,
            code="InvalidQueue",
        )


def _problem(subscription: Subscription, destination: Destination, notification_type: str) -> str:
    if subscription.destination_id != destination.destination_id:
        return (
            f"the seller's {notification_type} subscription delivers to another queue: if no other program reads that "
            "one, subscribe again with replace"
        )
    if not subscription.delivers_what_is_needed:
        return "the subscription's filter leaves out order changes that are needed: subscribe again with replace"
    return ""
