"""A real Tryton to test against: its server, its worker, orders for it, and a line to it that fails on demand."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import requests
from pydantic import SecretStr

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.wms.port import FulfillmentLine, FulfillmentOrder, ShipmentEvent
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.hostile_server import HostileServer, answer
from warehouses.tryton import master_data
from warehouses.tryton.server import TrytonServer
from warehouses.tryton.worker import TrytonWorker

SHIPMENT = "stock.shipment.out"
NAME, STREET, PHONE = "Canary Quillfeather", "7 Nightingale Row", "+1 480-555-0100"
ADDRESS = Address(
    name=PersonalText(NAME),
    address_line1=PersonalText(STREET),
    city=PersonalText("Duluth"),
    state_or_region=PersonalText("MN"),
    postal_code=PersonalText("55802"),
    country_code="US",
    phone=PersonalText(PHONE),
)
_numbers = itertools.count(uuid.uuid4().int % 1_000_000 * 10)


def new_order_id() -> str:
    """One that no other test of any run has."""
    return f"{uuid.uuid4().int % 1000:03d}-{uuid.uuid4().int % 10_000_000:07d}-{next(_numbers) % 10_000_000:07d}"


@dataclass
class Floor:
    """The server, with products that only tests know."""

    server: TrytonServer
    worker: TrytonWorker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = TrytonWorker(self.server.rpc())

    def warehouse(self, url: str | None = None) -> TrytonWarehouse:
        return TrytonWarehouse(url or self.server.url, SecretStr(self.server.token))

    def add_products(self, units: dict[str, int]) -> None:
        """Products of these SKUs, made where there are none, with so many units in stock."""
        rpc = self.server.rpc()
        known = {one["code"] for one in rpc.search("product.product", [("code", "in", list(units))], ["code"])}
        for sku in units.keys() - known:
            master_data.add_product(rpc, sku, f"The product {sku}", Decimal("9.90"))
        master_data.count_stock(rpc, units)

    def shipments(self, order_ref: str) -> list[dict[str, Any]]:
        """All of this reference, the oldest first."""
        fields = ["state", "customer.code", "customer.name", "delivery_address.full_address", "carrier", "planned_date"]
        return self.server.rpc().search(SHIPMENT, [("reference", "=", order_ref)], fields, order=[("id", "ASC")])

    def states(self, order_ref: str) -> list[str]:
        return [one["state"] for one in self.shipments(order_ref)]


def an_order(*lines: tuple[str, int], order_ref: str | None = None, **changed: Any) -> FulfillmentOrder:
    """An order for these (sku, quantity), each with a line_ref of its own."""
    now = datetime.now(UTC).replace(microsecond=0)
    order = FulfillmentOrder(
        order_ref=order_ref or new_order_id(),
        seller_id=SELLER,
        marketplace_id=MARKETPLACE,
        purchased_at=now - timedelta(hours=1),
        ship_by=now + timedelta(days=1),
        deliver_by=None,
        service_level="STANDARD",
        is_prime=False,
        is_business=False,
        ship_to=ADDRESS,
        lines=tuple(FulfillmentLine(f"item-{place}", sku, quantity) for place, (sku, quantity) in enumerate(lines)),
    )
    return replace(order, **changed)


def all_events(warehouse: TrytonWarehouse, *order_refs: str) -> list[ShipmentEvent]:
    """What a poll from the beginning tells of these orders, each event once, in the order of the pages."""
    events: dict[str, ShipmentEvent] = {}
    cursor: str | None = None
    while True:
        page = warehouse.poll(cursor, 200)
        events |= {event.event_id: event for event in page.events if event.order_ref in order_refs}
        if page.next_cursor == cursor or not page.events:
            return list(events.values())
        cursor = page.next_cursor


@dataclass
class Line:
    """Between the adapter and Tryton: passes calls on, and may lose one, or its answer, or refuse it once.

    `meanwhile` is called with the method before a call is passed on, `afterwards` before its answer is. `page`: what a
    proxy answers in Tryton's place.
    """

    server: TrytonServer
    url: str = ""
    lose_call: str | None = None
    lose_answer: str | None = None
    refuse: str | None = None
    meanwhile: Callable[[str], None] = lambda method: None
    afterwards: Callable[[str], None] = lambda method: None
    page: bytes | None = None
    seen: list[str] = field(default_factory=list[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_on(self, request: bytes) -> Iterable[bytes]:
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        method = json.loads(body)["method"].removeprefix("model.")
        with self._lock:
            self.seen.append(method)
            lost, self.lose_call = self.lose_call == method, None if self.lose_call == method else self.lose_call
        if lost:
            raise ConnectionError("lost on the way")
        if self.refuse == method:
            self.refuse = None
            return [answer(b'{"id": 1, "error": ["UserError", ["The phone number is not valid", "", null]]}')]
        if self.page is not None:
            return [answer(self.page, Content_Type="text/html")]
        self.meanwhile(method)
        kept = {name: value for name, value in headers.items() if name in ("Authorization", "Content-Type")}
        # Tryton may be killed meanwhile: the line then ends, as it would without us.
        reply = requests.post(f"{self.server.url}/rpc/", data=body, headers=kept, timeout=60)
        self.afterwards(method)
        with self._lock:
            lost, self.lose_answer = (
                self.lose_answer == method,
                None if self.lose_answer == method else self.lose_answer,
            )
        if lost:
            raise ConnectionError("lost on the way back")
        status = f"HTTP/1.1 {reply.status_code} {reply.reason}\r\nDate: {reply.headers['Date']}\r\n"
        return [f"{status}Content-Length: {len(reply.content)}\r\n\r\n".encode() + reply.content]


@contextmanager
def line_to(server: TrytonServer) -> Generator[Line]:
    line = Line(server)
    with HostileServer.answering(line.pass_on) as listening:
        line.url = f"{listening.url}/wms"
        yield line
