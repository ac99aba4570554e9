"""confirmShipment of the Orders API v0: the one write, and Amazon's rules for it.

This operation is not deprecated: 2026-01-01 has none.

A 400 with the code PackageToUpdateNotFound says that the order counts as fulfilled: read it back before alerting.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from orders_pipeline.channels.amazon.api.orders_v2026 import iso
from orders_pipeline.channels.amazon.carriers import OTHER, refuses_other
from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import CONFIRM_SHIPMENT
from orders_pipeline.model.order import Priority
from orders_pipeline.model.shipment import ShipmentConfirmation

JAPAN = "A1VC38T7YXB528"
ORDER_ID = re.compile(r"\d{3}-\d{7}-\d{7}")
# A warehouse's clock may be this far from Amazon's; the time is moved to the nearest one that Amazon takes.
CLOCK_TOLERANCE = timedelta(minutes=10)


class ShipmentsV0:
    """Confirms shipments of one seller. See `ShipmentsPort`."""

    def __init__(self, transport: Transport, tokens: AccessTokens) -> None:
        self._transport = transport
        self._tokens = tokens

    def confirm_shipment(self, confirmation: ShipmentConfirmation, *, deadline_seconds: float = 20.0) -> None:
        shipped_at = ship_date(confirmation, self._transport.clock.now())
        request = Request(
            CONFIRM_SHIPMENT,
            CONFIRM_SHIPMENT.url_path(order_id=confirmation.order_id),
            body=confirmation_body(confirmation, shipped_at),
        )
        self._transport.call(
            request,
            self._tokens,
            priority=Priority.EVENT,
            deadline=self._transport.deadline(deadline_seconds),
        )


def confirmation_body(confirmation: ShipmentConfirmation, shipped_at: datetime) -> dict[str, Any]:
    """The body as Amazon wants it. Raises AmazonBadRequest, nothing sent, for what Amazon would refuse."""
    check_confirmation(confirmation)
    detail: dict[str, Any] = {
        # A string since January 2026: the integer that was taken for years is refused
        # (amzn/selling-partner-api-models#5094).
        "packageReferenceId": str(confirmation.package_reference_id),
        "carrierCode": confirmation.carrier_code,
        "trackingNumber": confirmation.tracking_number.strip(),
        "shipDate": iso(shipped_at),
        "orderItems": [
            {
                "orderItemId": item.order_item_id,
                "quantity": item.quantity,
                **({"transparencyCodes": list(item.transparency_codes)} if item.transparency_codes else {}),
            }
            for item in confirmation.items
        ],
    }
    if confirmation.carrier_name:
        detail["carrierName"] = confirmation.carrier_name
    if confirmation.shipping_method:
        detail["shippingMethod"] = confirmation.shipping_method
    body: dict[str, Any] = {"marketplaceId": confirmation.marketplace_id, "packageDetail": detail}
    if confirmation.cash_on_delivery:
        body["codCollectionMethod"] = "DirectPayment"
    return body


def check_confirmation(confirmation: ShipmentConfirmation) -> None:
    """Every rule that needs no look at the order. Raises AmazonBadRequest naming all that is wrong."""
    problems: list[str] = []
    item_ids = [item.order_item_id for item in confirmation.items]
    if not ORDER_ID.fullmatch(confirmation.order_id):
        problems.append("the order id is not of the form 3-7-7 digits")
    if confirmation.package_reference_id < 1:
        problems.append("the package reference id must be a positive number")
    if not confirmation.tracking_number.strip():
        problems.append("the tracking number is missing")
    if not confirmation.carrier_code.strip():
        problems.append("the carrier code is missing")
    if confirmation.carrier_code == OTHER:
        if not (confirmation.carrier_name or "").strip():
            problems.append("the carrier code Other needs the carrier's name")
        if refuses_other(confirmation.marketplace_id):
            problems.append("this marketplace refuses the carrier code Other: map the carrier in carriers.csv")
    if not confirmation.items:
        problems.append("no items")
    if len(set(item_ids)) != len(item_ids):
        problems.append("an item is listed twice")
    for item in confirmation.items:
        if item.quantity < 1:
            problems.append(f"the quantity of item {item.order_item_id} is not positive")
        if item.transparency_codes and len(set(item.transparency_codes)) != item.quantity:
            problems.append(f"item {item.order_item_id} needs one transparency code for each unit")
    if confirmation.cash_on_delivery and confirmation.marketplace_id != JAPAN:
        problems.append("cash on delivery is Japan's only")
    if problems:
        raise _refused(confirmation, "; ".join(problems))


def ship_date(confirmation: ShipmentConfirmation, amazon_now: datetime) -> datetime:
    """The time to tell Amazon: neither in its future nor before the purchase; small clock differences are mended."""
    shipped_at = confirmation.shipped_at
    if shipped_at.tzinfo is None:
        raise _refused(confirmation, "the time of shipping has no offset: whether it is local or UTC cannot be told")
    purchased_at = confirmation.purchased_at
    # What we take for Amazon's clock is never ahead of it (AmazonClock).
    latest = amazon_now
    if shipped_at > latest + CLOCK_TOLERANCE:
        raise _refused(confirmation, f"the time of shipping, {iso(shipped_at)}, is in the future")
    if purchased_at is not None and shipped_at < purchased_at - CLOCK_TOLERANCE:
        raise _refused(confirmation, f"the time of shipping, {iso(shipped_at)}, is before the purchase")
    shipped_at = min(shipped_at, latest)
    return max(shipped_at, purchased_at) if purchased_at is not None else shipped_at


def _refused(confirmation: ShipmentConfirmation, problem: str) -> AmazonBadRequest:
    return AmazonBadRequest(
        f"confirmShipment for order {confirmation.order_id}, package {confirmation.package_reference_id}, was not "
        f"sent: {problem}. Correct it in the warehouse, or in the carrier table, and replay the package.",
        operation=CONFIRM_SHIPMENT.name,
        code="InvalidConfirmation",
    )
