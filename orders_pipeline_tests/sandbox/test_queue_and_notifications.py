"""What arrives on the queue, and the API by which a seller asks for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from orders_pipeline.sandbox.amazon.fba_shipment import BRAZIL
from orders_pipeline.sandbox.queue import AMAZON_PRINCIPAL, QueueOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.amazon_models import closed, models_folder
from orders_pipeline_tests.sandbox.honest_client import HonestClient
from orders_pipeline_tests.sandbox.test_limits_and_faults import GRANTLESS, token_request

NOTIFICATIONS = "/notifications/v1"


@pytest.fixture
def unsubscribed() -> Iterator[Sandbox]:
    with Sandbox(time_scale=1000, subscribed=False) as sandbox:
        yield sandbox


def received(sandbox: Sandbox, count: int, seconds: float = 5.0) -> list[str]:
    client, bodies = sandbox.queue.client(), list[str]()
    deadline = time.monotonic() + seconds
    while len(bodies) < count and time.monotonic() < deadline:
        answer = client.receive_message(QueueUrl=sandbox.queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            bodies.append(message["Body"])
            client.delete_message(QueueUrl=sandbox.queue.url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def change(body: str) -> dict[str, Any]:
    return json.loads(body)["Payload"]["OrderChangeNotification"]


def test_each_change_is_told_with_the_postal_code_only_when_there_is_an_address() -> None:
    with Sandbox() as sandbox:
        order = sandbox.add_order(status="PENDING")
        sandbox.amazon.change_status(order.order_id, "UNSHIPPED")
        sandbox.amazon.request_cancellation(order.order_id)
        told = [change(body) for body in received(sandbox, 3)]
        summaries = [one["Summary"] for one in told]
        assert [one["OrderStatus"] for one in summaries] == ["Pending", "Unshipped", "Unshipped"]
        codes = [None, order.address.postal_code, order.address.postal_code]
        assert [one["DestinationPostalCode"] for one in summaries] == codes
        assert told[2]["OrderChangeType"] == "BuyerRequestedChange"
        assert summaries[2]["OrderItems"][0]["IsBuyerRequestedCancel"] is True


def test_fba_onsite_is_told_of_in_brazil_alone_and_in_amazons_exact_form() -> None:
    schema = json.loads((models_folder() / "notifications" / "FBAOutboundShipmentStatusNotification.json").read_text())
    with Sandbox(marketplace_ids=(BRAZIL, "ATVPDKIKX0DER")) as sandbox:
        order = sandbox.add_order(status="PENDING", fulfilled_by="AFN", marketplace_id=BRAZIL)
        sandbox.add_order(fulfilled_by="AFN", marketplace_id="ATVPDKIKX0DER")
        sandbox.add_order(marketplace_id=BRAZIL)
        sandbox.amazon.change_status(order.order_id, "UNSHIPPED")
        sandbox.amazon.cancel(order.order_id)
        bodies = [json.loads(body) for body in received(sandbox, 7)]
    told = [body for body in bodies if body["NotificationType"] == "FBA_OUTBOUND_SHIPMENT_STATUS"]
    for body in told:
        assert [error.message for error in Draft7Validator(closed(schema)).iter_errors(body)] == []
    payloads = [body["Payload"]["FBAOutboundShipmentStatusNotification"] for body in told]
    assert {payload["AmazonOrderId"] for payload in payloads} == {order.order_id}
    assert sorted(payload["ShipmentStatus"] for payload in payloads) == ["Cancelled", "Created"]
    assert len({payload["AmazonShipmentId"] for payload in payloads}) == 1


def test_a_change_may_come_as_one_message_for_each_item() -> None:
    with Sandbox() as sandbox:
        order = sandbox.add_order(items=[{}, {}], notify=False)
        sandbox.amazon.notify(order.order_id, item_level=True)
        told = [change(body) for body in received(sandbox, 2)]
        assert [one["NotificationLevel"] for one in told] == ["OrderItemLevel"] * 2
        items = {one["Summary"]["OrderItems"][0]["OrderItemId"] for one in told}
        assert items == {item.item_id for item in order.items}


def test_the_queue_is_standard_lets_amazon_send_and_has_a_dead_letter_queue(sandbox: Sandbox) -> None:
    client = sandbox.queue.client()
    attributes = client.get_queue_attributes(QueueUrl=sandbox.queue.url, AttributeNames=["All"])["Attributes"]
    statement = json.loads(attributes["Policy"])["Statement"][0]
    assert AMAZON_PRINCIPAL in statement["Principal"]["AWS"]
    assert set(statement["Action"]) == {"sqs:SendMessage", "sqs:GetQueueAttributes"}
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(sandbox.queue.dead_letter_name)
    assert "FifoQueue" not in attributes


def test_a_hostile_queue_repeats_wraps_and_corrupts() -> None:
    options = QueueOptions(copies=3, malformed_share=1, unknown_type_share=1, large_body_share=1, sns_envelope_share=1)
    with Sandbox(queue=options) as sandbox:
        sandbox.add_order()
        bodies = received(sandbox, 6)
        wrapped = [body for body in bodies if '"TopicArn"' in body]
        assert len(bodies) == 6
        assert len(wrapped) == 3
        assert max(len(body) for body in bodies) > 250 * 1024
        assert sandbox.queue.drained()


def test_messages_may_never_be_sent() -> None:
    with Sandbox() as sandbox:
        sandbox.amazon.options.loss_share = 1.0
        sandbox.add_order()
        assert sandbox.amazon.ledger.notifications == {"lost": 1}
        assert received(sandbox, 1, seconds=0.5) == []


def test_only_what_a_subscription_lets_through_is_sent(
    unsubscribed: Sandbox,
) -> None:
    client = HonestClient(unsubscribed.environment())
    grantless = token_request(unsubscribed, **GRANTLESS, scope="sellingpartnerapi::notifications")
    token = grantless.json()["access_token"]
    order = unsubscribed.add_order()
    destination = {"name": "mine", "resourceSpecification": {"sqs": {"arn": unsubscribed.queue.arn}}}
    made = client.amazon("POST", f"{NOTIFICATIONS}/destinations", body=destination, token=token)
    destination_id = made.json()["payload"]["destinationId"]
    event_filter = {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["BuyerRequestedChange"]}
    wish = {
        "payloadVersion": "1.0",
        "destinationId": destination_id,
        "processingDirective": {"eventFilter": event_filter},
    }
    path = f"{NOTIFICATIONS}/subscriptions/ORDER_CHANGE"
    assert client.amazon("GET", path).status_code == 404
    assert client.amazon("POST", path, body=wish).status_code == 200
    unsubscribed.amazon.change_status(order.order_id, "UNSHIPPED")
    unsubscribed.amazon.request_cancellation(order.order_id)
    (body,) = received(unsubscribed, 1)
    assert change(body)["OrderChangeType"] == "BuyerRequestedChange"
    again = client.amazon("POST", f"{NOTIFICATIONS}/destinations", body=destination, token=token)
    assert again.status_code == 409
    assert client.amazon("POST", path, body=wish).status_code == 409
    assert client.amazon("GET", path).json()["payload"]["destinationId"] == destination_id


@pytest.mark.parametrize("name", ["arn:aws:sqs:us-east-1:123456789012:nowhere", "not an arn", None])
def test_a_destination_that_amazon_cannot_send_to_is_refused(unsubscribed: Sandbox, name: str | None) -> None:
    client = HonestClient(unsubscribed.environment())
    grantless = token_request(unsubscribed, **GRANTLESS, scope="sellingpartnerapi::notifications")
    body = {"name": "mine", "resourceSpecification": {"sqs": {"arn": name}}}
    answer = client.amazon("POST", f"{NOTIFICATIONS}/destinations", body=body, token=grantless.json()["access_token"])
    assert answer.status_code == 400


def test_a_filter_that_breaks_a_rule_is_refused(sandbox: Sandbox, client: HonestClient) -> None:
    (destination_id,) = sandbox.amazon.subscriptions.destinations
    path = f"{NOTIFICATIONS}/subscriptions/ORDER_CHANGE"
    wish: dict[str, Any] = {"payloadVersion": "1.0", "destinationId": destination_id}
    for directive in (
        {"eventFilter": {"eventFilterType": "ANY_OFFER_CHANGED"}},
        {"eventFilter": {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["Everything"]}},
        {"eventFilter": {"eventFilterType": "ORDER_CHANGE"}, "filterExpression": "true"},
    ):
        assert client.amazon("POST", path, body={**wish, "processingDirective": directive}).status_code == 400
    assert client.amazon("POST", path, body={**wish, "payloadVersion": "2.0"}).status_code == 400
