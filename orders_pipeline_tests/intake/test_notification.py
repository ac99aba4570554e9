"""Reading what SQS delivers: every envelope that is known to come, and nothing of the buyer kept."""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders_pipeline.intake.notification import (
    MalformedNotification,
    OrderChange,
    OtherNotification,
    parse_notification,
)
from orders_pipeline.sandbox.queue import eventbridge_envelope, sns_envelope
from orders_pipeline_tests.sandbox.amazon_models import models_folder

POSTAL_CODE = "48110-7733"
MESSAGE: dict[str, Any] = {
    "NotificationVersion": "1.0",
    "NotificationType": "ORDER_CHANGE",
    "PayloadVersion": "1.0",
    "EventTime": "2026-11-21T08:00:00.000Z",
    "Payload": {
        "OrderChangeNotification": {
            "NotificationLevel": "OrderLevel",
            "SellerId": "A3TH9S8BH6GOGM",
            "AmazonOrderId": "903-8868176-2219830",
            "OrderChangeType": "OrderStatusChange",
            "OrderChangeTrigger": {"TimeOfOrderChange": "2026-11-21T07:59:59.500Z", "ChangeReason": "Paid"},
            "Summary": {
                "MarketplaceId": "ATVPDKIKX0DER",
                "OrderStatus": "Unshipped",
                "PurchaseDate": "2026-11-21T07:00:00.000Z",
                "DestinationPostalCode": POSTAL_CODE,
                "FulfillmentType": "MFN",
                "OrderType": "StandardOrder",
                "NumberOfItemsShipped": 0,
                "NumberOfItemsUnshipped": 3,
                "OrderPrograms": ["Prime"],
                "OrderItems": [
                    {
                        "OrderItemId": "OIID1",
                        "SellerSKU": "SKU",
                        "SupplySourceId": None,
                        "Quantity": 3,
                        "IsBuyerRequestedCancel": False,
                    }
                ],
            },
        }
    },
    "NotificationMetadata": {
        "ApplicationId": "app",
        "SubscriptionId": "sub",
        "PublishTime": "2026-11-21T08:00:01.000Z",
        "NotificationId": "n-1",
    },
}
EXPECTED = OrderChange(
    seller_id="A3TH9S8BH6GOGM",
    order_id="903-8868176-2219830",
    notification_id="n-1",
    change_type="OrderStatusChange",
    level="OrderLevel",
    marketplace_id="ATVPDKIKX0DER",
    status="Unshipped",
    fulfilled_by="MERCHANT",
    changed_at=datetime(2026, 11, 21, 7, 59, 59, 500_000, tzinfo=UTC),
    published_at=datetime(2026, 11, 21, 8, 0, 1, tzinfo=UTC),
    details={
        "OrderType": "StandardOrder",
        "PurchaseDate": "2026-11-21T07:00:00.000Z",
        "NumberOfItemsShipped": 0,
        "NumberOfItemsUnshipped": 3,
        "OrderPrograms": ["Prime"],
        "ChangeReason": "Paid",
        "OrderItems": [{"OrderItemId": "OIID1", "Quantity": 3, "IsBuyerRequestedCancel": False}],
    },
)


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _camel(one) for name, one in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list) else value


def _with(path: str, value: object) -> str:
    message = copy.deepcopy(MESSAGE)
    *parents, last = path.split(".")
    place = message
    for name in parents:
        place = place[name]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(message)


CHANGE = "Payload.OrderChangeNotification"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(MESSAGE),
        json.dumps(_camel(MESSAGE)),
        sns_envelope(json.dumps(MESSAGE)),
        sns_envelope(json.dumps(_camel(MESSAGE))),
        eventbridge_envelope(json.dumps(MESSAGE)),
        sns_envelope(eventbridge_envelope(json.dumps(MESSAGE))),
        _with("ANewField", {"a": [1]}),
        _with(f"{CHANGE}.Summary.ANewField", POSTAL_CODE),
    ],
    ids=[
        "as documented",
        "camel case",
        "in SNS",
        "camel case in SNS",
        "by EventBridge",
        "by EventBridge in SNS",
        "a new field",
        "a new field in the summary",
    ],
)
def test_every_envelope_is_the_same_message(body: str):
    assert parse_notification(body) == EXPECTED


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        (f"{CHANGE}.Summary.OrderStatus", "SomethingNew", "status", "SomethingNew"),
        (f"{CHANGE}.Summary.OrderStatus", None, "status", None),
        (f"{CHANGE}.Summary.FulfillmentType", "XFN", "fulfilled_by", "XFN"),
        (f"{CHANGE}.Summary.FulfillmentType", "AFN", "fulfilled_by", "AMAZON"),
        (f"{CHANGE}.Summary.FulfillmentType", None, "fulfilled_by", "UNKNOWN"),
        (f"{CHANGE}.OrderChangeType", "DeliveryTipChange", "change_type", "DeliveryTipChange"),
        (f"{CHANGE}.NotificationLevel", "OrderItemLevel", "level", "OrderItemLevel"),
        (f"{CHANGE}.OrderChangeTrigger.TimeOfOrderChange", None, "changed_at", None),
        (f"{CHANGE}.OrderChangeTrigger.TimeOfOrderChange", "yesterday", "changed_at", None),
        (f"{CHANGE}.OrderChangeTrigger.TimeOfOrderChange", "0001-01-01T00:00:00+14:00", "changed_at", None),
        (f"{CHANGE}.OrderChangeTrigger.TimeOfOrderChange", "9999-12-31T23:59:59-14:00", "changed_at", None),
        (f"{CHANGE}.OrderChangeTrigger", None, "changed_at", None),
        (f"{CHANGE}.Summary", None, "status", None),
        (f"{CHANGE}.Summary.DestinationPostalCode", None, "status", "Unshipped"),
        ("NotificationMetadata", None, "notification_id", None),
        ("NotificationMetadata.NotificationId", {"not": "a word"}, "notification_id", None),
        ("NotificationMetadata.PublishTime", KeyError, "published_at", datetime(2026, 11, 21, 8, tzinfo=UTC)),
    ],
)
def test_what_is_unknown_null_or_unreadable_is_kept_or_left_out_and_never_an_error(
    path: str, value: object, field: str, expected: object
):
    change = parse_notification(_with(path, value))
    assert isinstance(change, OrderChange)
    assert getattr(change, field) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("not json at all", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "no NotificationType"),
        ('{"NotificationType": 7}', "no NotificationType"),
        (json.dumps({"Message": "not json", "Type": "Notification"}), "not JSON"),
        (_with("Payload", KeyError), "no Payload"),
        (_with("Payload", "text"), "no Payload"),
        (_with(CHANGE, []), "no Payload.OrderChangeNotification"),
        (_with(f"{CHANGE}.AmazonOrderId", KeyError), "no readable AmazonOrderId"),
        (_with(f"{CHANGE}.AmazonOrderId", 12), "no readable AmazonOrderId"),
        (_with(f"{CHANGE}.AmazonOrderId", "903-8868176-2219830\n"), "no readable AmazonOrderId"),
        (_with(f"{CHANGE}.AmazonOrderId", "../../etc"), "no readable AmazonOrderId"),
        (_with(f"{CHANGE}.SellerId", None), "no readable SellerId"),
    ],
)
def test_what_cannot_be_read_says_why_in_our_own_words(body: str, reason: str):
    with pytest.raises(MalformedNotification) as raised:
        parse_notification(body)
    assert raised.value.reason == reason
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_another_type_is_named_and_not_understood():
    camel = {"notificationType": "REPORT_PROCESSING_FINISHED", "payload": {"x": 1}}
    assert parse_notification(json.dumps(camel)) == OtherNotification("REPORT_PROCESSING_FINISHED")
    strange = {"NotificationType": "Jane Doe, 7 Nightingale Row\n"}
    assert parse_notification(json.dumps(strange)) == OtherNotification("unreadable type")


def test_amazons_own_example_is_read():
    path = models_folder() / "notifications" / "OrderChangeNotification.json"
    (example, *_) = json.loads(path.read_text(encoding="utf-8"))["examples"]
    change = parse_notification(json.dumps(example))
    assert isinstance(change, OrderChange)
    assert (change.order_id, change.change_type, change.status) == (
        "903-8868176-2219830",
        "BuyerRequestedChange",
        "Unshipped",
    )
    postal_code = example["Payload"]["OrderChangeNotification"]["Summary"]["DestinationPostalCode"]
    assert postal_code not in repr(change)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", errors="surrogateescape")) | JSON.map(json.dumps))
def test_nothing_that_can_be_on_a_queue_raises_anything_but_malformed_notification(body: str):
    with contextlib.suppress(MalformedNotification):
        parse_notification(body)


PLACES = [
    "NotificationType",
    "EventTime",
    "Payload",
    CHANGE,
    f"{CHANGE}.AmazonOrderId",
    f"{CHANGE}.SellerId",
    f"{CHANGE}.OrderChangeTrigger",
    f"{CHANGE}.OrderChangeTrigger.TimeOfOrderChange",
    f"{CHANGE}.OrderChangeTrigger.ChangeReason",
    f"{CHANGE}.Summary",
    f"{CHANGE}.Summary.OrderItems",
    f"{CHANGE}.Summary.OrderPrograms",
    f"{CHANGE}.Summary.PurchaseDate",
    f"{CHANGE}.Summary.NumberOfItemsShipped",
    "NotificationMetadata",
    "NotificationMetadata.PublishTime",
]


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_one_field_with_anything_in_it_raises_nothing_else_and_keeps_no_postal_code(place: str, value: object):
    try:
        change = parse_notification(_with(place, value))
    except MalformedNotification as error:
        assert POSTAL_CODE not in f"{error!r}{error.reason}"
        return
    assert POSTAL_CODE not in repr(change)
