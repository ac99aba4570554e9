"""Tryton as the warehouse (`WMS_ADAPTER=tryton`), over its JSON-RPC. What it reads and writes there: docs/tryton.md.

Tryton runs as a program of its own; nothing of it is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr

from orders_pipeline.wms.port import (
    CancelAnswer,
    Capability,
    FulfillmentOrder,
    HoldAnswer,
    NotCapable,
    PushResult,
    ShipmentEvent,
    ShipmentPage,
    StockPage,
    WarehouseOrder,
)
from orders_pipeline.wms.shipment_events import read_shipment_event
from orders_pipeline.wms.tryton import cancellations, erasure, pushes, stock
from orders_pipeline.wms.tryton.addresses import Places
from orders_pipeline.wms.tryton.calls import Calls
from orders_pipeline.wms.tryton.changes import read_changes
from orders_pipeline.wms.tryton.client import TrytonClient
from orders_pipeline.wms.tryton.cursors import Cursor, read_cursor
from orders_pipeline.wms.tryton.errors import translated
from orders_pipeline.wms.tryton.installation import KnownInstallation
from orders_pipeline.wms.tryton.orders import find_order
from orders_pipeline.wms.tryton.shipments import events_of

# Of all calls of an operation together; a push's lease lasts longer.
OPERATION_SECONDS = 40.0
# Pages without an event that one poll reads.
MOST_PAGES = 20


class TrytonWarehouse:
    """Thread-safe. Every operation is several calls, and may be repeated whatever came of it."""

    def __init__(self, base_url: str, token: SecretStr, *, operation_seconds: float = OPERATION_SECONDS) -> None:
        self._client = TrytonClient(base_url, token)
        self._operation_seconds = operation_seconds
        self._installation = KnownInstallation()
        self._places = Places()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Tryton holds no order: what waits there is picked whenever its stock is found."""
        return frozenset({Capability.CANCEL, Capability.ERASE_PII, Capability.STOCK})

    def push(self, order: FulfillmentOrder) -> PushResult:
        calls = self._calls()
        with translated("push"):
            return pushes.push(calls, self._installation.read(calls), self._places, order)

    def find(self, order_ref: str) -> WarehouseOrder | None:
        """None also while a push is not complete: the next one completes it."""
        calls = self._calls()
        with translated("find"):
            order = find_order(calls, order_ref, self._installation.read(calls).nobody).order
        if order is None or not pushes.is_handed_over(order):
            return None
        return WarehouseOrder(str(order.pushed.id) if order.pushed is not None else None, order.status)

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        raise NotCapable(Capability.HOLD)

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        raise NotCapable(Capability.HOLD)

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        calls = self._calls()
        with translated("cancel"):
            return cancellations.cancel(calls, self._installation.read(calls).nobody, order_ref)

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        """`limit` is of changes; a change of an order may be several events, and most are read more than once."""
        calls = self._calls()
        with translated("poll"):
            zone = self._installation.read(calls).zone
            # Another adapter's cursor, say: all is read from the beginning, and what is known is known by its id.
            current = read_cursor(cursor) or Cursor()
            now = self._client.server_time or datetime.now(UTC)
            read: list[ShipmentEvent | None] = []
            for _ in range(MOST_PAGES):
                start, begun = current.begin(now)
                page = read_changes(calls, start, limit)
                current = begun.after(page.last, now, is_whole=page.is_whole)
                read = [read_shipment_event(entry) for entry in events_of(calls, zone, page.parties)]
                # A page of picks has no events, and says nothing of what comes after it.
                if read or page.is_whole:
                    break
        events = tuple(event for event in read if event is not None)
        return ShipmentPage(events=events, next_cursor=current.written(), unreadable=len(read) - len(events))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ShipmentPage:
        raise NotCapable(Capability.WEBHOOKS)

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        raise NotCapable(Capability.ACKNOWLEDGE)

    def erase_pii(self, order_ref: str) -> bool:
        calls = self._calls()
        with translated("erase_pii"):
            return erasure.erase(calls, self._installation.read(calls).nobody, order_ref)

    def read_stock(self, cursor: str | None, limit: int) -> StockPage:
        calls = self._calls()
        with translated("read_stock"):
            return stock.read(calls, self._installation.read(calls), cursor, limit)

    def close(self) -> None:
        self._client.close()

    def _calls(self) -> Calls:
        return Calls(self._client, self._operation_seconds)
