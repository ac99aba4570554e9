"""Read what SQS delivers: one message body in, one typed notification out.

It comes straight from Amazon, or through SNS or EventBridge, which put it into an envelope of theirs.

Source: schemas/notifications/OrderChangeNotification.json and FBAOutboundShipmentStatusNotification.json of
amzn/selling-partner-api-models. `DestinationPostalCode` is on Amazon's list of PII, so what is kept is built from named
fields, never by copying a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orders_pipeline.audit.log import is_order_id
from orders_pipeline.model.order import canonical_fulfiller

ORDER_CHANGE = "ORDER_CHANGE"
FBA_SHIPMENT_STATUS = "FBA_OUTBOUND_SHIPMENT_STATUS"
# Matched in full: `$` would let a trailing line break through.
_WORD = re.compile(r"[A-Za-z0-9_.: -]{1,64}")
# Amazon's own spelling of a type. It is shown to people, and anybody who can write to the queue can write one.
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# More than any order holds; the rest of a longer list is left out, as what an order holds is fetched.
MOST_ITEMS, MOST_PROGRAMS, LARGEST_NUMBER = 300, 30, 1_000_000


class MalformedNotification(Exception):
    """The body cannot be read. `reason` is ours, a few words, and holds nothing of the body."""

    def __init__(self, reason: str, notification_type: str | None = None) -> None:
        self.reason = reason
        self.notification_type = notification_type
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class OrderChange:
    """One ORDER_CHANGE. `status` is as Amazon spelled it. `details` holds no field that identifies a buyer."""

    seller_id: str
    order_id: str
    notification_id: str | None
    change_type: str | None
    level: str | None
    marketplace_id: str | None
    status: str | None
    fulfilled_by: str
    changed_at: datetime | None
    published_at: datetime | None
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FbaShipmentStatus:
    """One FBA_OUTBOUND_SHIPMENT_STATUS: Amazon made, or gave up, a shipment of an order that it ships itself.

    `status` is as Amazon spelled it (Created, Cancelled; the set is open). It holds nothing of a buyer. `changed_at`
    (aware, UTC) is the envelope's EventTime.
    """

    seller_id: str
    order_id: str
    shipment_id: str
    status: str
    notification_id: str | None
    changed_at: datetime | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class OtherNotification:
    """A well-formed notification of another type: kept, not understood."""

    notification_type: str


def parse_notification(body: str) -> OrderChange | FbaShipmentStatus | OtherNotification:
    """Read one SQS message body. Raises MalformedNotification."""
    envelope = _envelope(body)
    notification_type = _text(_get(envelope, "NotificationType"))
    if notification_type is None:
        raise MalformedNotification("no NotificationType")
    if notification_type == FBA_SHIPMENT_STATUS:
        return _fba_shipment_status(envelope)
    if notification_type != ORDER_CHANGE:
        return OtherNotification(notification_type if _TYPE.fullmatch(notification_type) else "unreadable type")
    change = _payload(envelope, "OrderChangeNotification", ORDER_CHANGE)
    order_id, seller_id = _ids(change, ORDER_CHANGE)
    summary = _mapping(_get(change, "Summary"))
    trigger = _mapping(_get(change, "OrderChangeTrigger"))
    notification_metadata = _mapping(_get(envelope, "NotificationMetadata"))
    return OrderChange(
        seller_id=seller_id,
        order_id=order_id,
        notification_id=_word(_get(notification_metadata, "NotificationId")),
        change_type=_word(_get(change, "OrderChangeType")),
        level=_word(_get(change, "NotificationLevel")),
        marketplace_id=_word(_get(summary, "MarketplaceId")),
        status=_word(_get(summary, "OrderStatus")),
        fulfilled_by=canonical_fulfiller(_word(_get(summary, "FulfillmentType"))),
        changed_at=_time(_get(trigger, "TimeOfOrderChange")),
        published_at=_time(_get(notification_metadata, "PublishTime")) or _time(_get(envelope, "EventTime")),
        details=_details(summary, trigger),
    )


def _fba_shipment_status(envelope: Mapping[str, Any]) -> FbaShipmentStatus:
    told = _payload(envelope, "FBAOutboundShipmentStatusNotification", FBA_SHIPMENT_STATUS)
    order_id, seller_id = _ids(told, FBA_SHIPMENT_STATUS)
    shipment_id, status = _word(_get(told, "AmazonShipmentId")), _word(_get(told, "ShipmentStatus"))
    if shipment_id is None or status is None:
        what = "AmazonShipmentId" if shipment_id is None else "ShipmentStatus"
        raise MalformedNotification(f"no readable {what}", FBA_SHIPMENT_STATUS)
    notification_metadata = _mapping(_get(envelope, "NotificationMetadata"))
    changed_at = _time(_get(envelope, "EventTime"))
    return FbaShipmentStatus(
        seller_id=seller_id,
        order_id=order_id,
        shipment_id=shipment_id,
        status=status,
        notification_id=_word(_get(notification_metadata, "NotificationId")),
        changed_at=changed_at,
        published_at=_time(_get(notification_metadata, "PublishTime")) or changed_at,
    )


def _payload(envelope: Mapping[str, Any], name: str, notification_type: str) -> Mapping[str, Any]:
    payload = _object(_get(envelope, "Payload"), "Payload", notification_type)
    return _object(_get(payload, name), f"Payload.{name}", notification_type)


def _ids(told: Mapping[str, Any], notification_type: str) -> tuple[str, str]:
    order_id, seller_id = _text(_get(told, "AmazonOrderId")), _text(_get(told, "SellerId"))
    if order_id is None or not is_order_id(order_id):
        raise MalformedNotification("no readable AmazonOrderId", notification_type)
    if seller_id is None or not is_order_id(seller_id):
        raise MalformedNotification("no readable SellerId", notification_type)
    return order_id, seller_id


def _details(summary: Mapping[str, Any], trigger: Mapping[str, Any]) -> dict[str, object]:
    """The part of a message that a person may look at later: every field is named here, so that no other slips in."""
    details: dict[str, object] = {}
    for name in (
        "OrderType",
        "PurchaseDate",
        "EarliestShipDate",
        "LatestShipDate",
        "EarliestDeliveryDate",
        "LatestDeliveryDate",
        "CancelNotifyDate",
        "EasyShipShipmentStatus",
        "ElectronicInvoiceStatus",
    ):
        if (word := _word(_get(summary, name))) is not None:
            details[name] = word
    for name in ("NumberOfItemsShipped", "NumberOfItemsUnshipped"):
        if (number := _number(_get(summary, name))) is not None:
            details[name] = number
    for name in ("OrderPrograms", "ShippingPrograms"):
        values = _get(summary, name)
        if isinstance(values, list):
            details[name] = [word for value in values[:MOST_PROGRAMS] if (word := _word(value)) is not None]
    # A free text of Amazon's, such as "Buyer Requested Cancel"; anything longer or stranger is not kept.
    if (reason := _word(_get(trigger, "ChangeReason"))) is not None:
        details["ChangeReason"] = reason
    items = _get(summary, "OrderItems")
    if isinstance(items, list):
        details["OrderItems"] = [_item(item) for item in items[:MOST_ITEMS] if isinstance(item, dict)]
    return details


def _item(item: Mapping[str, Any]) -> dict[str, object]:
    taken: dict[str, object] = {}
    for name in ("OrderItemId", "OrderItemStatus"):
        if (word := _word(_get(item, name))) is not None:
            taken[name] = word
    for name in ("Quantity", "QuantityShipped", "IsBuyerRequestedCancel"):
        value = _get(item, name)
        if isinstance(value, bool) or (value := _number(value)) is not None:
            taken[name] = value
    return taken


def _envelope(body: str) -> Mapping[str, Any]:
    decoded = _decode(body)
    # An SNS topic between Amazon and the queue wraps the message in its own envelope (without raw delivery).
    if "Message" in decoded and "NotificationType" not in decoded and isinstance(decoded["Message"], str):
        decoded = _decode(decoded["Message"])
    # EventBridge has the notification as it is in `detail`, unless its rule hands on that part alone.
    if "detail-type" in decoded and "NotificationType" not in decoded and isinstance(decoded.get("detail"), dict):
        decoded = decoded["detail"]
    return decoded


def _decode(body: str) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        # `from None`: the decoder's exception carries the whole document.
        raise MalformedNotification("not JSON") from None
    if not isinstance(decoded, dict):
        raise MalformedNotification("not a JSON object")
    return decoded


def _get(mapping: Mapping[str, Any], name: str) -> Any:
    """A field in either casing: Amazon's types differ in the first letter (facts §5)."""
    return mapping.get(name, mapping.get(name[0].lower() + name[1:]))


def _object(value: object, name: str, notification_type: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedNotification(f"no {name}", notification_type)
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) <= LARGEST_NUMBER else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        # In UTC it may be before the year 1, or after 9999.
        return None
