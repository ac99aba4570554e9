"""Subscribing, and the findings of the doctor: each ok, or what to do."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orders_pipeline.channels.amazon.api.notifications import FBA_SHIPMENT_STATUS, ORDER_CHANGE
from orders_pipeline.channels.amazon.client import AmazonClient, subscribe
from orders_pipeline.channels.amazon.doctor import check_amazon
from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.channels.amazon.notification_types import wanted_notifications
from orders_pipeline.channels.amazon.queue_diagnostics import check_queue
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.operations.subscribe import subscribe_account
from orders_pipeline.sandbox.amazon.fba_shipment import BRAZIL
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon, errors
from orders_pipeline_tests.channels.amazon.conftest import OpenSandboxed, account

QUEUE = "arn:aws:sqs:us-east-1:123456789012:orders"
GOOD_QUEUE = {
    "QueueArn": QUEUE,
    "Policy": json.dumps(
        {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::437568002678:root"},
                    "Action": ["SQS:SendMessage", "SQS:GetQueueAttributes"],
                    "Resource": QUEUE,
                }
            ]
        }
    ),
    "SqsManagedSseEnabled": "true",
    "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{QUEUE}-dead", "maxReceiveCount": 10}),
    "VisibilityTimeout": "120",
    "MessageRetentionPeriod": "1209600",
}


@pytest.fixture
def unsubscribed(sandbox: Sandbox) -> Sandbox:
    sandbox.amazon.subscriptions.destinations.clear()
    sandbox.amazon.subscriptions.subscriptions.clear()
    return sandbox


def test_subscribing_can_be_run_again_and_changes_nothing_then(
    open_sandboxed: OpenSandboxed, unsubscribed: Sandbox
) -> None:
    client = open_sandboxed()
    first = subscribe(client, unsubscribed.queue.arn)
    second = subscribe(client, unsubscribed.queue.arn)
    assert (first.destination_created, first.subscription_created, first.ok) == (True, True, True)
    assert (second.destination_created, second.subscription_created, second.ok) == (False, False, True)
    assert second.subscription == first.subscription
    [kept] = unsubscribed.amazon.subscriptions.subscriptions.values()
    assert kept.processing_directive["eventFilter"]["orderChangeTypes"] == ["OrderStatusChange", "BuyerRequestedChange"]


def test_a_409_means_reuse(client: AmazonClient, amazon: CannedAmazon) -> None:
    destination = {"destinationId": "d1", "name": "theirs", "resource": {"sqs": {"arn": QUEUE}}}
    subscription = {"subscriptionId": "s1", "payloadVersion": "1.0", "destinationId": "d1"}
    amazon.lay(
        Canned(body={"payload": []}),
        Canned(409, errors("Conflict", "there already")),
        Canned(body={"payload": [destination]}),
        Canned(404, errors("NotFound")),
        Canned(409, errors("Conflict", "there already")),
        Canned(body={"payload": subscription}),
    )
    report = client.notifications.subscribe(QUEUE)
    assert (report.destination.destination_id, report.subscription.subscription_id) == ("d1", "s1")
    assert (report.destination_created, report.subscription_created, report.ok) == (False, False, True)


def test_a_subscription_of_another_queue_is_left_alone_unless_it_is_to_be_replaced(
    open_sandboxed: OpenSandboxed, unsubscribed: Sandbox
) -> None:
    unsubscribed.subscribe(unsubscribed.seller_id)
    [theirs] = unsubscribed.amazon.subscriptions.destinations.values()
    theirs.arn = "arn:aws:sqs:us-east-1:123456789012:somebody-elses"
    client = open_sandboxed()
    report = subscribe(client, unsubscribed.queue.arn)
    assert not report.ok
    assert "replace" in report.problem
    assert report.subscription.destination_id == theirs.destination_id
    replaced = subscribe(client, unsubscribed.queue.arn, replace=True)
    assert replaced.ok
    assert replaced.subscription_created
    assert len(unsubscribed.amazon.subscriptions.subscriptions) == 1


@pytest.mark.parametrize("arn", ["arn:aws:sqs:us-east-1:123456789012:orders.fifo", "https://sqs/orders", ""])
def test_a_queue_that_amazon_cannot_deliver_to_is_refused_before_anything_is_sent(
    client: AmazonClient, amazon: CannedAmazon, arn: str
) -> None:
    with pytest.raises(AmazonBadRequest, match="standard queue"):
        subscribe(client, arn)
    assert amazon.asked == []


def test_the_doctor_finds_a_healthy_account_in_order(open_sandboxed: OpenSandboxed, unsubscribed: Sandbox) -> None:
    client = open_sandboxed()
    subscribe(client, unsubscribed.queue.arn)
    results = check_amazon(client, account(), unsubscribed.queue.arn)
    assert [one.subject for one in results if not one.ok] == []
    assert [one.subject for one in results] == [
        "credentials", "order role", "personal data role", "marketplaces", "subscription", "clock",
    ]  # fmt: skip


def test_the_doctor_says_what_to_do_about_what_is_wrong(open_sandboxed: OpenSandboxed, unsubscribed: Sandbox) -> None:
    unsubscribed.amazon.accounts.remove_role(unsubscribed.seller_id)
    client = open_sandboxed()
    elsewhere = account(marketplaces=(MARKETPLACES["A2EUQ1WTGCTBG2"],))
    bad = {one.subject: one for one in check_amazon(client, elsewhere, unsubscribed.queue.arn) if not one.ok}
    assert set(bad) == {"personal data role", "marketplaces", "subscription"}
    assert "Direct-to-Consumer Shipping" in bad["personal data role"].what_to_do
    assert "AMAZON_MARKETPLACE_ID" in bad["marketplaces"].what_to_do
    assert "orders-pipeline subscribe" in bad["subscription"].what_to_do


def test_without_credentials_the_doctor_says_one_thing(client: AmazonClient, amazon: CannedAmazon) -> None:
    amazon.login_answers = [Canned(400, {"error": "invalid_grant"})]
    [finding] = check_amazon(client, account())
    assert not finding.ok
    assert "authorise the application again" in finding.what_to_do


def test_a_good_queue_has_nothing_to_do() -> None:
    assert [one for one in check_queue(GOOD_QUEUE) if not one.ok or one.what_to_do] == []


@pytest.mark.parametrize(
    ("changes", "subject", "advice"),
    [
        ({"FifoQueue": "true"}, "queue type", "standard"),
        ({"Policy": ""}, "queue policy", "437568002678"),
        ({"Policy": GOOD_QUEUE["Policy"].replace("437568002678", "111111111111")}, "queue policy", "sqs:SendMessage"),
        ({"KmsMasterKeyId": "alias/aws/sqs"}, "queue encryption", "kms:GenerateDataKey"),
        ({"SqsManagedSseEnabled": "false"}, "queue encryption", "SSE-SQS"),
        ({"RedrivePolicy": ""}, "dead-letter queue", "redrive"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": "1"}'}, "dead-letter queue", "maxReceive"),
        ({"VisibilityTimeout": "5"}, "visibility time-out", "at least"),
        ({"MessageRetentionPeriod": "3600"}, "queue retention", "14 days"),
    ],
)
def test_each_fault_of_a_queue_is_named_with_what_to_do(changes: dict[str, Any], subject: str, advice: str) -> None:
    [finding] = [one for one in check_queue({**GOOD_QUEUE, **changes}) if not one.ok]
    assert finding.subject == subject
    assert advice in finding.what_to_do


def test_the_sandboxs_queue_passes_the_checks_that_concern_delivery(sandbox: Sandbox) -> None:
    attributes = sandbox.queue.client().get_queue_attributes(QueueUrl=sandbox.queue.url, AttributeNames=["All"])
    found = {one.subject: one.ok for one in check_queue(attributes["Attributes"])}
    assert found["queue type"]
    assert found["queue policy"]
    assert found["dead-letter queue"]


# --- FBA Onsite


@pytest.mark.parametrize(
    ("marketplaces", "watched", "wanted"),
    [
        ((BRAZIL,), True, [ORDER_CHANGE, FBA_SHIPMENT_STATUS]),
        ((BRAZIL,), False, [ORDER_CHANGE]),
        (("ATVPDKIKX0DER",), True, [ORDER_CHANGE]),
    ],
)
def test_only_who_sells_in_brazil_and_watches_fba_asks_for_its_shipments(
    marketplaces: tuple[str, ...], watched: bool, wanted: list[str]
) -> None:
    settings = SimpleNamespace(marketplace_ids=marketplaces, watch_fba=watched)
    assert list(wanted_notifications(cast(Any, settings))) == wanted


def test_the_shipments_are_subscribed_to_without_a_filter_and_once(
    open_sandboxed: OpenSandboxed, unsubscribed: Sandbox
) -> None:
    notifications = open_sandboxed().notifications
    created = [notifications.subscribe(unsubscribed.queue.arn, FBA_SHIPMENT_STATUS).subscription_created for _ in "12"]
    assert created == [True, False]
    (one,) = unsubscribed.amazon.subscriptions.subscriptions.values()
    assert (one.notification_type, one.payload_version, one.processing_directive) == (FBA_SHIPMENT_STATUS, "1.0", {})


def test_what_amazon_refuses_of_the_shipments_keeps_no_order_waiting(
    open_sandboxed: OpenSandboxed, unsubscribed: Sandbox
) -> None:
    client = open_sandboxed()
    refused = AmazonBadRequest("createSubscription answered 400", operation="createSubscription", status=400)

    class Refuses:
        def subscribe(self, queue_arn: str, notification_type: str, *, replace: bool) -> Any:
            if notification_type == FBA_SHIPMENT_STATUS:
                raise refused
            return client.notifications.subscribe(queue_arn, notification_type, replace=replace)

    served = SimpleNamespace(
        settings=SimpleNamespace(marketplace_ids=(BRAZIL,), watch_fba=True),
        queue=SimpleNamespace(attributes=lambda: {"QueueArn": unsubscribed.queue.arn}),
        amazon=SimpleNamespace(notifications=Refuses()),
    )
    shown = subscribe_account(cast(Any, served))
    assert shown["subscription_created"] == 1
    assert "FBA_OUTBOUND_SHIPMENT_STATUS was not subscribed to: createSubscription" in str(shown["problem"])


def test_the_doctor_says_where_the_shipments_go(open_sandboxed: OpenSandboxed, unsubscribed: Sandbox) -> None:
    client, settings = open_sandboxed(), account(marketplaces=(MARKETPLACES[BRAZIL],))
    subscribe(client, unsubscribed.queue.arn)

    def said() -> tuple[bool, str]:
        results = check_amazon(client, settings, unsubscribed.queue.arn)
        (found,) = [one for one in results if one.subject == "FBA subscription"]
        return found.ok, found.detail

    assert said() == (False, "FBA_OUTBOUND_SHIPMENT_STATUS goes to no queue")
    client.notifications.subscribe(unsubscribed.queue.arn, FBA_SHIPMENT_STATUS)
    assert said()[0]
