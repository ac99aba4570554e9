"""Amazon, its queue and a warehouse as objects of this process: the stages' ports over the sandbox's own state."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from orders_pipeline.channels.amazon.api.confirm_shipment import confirmation_body, ship_date
from orders_pipeline.channels.amazon.api.orders_v2026 import STATE_DATA
from orders_pipeline.channels.amazon.api.orders_v2026_wire import read_order, read_shipping_details
from orders_pipeline.channels.amazon.api.search_entries import read_entries
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonNotFound
from orders_pipeline.channels.amazon.fields import Fields
from orders_pipeline.intake.queue import NotificationQueue, QueueMessage
from orders_pipeline.model.order import (
    Bucket,
    FetchedOrder,
    OrderParts,
    Priority,
    ReadQuota,
    SearchPage,
    SearchWindow,
    Verification,
)
from orders_pipeline.model.shipment import ShipmentConfirmation
from orders_pipeline.model.shipping_details import ShippingDetails
from orders_pipeline.sandbox.amazon.accounts import DIRECT_TO_CONSUMER
from orders_pipeline.sandbox.amazon.gate import ApiError
from orders_pipeline.sandbox.amazon.order import Order as SandboxOrder
from orders_pipeline.sandbox.amazon.render_v2026 import render_order
from orders_pipeline.sandbox.amazon.shipments import Shipments
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.warehouse.app import RefusedError, WarehouseApi
from orders_pipeline.sandbox.warehouse.state import WarehouseState, content_hash
from orders_pipeline.wms.port import (
    CancelAnswer,
    Capability,
    FulfillmentOrder,
    HoldAnswer,
    PushAnswer,
    PushResult,
    ShipmentPage,
    StockPage,
    WarehouseOrder,
)
from orders_pipeline.wms.shipment_events import read_shipment_event

_CONFLICTS: dict[str, PushAnswer] = {
    "order_conflict": "conflict",
    "order_shipped": "shipped",
    "order_cancelled": "cancelled",
}


class MemoryQueue(NotificationQueue):
    """SQS in memory: what was received is invisible until it is deleted, or `reappear` is called."""

    def __init__(self) -> None:
        self.waiting: list[QueueMessage] = []
        self.in_flight: list[QueueMessage] = []
        self.undeletable = 0
        self._sent = 0

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self._sent += 1
            name = f"m{self._sent:05d}"
            self.waiting.append(QueueMessage(name, f"r-{name}", body, datetime.now(UTC)))

    def receive(self, *, wait_seconds: int) -> list[QueueMessage]:
        taken, self.waiting = self.waiting[:10], self.waiting[10:]
        self.in_flight += taken
        return taken

    def delete(self, messages: Any) -> int:
        failed = min(self.undeletable, len(messages))
        self.undeletable -= failed
        gone = {message.message_id for message in list(messages)[failed:]}
        self.in_flight = [message for message in self.in_flight if message.message_id not in gone]
        return failed

    def reappear(self) -> None:
        self.waiting, self.in_flight = self.in_flight + self.waiting, []


class Scripted:
    """Errors to raise, by what they strike: before the call has its effect, or after (the answer is lost)."""

    def __init__(self) -> None:
        self._errors: list[tuple[str, str, bool, Exception, int]] = []

    def fail(self, call: str, error: Exception, order_id: str = "*", *, after: bool = False, times: int = 1) -> None:
        self._errors.append((call, order_id, after, error, times))

    def strike(self, call: str, order_id: str, *, after: bool = False) -> None:
        for index, (name, target, is_after, error, times) in enumerate(self._errors):
            if name == call and target in ("*", order_id) and is_after == after:
                if times <= 1:
                    del self._errors[index]
                else:
                    self._errors[index] = (name, target, is_after, error, times - 1)
                raise error

    def clear(self) -> None:
        self._errors.clear()


class AmazonPorts:
    """OrdersPort and ShipmentsPort over the sandbox's Amazon."""

    def __init__(self, state: AmazonState, faults: Scripted, *, api_version: str = "2026-01-01") -> None:
        self._state = state
        self._faults = faults
        self._shipments = Shipments(state)
        self.api_version = api_version
        self.asked: list[tuple[str, OrderParts]] = []
        self.verifications_asked: list[tuple[str, Priority]] = []
        self.told: list[ShipmentConfirmation] = []
        # Called after the answer was read and before it is given: what changes meanwhile is not in it.
        self.meanwhile: Callable[[str], None] | None = None
        # Called with each order's JSON before it is read: what Amazon leaves out, or spells differently.
        self.alter: Callable[[dict[str, Any]], None] | None = None
        self.page_size = 100
        self.searched: list[tuple[SearchWindow, str | None]] = []
        # As both limits are after a quiet hour.
        self.quota = ReadQuota(single=Bucket(29, 0.5, 30), listing=Bucket(19, 0.0056, 20))

    @property
    def lists_whole_orders(self) -> bool:
        return self.api_version != "v0"

    def read_quota(self) -> ReadQuota:
        return self.quota

    def get_order(
        self,
        order_id: str,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        self.asked.append((order_id, parts))
        self._faults.strike("get_order", order_id)
        with self._state.lock:
            order = self._state.orders.get(order_id)
            if order is None:
                raise AmazonNotFound("getOrder answered 404", operation="getOrder", status=404)
            answer = self.read(order, parts)
        if self.meanwhile is not None:
            self.meanwhile(order_id)
        return answer

    def get_verification(
        self, order_id: str, *, priority: Priority = Priority.EVENT, deadline_seconds: float = 20.0
    ) -> Verification:
        self.verifications_asked.append((order_id, priority))
        self._faults.strike("get_verification", order_id)
        order = self._state.orders[order_id]
        if order.verification is None:
            raise AmazonNotFound("getOrderRegulatedInfo answered 404", operation="getOrderRegulatedInfo", status=404)
        return Verification(order.verification, order.merchant_reviews, order.dosage_label)

    def list_orders(
        self,
        order_ids: Sequence[str],
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        """Whole orders, where v0 leaves items to `add_items`. Its own pages are tested over HTTP: served_crowd.py."""
        self._faults.strike("list_orders", order_ids[0])
        with self._state.lock:
            read = [self.read(self._state.orders[one], parts) for one in order_ids if one in self._state.orders]
        details = {one.order.order_id: one.shipping_details for one in read if one.shipping_details is not None}
        return SearchPage(tuple(one.order for one in read), None, None, (), details)

    def add_items(
        self,
        listed: FetchedOrder,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        return listed

    def search_orders(
        self,
        window: SearchWindow,
        *,
        parts: OrderParts | None = None,
        page_token: str | None = None,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        self._faults.strike("search_orders", page_token or "first")
        self.searched.append((window, page_token))
        start = int(page_token or 0)
        with self._state.lock:
            found = sorted(
                (
                    order
                    for order in self._state.orders.values()
                    if window.updated_after <= order.last_updated < window.updated_before
                ),
                key=lambda order: order.last_updated,
            )
            included = _included(parts or OrderParts.STATE, self.api_version)
            entries = [self._rendered(order, included) for order in found[start : start + self.page_size]]
        page, unreadable = read_entries(
            entries, "orderId", lambda entry: read_order(entry, with_packages="PACKAGES" in included)
        )
        end = start + self.page_size
        details: dict[str, ShippingDetails] = {}
        for order, entry in zip(found[start:end], entries, strict=True):
            if "RECIPIENT" in included and (shown := read_shipping_details(entry)) is not None:
                details[order.order_id] = shown
        return SearchPage(page, str(end) if end < len(found) else None, window.updated_before, unreadable, details)

    def confirm_shipment(self, confirmation: ShipmentConfirmation, *, deadline_seconds: float = 20.0) -> None:
        self._faults.strike("confirm", confirmation.order_id)
        self.told.append(confirmation)
        body = confirmation_body(confirmation, ship_date(confirmation, datetime.now(UTC) + timedelta(seconds=3)))
        order = self._state.orders[confirmation.order_id]
        reference_id = str(confirmation.package_reference_id)
        try:
            with self._state.lock:
                self._shipments._confirm(order, body, body["packageDetail"])
        except ApiError as error:
            reason = str(error)
            self._shipments._record(order.order_id, reference_id, "refused", reason=reason)
            raise AmazonBadRequest(reason, operation="confirmShipment", status=400) from None
        self._faults.strike("confirm", confirmation.order_id, after=True)

    def read(self, order: SandboxOrder, parts: OrderParts) -> FetchedOrder:
        included = _included(parts, self.api_version)
        body = self._rendered(order, included)
        read = read_order(body, with_packages="PACKAGES" in included)
        return FetchedOrder(read, read_shipping_details(body) if "RECIPIENT" in included else None)

    def _rendered(self, order: SandboxOrder, included: tuple[str, ...]) -> Fields:
        rendered = render_order(order, included, {DIRECT_TO_CONSUMER}, self._state.clock.now())
        answer = json.loads(json.dumps(rendered))
        if self.alter is not None:
            self.alter(answer)
        return Fields(answer, "order")


def _included(parts: OrderParts, api_version: str) -> tuple[str, ...]:
    details = ("RECIPIENT",) if OrderParts.SHIPPING_DETAILS in parts else ()
    packages = ("PACKAGES",) if OrderParts.PACKAGES in parts and api_version != "v0" else ()
    return (*STATE_DATA, *details, *packages)


class UnaskedWarehouse:
    """A WarehousePort of which nothing is asked; a test's own answers what it should be asked."""

    capabilities = frozenset({Capability.HOLD, Capability.CANCEL, Capability.ERASE_PII})

    def push(self, order: FulfillmentOrder) -> PushResult:
        raise AssertionError("push is not asked for here")

    def find(self, order_ref: str) -> WarehouseOrder | None:
        raise AssertionError("find is not asked for here")

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        raise AssertionError("hold is not asked for here")

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        raise AssertionError("release is not asked for here")

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        raise AssertionError("cancel is not asked for here")

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        raise AssertionError("poll is not asked for here")

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ShipmentPage:
        raise AssertionError("parse_webhook is not asked for here")

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        raise AssertionError("acknowledge is not asked for here")

    def erase_pii(self, order_ref: str) -> bool:
        raise AssertionError("erase_pii is not asked for here")

    def read_stock(self, cursor: str | None, limit: int) -> StockPage:
        raise AssertionError("read_stock is not asked for here")

    def close(self) -> None:
        pass


class WarehousePorts(UnaskedWarehouse):
    """WarehousePort over the sandbox's warehouse."""

    def __init__(self, state: WarehouseState, faults: Scripted) -> None:
        self._state = state
        self._faults = faults
        self._api = WarehouseApi(state)
        self.capabilities = UnaskedWarehouse.capabilities
        self.acknowledged: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.meanwhile: Callable[[str, str], None] | None = None

    def push(self, order: FulfillmentOrder) -> PushResult:
        sent = json.dumps(order.wire()).encode()
        answer = self._ask("push", order.order_ref, "put_order", sent)
        if isinstance(answer, RefusedError):
            if answer.status == 409:
                return PushResult(_CONFLICTS.get(answer.code, "conflict"), code=answer.code)
            return PushResult("refused", code=answer.code)
        is_new = self._state.ledger[-1].outcome == "created"
        return PushResult("accepted" if is_new else "duplicate", wms_id=answer["wms_id"])

    def find(self, order_ref: str) -> WarehouseOrder | None:
        answer = self._ask("find", order_ref, "get_order", b"")
        return None if isinstance(answer, RefusedError) else WarehouseOrder(answer["wms_id"], answer["status"])

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._wait_or_go_on("hold", order_ref, reason)

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._wait_or_go_on("release", order_ref, reason)

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        answer = self._ask("cancel", order_ref, "cancel", json.dumps({"reason": reason}).encode())
        if isinstance(answer, RefusedError):
            return "too_late" if answer.status == 409 else "not_found"
        return cast(CancelAnswer, answer["outcome"])

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        self._faults.strike("poll", "*")
        start = int(cursor or 0)
        page = self._state.events[start : start + limit]
        events = [read_shipment_event(event) for event in page]
        readable = tuple(event for event in events if event is not None)
        return ShipmentPage(readable, str(start + len(page)), unreadable=len(page) - len(readable))

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        self._faults.strike("acknowledge", "*")
        self.acknowledged += event_ids
        self._faults.strike("acknowledge", "*", after=True)

    def erase_pii(self, order_ref: str) -> bool:
        self.calls.append(("erase_pii", order_ref))
        return self._state.erase(order_ref) or True

    def _wait_or_go_on(self, call: str, order_ref: str, reason: str) -> HoldAnswer:
        answer = self._ask(call, order_ref, call, json.dumps({"reason": reason}).encode())
        if isinstance(answer, RefusedError):
            return "too_late" if answer.status == 409 else "not_found"
        return "done"

    def _ask(self, call: str, order_ref: str, handler: str, raw: bytes) -> dict[str, Any] | RefusedError:
        self.calls.append((call, order_ref))
        self._faults.strike(call, order_ref)
        try:
            outcome, _, body = getattr(self._api, handler)(None, order_ref, raw)
        except RefusedError as error:
            self._record(handler, order_ref, error.code, raw)
            return error
        self._record(handler, order_ref, outcome, raw)
        if self.meanwhile is not None:
            self.meanwhile(call, order_ref)
        self._faults.strike(call, order_ref, after=True)
        return body or {}

    def _record(self, handler: str, order_ref: str, outcome: str, raw: bytes) -> None:
        sha256 = content_hash(json.loads(raw)) if handler == "put_order" else None
        self._state.record(handler, order_ref, outcome, sha256)
