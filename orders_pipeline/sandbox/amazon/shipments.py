"""confirmShipment: POST /orders/v0/orders/{orderId}/shipmentConfirmation.

The error code of this operation is "Invalid Input", with a space; every other operation writes InvalidInput.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from orders_pipeline.sandbox.amazon.carriers import CARRIER_CODES, OTHER
from orders_pipeline.sandbox.amazon.gate import ApiError, Call
from orders_pipeline.sandbox.amazon.ledger import Confirmation
from orders_pipeline.sandbox.amazon.marketplaces import INDIA, JAPAN
from orders_pipeline.sandbox.amazon.order import (
    PARTIALLY_SHIPPED,
    SHIP_PLUS,
    SHIPPED,
    TRANSPARENCY,
    UNSHIPPED,
    Order,
    Package,
)
from orders_pipeline.sandbox.amazon.orders_v2026 import find_order
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import parse_iso

CODE = "Invalid Input"

# name → (JSON type, required)
BODY_FIELDS = {"marketplaceId": (str, True), "codCollectionMethod": (str, False), "packageDetail": (dict, True)}
PACKAGE_FIELDS = {
    "packageReferenceId": (str, True),
    "carrierCode": (str, True),
    "carrierName": (str, False),
    "shippingMethod": (str, False),
    "trackingNumber": (str, True),
    "shipDate": (str, True),
    "shipFromSupplySourceId": (str, False),
    "orderItems": (list, True),
}
ITEM_FIELDS = {"orderItemId": (str, True), "quantity": (int, True), "transparencyCodes": (list, False)}
POSITIVE_NUMBER = re.compile(r"[1-9][0-9]*")
NO_MATCHING_PACKAGE = (
    "Failed to create package due to not finding a matching package or order already fulfilled. PackageToUpdateNotFound"
)


class Shipments:
    def __init__(self, state: AmazonState) -> None:
        self._state = state

    async def confirm_shipment(self, call: Call) -> tuple[int, None]:
        order_id, reference_id = call.order_id or "", ""
        try:
            body = call.json_body(CODE)
            _check_fields(body, BODY_FIELDS, "")
            detail: dict[str, Any] = body["packageDetail"]
            _check_fields(detail, PACKAGE_FIELDS, "packageDetail.")
            reference_id = detail["packageReferenceId"]
            order = find_order(self._state, call)
            with self._state.lock:
                self._confirm(order, body, detail)
        except ApiError as error:
            reason = error.body["errors"][0]["message"]
            self._record(order_id, reference_id, "refused", reason=reason)
            raise
        return 204, None

    def _confirm(self, order: Order, body: dict[str, Any], detail: dict[str, Any]) -> None:
        now = self._state.clock.now()
        self._check_order(order, body)
        ship_date = _check_package(order, detail, now)
        reference_id: str = detail["packageReferenceId"]
        known = order.packages.get(reference_id)
        if known is None and order.status == SHIPPED:
            raise _refusal(NO_MATCHING_PACKAGE)
        items, codes = _check_items(order, detail["orderItems"], reference_id)
        package = Package(
            reference_id=reference_id,
            carrier_code=detail["carrierCode"],
            carrier_name=detail.get("carrierName"),
            shipping_method=detail.get("shippingMethod"),
            tracking_number=detail["trackingNumber"],
            ship_date=ship_date,
            created=known.created if known else now,
            visible_at=now,
            items=items,
            transparency_codes=codes,
            edits=known.edits + 1 if known else 0,
        )
        unknown_carrier = package.carrier_code not in CARRIER_CODES
        if unknown_carrier or self._state.faults.take(("dropped",), "confirmShipment", order.order_id):
            self._record_package(order, package, "dropped", "unknown carrier code" if unknown_carrier else "")
            return
        if known is not None and _content(known) == _content(package):
            self._record_package(order, package, "repeated")
            return
        self._record_package(order, package, "edited" if known else "created")
        self._state.store_package(order, package)

    def _check_order(self, order: Order, body: dict[str, Any]) -> None:
        if body["marketplaceId"] != order.marketplace_id:
            raise _refusal("MarketplaceId: does not match the marketplace of the order")
        if "codCollectionMethod" in body:
            if order.marketplace_id != JAPAN:
                raise _refusal("codCollectionMethod: is supported in JP only")
            if body["codCollectionMethod"] != "DirectPayment":
                raise _refusal("codCollectionMethod: is invalid")
        if not order.merchant_fulfilled:
            raise _refusal("The order is fulfilled by Amazon and cannot be confirmed")
        if SHIP_PLUS in order.programs:
            raise _refusal("Manual shipment confirmation is not allowed for Ship+ orders")
        if order.status not in (UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED):
            raise _refusal(f"The order cannot be confirmed in status {order.status}")

    def _record_package(self, order: Order, package: Package, outcome: str, reason: str = "") -> None:
        self._record(
            order.order_id,
            package.reference_id,
            outcome,
            carrier_code=package.carrier_code,
            carrier_name=package.carrier_name,
            tracking_number=package.tracking_number,
            items=tuple(sorted(package.items.items())),
            reason=reason,
        )

    def _record(self, order_id: str, reference_id: str, outcome: str, **fields: Any) -> None:
        at = self._state.clock.now()
        self._state.ledger.record_confirmation(Confirmation(at, order_id, reference_id, outcome, **fields))


def _refusal(message: str) -> ApiError:
    return ApiError(400, CODE, message)


def _check_fields(body: dict[str, Any], fields: dict[str, tuple[type, bool]], prefix: str) -> None:
    missing = [f"{prefix}{name}" for name, (_, required) in fields.items() if required and body.get(name) is None]
    if missing:
        raise _refusal(f"Request is missing required fields [{', '.join(missing)}]")
    unknown = [f"{prefix}{name}" for name in body if name not in fields]
    if unknown:
        raise _refusal(f"Request has unrecognized fields [{', '.join(unknown)}]")
    # bool is an int to Python, not to Amazon; an absent optional field is absent, not null.
    wrong = [
        f"{prefix}{name}"
        for name, value in body.items()
        if not isinstance(value, fields[name][0]) or (fields[name][0] is int and isinstance(value, bool))
    ]
    if wrong:
        raise _refusal(f"Request has fields with invalid type [{', '.join(wrong)}]")


def _check_package(order: Order, detail: dict[str, Any], now: datetime) -> datetime:
    if not POSITIVE_NUMBER.fullmatch(detail["packageReferenceId"]):
        raise _refusal("PackageReferenceId: is invalid, must be a positive numeric value")
    if not detail["carrierCode"].strip():
        raise _refusal("CarrierCode: is required")
    if detail["carrierCode"] == OTHER:
        if order.marketplace_id == INDIA:
            raise _refusal("CarrierCode: Other is not supported in this marketplace")
        if not detail.get("carrierName", "").strip():
            raise _refusal("CarrierName: is required when carrierCode is Other")
    if not detail["trackingNumber"].strip():
        raise _refusal("TrackingNumber: is required")
    try:
        ship_date = parse_iso(detail["shipDate"])
    except ValueError as error:
        raise _refusal("Invalid Input") from error
    if ship_date > now:
        raise _refusal("ShipDate: must not be in the future")
    if ship_date < order.created:
        raise _refusal("ShipDate: must not be before the purchase date")
    return ship_date


def _check_items(order: Order, lines: list[Any], reference_id: str) -> tuple[dict[str, int], dict[str, list[str]]]:
    if not lines:
        raise _refusal("OrderItems: must not be empty")
    items: dict[str, int] = {}
    codes: dict[str, list[str]] = {}
    for line in lines:
        if not isinstance(line, dict):
            raise _refusal("Request has fields with invalid type [packageDetail.orderItems]")
        _check_fields(line, ITEM_FIELDS, "packageDetail.orderItems.")
        item_id, quantity = line["orderItemId"], line["quantity"]
        item = order.item(item_id)
        if item is None or item_id in items:
            raise _refusal("OrderItemId is invalid")
        open_units = item.quantity - order.shipped_units(item_id, without_package=reference_id)
        if quantity < 1 or quantity > open_units:
            raise _refusal("Quantity: is invalid, must be positive and not exceed the unshipped quantity")
        given: list[Any] = line.get("transparencyCodes", [])
        if not all(isinstance(code, str) and code for code in given):
            raise _refusal("TransparencyCodes: are invalid")
        if TRANSPARENCY in item.programs and len(set(given)) != quantity:
            raise _refusal("TransparencyCodes: one code for each unit is required")
        items[item_id] = quantity
        codes[item_id] = list(given)
    return items, codes


def _content(package: Package) -> tuple[Any, ...]:
    return (
        *(package.carrier_code, package.carrier_name, package.shipping_method, package.tracking_number),
        *(package.ship_date, package.items, package.transparency_codes),
    )
