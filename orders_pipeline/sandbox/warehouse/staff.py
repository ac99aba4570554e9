"""What the warehouse's staff does on demand, for whoever tries an adapter: pack, ship, void, run short, restart.

Pieces are given by SKU. Answers hold no buyer's data: `finds` says only which of the texts that it is given are there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orders_pipeline.sandbox.warehouse.state import ACCEPTED, PACKING, WarehouseOrder, WarehouseState
from orders_pipeline.sandbox.warehouse.webhooks import sign

PREFIX = "/sandbox/warehouse"


class Staff:
    """`restart` stops and starts the warehouse's server; `webhook_secret` signs its webhooks."""

    def __init__(self, state: WarehouseState, restart: Callable[[], None], *, webhook_secret: str) -> None:
        self._state = state
        self._webhook_secret = webhook_secret
        self._restart = restart
        self._actions: dict[str, Callable[[WarehouseOrder, dict[str, Any]], None]] = {
            "pack": self._pack,
            "ship": self._ship,
            "void": self._void,
            "ship_again": self._ship_again,
            "short": self._short,
            "cancel": self._cancel,
            "repeat": self._repeat,
            "report": self._report,
        }

    def routes(self) -> list[BaseRoute]:
        return [
            Route(f"{PREFIX}/orders/{{order_ref}}", self.orders),
            Route(f"{PREFIX}/orders/{{order_ref}}/webhook", self.webhook),
            Route(f"{PREFIX}/orders/{{order_ref}}/{{action}}", self.act, methods=["POST"]),
            Route(f"{PREFIX}/webhook_secret", self.webhook_secret),
            Route(f"{PREFIX}/finds", self.finds, methods=["POST"]),
            Route(f"{PREFIX}/unknown_sku", self.unknown_sku, methods=["POST"]),
            Route(f"{PREFIX}/restart", self.restart, methods=["POST"]),
        ]

    async def orders(self, request: Request) -> Response:
        """Every order under this reference, as pieces by SKU."""
        order = self._state.orders.get(request.path_params["order_ref"])
        return JSONResponse({"orders": [] if order is None else [_pieces(order)]})

    async def webhook(self, request: Request) -> Response:
        """What would be posted of the order's newest event, signed now; the body in base64."""
        body = json.dumps({"shipments": [self._newest(request.path_params["order_ref"])]}).encode()
        signature = sign(self._webhook_secret, body, int(self._state.clock.now().timestamp()))
        return JSONResponse({"headers": {"X-Signature": signature}, "body": base64.b64encode(body).decode()})

    async def webhook_secret(self, _request: Request) -> Response:
        return JSONResponse({"secret": self._webhook_secret})

    async def act(self, request: Request) -> Response:
        action = self._actions.get(request.path_params["action"])
        order = self._state.orders.get(request.path_params["order_ref"])
        if action is None or order is None:
            return JSONResponse({"error": "no such action, or no such order"}, 404)
        body = json.loads(await request.body() or b"{}")
        with self._state.lock:
            action(order, body)
        return JSONResponse({"status": order.status})

    async def finds(self, request: Request) -> Response:
        """Which of these texts are anywhere in what the warehouse holds."""
        texts = json.loads(await request.body())["texts"]
        with self._state.lock:
            held = f"{self._state.orders!r} {self._state.events!r}"
        return JSONResponse({"found": [text for text in texts if text in held]})

    async def unknown_sku(self, request: Request) -> Response:
        """From now on the warehouse knows no such SKU."""
        sku = json.loads(await request.body())["sku"]
        self._state.unknown_skus.add(sku)
        return JSONResponse({"sku": sku})

    async def restart(self, _request: Request) -> Response:
        await run_in_threadpool(self._restart)
        return JSONResponse({"restarted": True})

    def _pack(self, order: WarehouseOrder, _body: dict[str, Any]) -> None:
        if order.status == ACCEPTED:
            order.status = PACKING

    def _ship(self, order: WarehouseOrder, body: dict[str, Any]) -> None:
        lines = _lines(order, body.get("lines")) or order.open_units()
        self._state.ship(
            order.order_ref, lines, body["carrier"], body.get("service"), body["tracking_number"], box=body.get("box")
        )

    def _void(self, order: WarehouseOrder, _body: dict[str, Any]) -> None:
        self._state.void(order.order_ref, order.packages[-1].package_id)

    def _ship_again(self, order: WarehouseOrder, body: dict[str, Any]) -> None:
        package = order.packages[-1]
        self._state.relabel(order.order_ref, package.package_id, body["tracking_number"], body["carrier"])

    def _short(self, order: WarehouseOrder, body: dict[str, Any]) -> None:
        self._state.run_short(order.order_ref, _lines(order, body["lines"]))

    def _cancel(self, order: WarehouseOrder, _body: dict[str, Any]) -> None:
        self._state.stop(order.order_ref)

    def _repeat(self, order: WarehouseOrder, _body: dict[str, Any]) -> None:
        self._state.repeat_event(self._newest(order.order_ref)["event_id"])

    def _report(self, order: WarehouseOrder, body: dict[str, Any]) -> None:
        """A package's event with these fields in place of its own."""
        package_id = f"P{self._state.next_number():07d}"
        self._state.add_event("shipped", order.order_ref, order.open_units())
        event = self._state.events[-1]
        event |= {"package_id": package_id, "carrier": "UPS", "tracking_number": package_id, **body["fields"]}

    def _newest(self, order_ref: str) -> dict[str, Any]:
        return next(one for one in reversed(self._state.events) if one["order_ref"] == order_ref)


def _pieces(order: WarehouseOrder) -> dict[str, int]:
    return {line["sku"]: line["quantity"] for line in order.content["lines"]}


def _lines(order: WarehouseOrder, pieces: dict[str, int] | None) -> dict[str, int]:
    """Pieces by SKU as pieces by line reference."""
    refs = {line["sku"]: line["line_ref"] for line in order.content["lines"]}
    return {refs[sku]: quantity for sku, quantity in (pieces or {}).items()}
