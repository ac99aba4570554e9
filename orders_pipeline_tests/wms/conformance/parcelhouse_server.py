"""Parcelhouse, the made-up warehouse of docs/warehouse-adapters.md: its server, and who works in it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.sandbox.serving import ThreadedServer
from orders_pipeline.wms.conformance.worker import Worker

KEY = "key-of-a-test"
SKUS = ("MUG-1", "MUG-2", "MUG-3")


@dataclass
class Order:
    id: int
    content: dict[str, Any]
    state: str = "new"
    gone: Counter[str] = field(default_factory=Counter[str])

    @property
    def notes(self) -> dict[str, str]:
        return {item["sku"]: item["note"] for item in self.content["items"]}

    def open_items(self) -> dict[str, int]:
        left = {item["sku"]: item["qty"] - self.gone[item["sku"]] for item in self.content["items"]}
        return {sku: pieces for sku, pieces in left.items() if pieces > 0}


class Parcelhouse(Worker):
    """The server, and its worker in the same process."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._events: list[Any] = []
        # What a cancellation is answered with in place of what became of it.
        self.done = ""
        self._parcels = 0
        self._lock = threading.RLock()
        self._server = self._serve(0)

    # --- what the world sees

    @property
    def url(self) -> str:
        return f"{self._server.url}/v2"

    def __enter__(self) -> Parcelhouse:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _serve(self, port: int) -> ThreadedServer:
        routes = [
            Route("/v2/orders", self._create, methods=["POST"]),
            Route("/v2/orders/{number}", self._show),
            Route("/v2/orders/{number}/cancel", self._cancel, methods=["POST"]),
            Route("/v2/orders/{number}/recipient", self._forget, methods=["DELETE"]),
            Route("/v2/events", self._list),
        ]
        return ThreadedServer(Starlette(routes=routes), port=port, name="parcelhouse")

    async def _create(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != KEY:
            return JSONResponse({"error": "who are you"}, 401)
        content = await request.json()
        with self._lock:
            if content["number"] in self._orders:
                return JSONResponse({"error": "exists"}, 409)
            if {item["sku"] for item in content["items"]} - {*SKUS}:
                return JSONResponse({"error": "unknown_item"}, 422)
            if not content["recipient"]["city"]:
                return JSONResponse({"error": "bad_address"}, 422)
            order = self._orders[content["number"]] = Order(len(self._orders) + 1, content)
        return JSONResponse({"id": order.id}, 201)

    async def _show(self, request: Request) -> Response:
        if (answer := self._stranger_or_nobody(request)) is not None:
            return answer
        order = self._orders[request.path_params["number"]]
        return JSONResponse({"id": order.id, "state": order.state, "digest": order.content["digest"]})

    async def _cancel(self, request: Request) -> Response:
        if (answer := self._stranger_or_nobody(request)) is not None:
            return answer
        with self._lock:
            order = self._orders[request.path_params["number"]]
            if order.state in ("picking", "dispatched"):
                return JSONResponse({"error": order.state}, 409)
            if order.state != "cancelled":
                self._stop(request.path_params["number"])
            return JSONResponse({"done": self.done or ("partly" if order.state == "dispatched" else "all")})

    async def _forget(self, request: Request) -> Response:
        if (answer := self._stranger_or_nobody(request)) is not None:
            return answer
        self._orders[request.path_params["number"]].content["recipient"] = {}
        return Response(status_code=204)

    async def _list(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != KEY:
            return JSONResponse({"error": "who are you"}, 401)
        after, limit = int(request.query_params["after"]), int(request.query_params["limit"])
        with self._lock:
            page = self._events[after : after + limit]
        return JSONResponse({"events": page, "last": after + len(page)})

    def _stranger_or_nobody(self, request: Request) -> Response | None:
        if request.headers.get("x-api-key") != KEY:
            return JSONResponse({"error": "who are you"}, 401)
        known = request.path_params["number"] in self._orders
        return None if known else JSONResponse({"error": "no_such_order"}, 404)

    # --- what its worker does

    def skus(self) -> Sequence[str]:
        return SKUS

    def orders(self, order_ref: str) -> Sequence[Mapping[str, int]]:
        order = self._orders.get(order_ref)
        return [] if order is None else [{item["sku"]: item["qty"] for item in order.content["items"]}]

    def start_packing(self, order_ref: str) -> None:
        self._orders[order_ref].state = "picking"

    def ship(
        self, order_ref: str, lines: Mapping[str, int] | None = None, *, carrier: str, tracking_number: str
    ) -> None:
        self._parcels += 1
        self._dispatch(order_ref, f"PH-{self._parcels}", lines, carrier, tracking_number)

    def ship_together(self, order_refs: Sequence[str], *, carrier: str, tracking_number: str) -> None:
        self._parcels += 1
        for order_ref in order_refs:
            self._dispatch(order_ref, f"PH-{self._parcels}", None, carrier, tracking_number)

    def void(self, order_ref: str) -> None:
        voided: dict[str, Any] = self._newest(order_ref) | {"seq": self._next(), "type": "label_voided"}
        self._events.append(voided)
        order = self._orders[order_ref]
        skus = {note: sku for sku, note in order.notes.items()}
        for item in voided["items"]:
            order.gone[skus[item["note"]]] -= item["qty"]

    def ship_again(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        again = {"seq": self._next(), "type": "dispatched", "carrier": carrier, "code": tracking_number}
        self._events.append(self._newest(order_ref) | again)

    def relabel(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        self.ship_again(order_ref, carrier=carrier, tracking_number=tracking_number)

    def ship_short(
        self,
        order_ref: str,
        lines: Mapping[str, int],
        missing: Mapping[str, int],
        *,
        carrier: str,
        tracking_number: str,
    ) -> None:
        self.ship(order_ref, lines, carrier=carrier, tracking_number=tracking_number)
        self._orders[order_ref].gone.update(missing)
        self._report(order_ref, "shortage", missing)

    def cancel(self, order_ref: str) -> None:
        self._stop(order_ref)

    def repeat_event(self, order_ref: str) -> None:
        self._events.append(self._newest(order_ref))

    def report(self, order_ref: str, **fields: object) -> None:
        words = {"kind": "type", "package_id": "parcel", "tracking_number": "code", "shipped_at": "time"}
        theirs = {words.get(name, name): value for name, value in fields.items() if name not in ("lines", "service")}
        lines = fields.get("lines")
        if isinstance(lines, list):
            theirs["items"] = [{"note": one["line_ref"], "qty": one["quantity"]} for one in lines]
        self._parcels += 1
        order = self._orders[order_ref]
        self._report(
            order_ref, "dispatched", order.open_items(), parcel=f"PH-{self._parcels}", code=f"C{self._parcels}"
        )
        self._events[-1] |= theirs

    def refused_address(self) -> Address:
        return Address(name=PersonalText("Casey Nowhere"), address_line1=PersonalText("1 Missing Town Lane"))

    def finds(self, texts: Sequence[str]) -> Sequence[str]:
        held = json.dumps([[order.content for order in self._orders.values()], self._events], ensure_ascii=False)
        return [text for text in texts if text in held]

    def restart(self) -> None:
        self._server.stop()
        self._server = self._serve(self._server.port)
        self._server.start()

    def add(self, order_ref: str) -> None:
        """An order that nobody pushed."""
        content = {"number": order_ref, "digest": "", "recipient": {}, "items": []}
        self._orders[order_ref] = Order(len(self._orders) + 1, content)

    def report_as_it_is(self, entry: object) -> None:
        self._events.append(entry)

    def _dispatch(
        self, order_ref: str, parcel: str, lines: Mapping[str, int] | None, carrier: str, tracking_number: str
    ) -> None:
        order = self._orders[order_ref]
        pieces = lines or order.open_items()
        order.gone.update(pieces)
        order.state = "partly_dispatched" if order.open_items() else "dispatched"
        self._report(order_ref, "dispatched", pieces, parcel=parcel, carrier=carrier, code=tracking_number)

    def _stop(self, order_ref: str) -> None:
        order = self._orders[order_ref]
        left = order.open_items()
        order.state = "dispatched" if order.gone else "cancelled"
        self._report(order_ref, "cancelled", left)

    def _report(self, order_ref: str, kind: str, pieces: Mapping[str, int], **fields: object) -> None:
        notes = self._orders[order_ref].notes
        items = [{"note": notes[sku], "qty": quantity} for sku, quantity in pieces.items()]
        event = {"seq": self._next(), "type": kind, "order": order_ref, "time": datetime.now(UTC).isoformat()}
        self._events.append({**event, "items": items, **fields})

    def _newest(self, order_ref: str) -> dict[str, Any]:
        return next(event for event in reversed(self._events) if event["order"] == order_ref)

    def _next(self) -> int:
        return len(self._events) + 1
