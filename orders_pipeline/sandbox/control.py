"""The sandbox's own endpoints, beside Amazon's: what happened, and what shall happen.

Never PII in an answer, except `/sandbox/canaries`, whose values belong to nobody.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orders_pipeline.sandbox.amazon.order import STATUS_OF_V0, V0_STATUS, Order
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.day.days import Days
from orders_pipeline.sandbox.day.verdicts import Judge
from orders_pipeline.sandbox.order_factory import OrderSpecificationError
from orders_pipeline.sandbox.queue import Queue
from orders_pipeline.sandbox.warehouse.staff import Staff
from orders_pipeline.sandbox.warehouse.state import WarehouseState
from orders_pipeline.sandbox.warehouse.webhooks import WebhookSender

# Not faults that wait for a call, but changes that take effect at once.
IMMEDIATE = ("expire_tokens", "revoke", "authorize_again", "remove_role", "add_role", "clear")
FAULT_FIELDS = frozenset({"kind", "operation", "order_id", "times", "probability", "seconds", "with_header", "server"})


class Controlled(Protocol):
    """What these endpoints look at and change."""

    amazon: AmazonState
    warehouse: WarehouseState
    webhooks: WebhookSender
    queue: Queue
    days: Days
    judge: Judge
    seller_id: str

    @property
    def canaries(self) -> list[str]: ...

    def add_order(self, *, notify: bool = True, **specification: Any) -> Order: ...

    def verdicts(self) -> dict[str, Any]: ...

    def ledger(self) -> dict[str, Any]: ...

    def restart_warehouse(self) -> None: ...


class Control:
    def __init__(self, sandbox: Controlled) -> None:
        self._sandbox = sandbox
        self._staff = Staff(sandbox.warehouse, sandbox.restart_warehouse, webhook_secret=sandbox.webhooks.secret)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/sandbox/day", self.day),
            Route("/sandbox/day/start", self.start_day, methods=["POST"]),
            Route("/sandbox/ledger", self.ledger),
            Route("/sandbox/verdicts", self.verdicts),
            Route("/sandbox/canaries", self.canaries),
            Route("/sandbox/orders", self.add_order, methods=["POST"]),
            Route("/sandbox/orders/{order_id}", self.order),
            Route("/sandbox/orders/{order_id}/status", self.change_status, methods=["POST"]),
            Route("/sandbox/application", self.change_application, methods=["POST"]),
            Route("/sandbox/faults", self.add_fault, methods=["POST"]),
            Route("/sandbox/queue", self.send, methods=["POST"]),
            *self._staff.routes(),
        ]

    async def day(self, _request: Request) -> Response:
        sandbox = self._sandbox
        body = sandbox.days.as_json()
        done = body["finished"] and all(one.ok for one in sandbox.judge.verdicts(sandbox.days.planned))
        return JSONResponse({**body, "done": done})

    async def start_day(self, _request: Request) -> Response:
        await run_in_threadpool(self._sandbox.days.start)
        return JSONResponse(self._sandbox.days.as_json())

    async def ledger(self, _request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._sandbox.ledger))

    async def verdicts(self, _request: Request) -> Response:
        return JSONResponse(self._sandbox.verdicts())

    async def canaries(self, _request: Request) -> Response:
        return JSONResponse(self._sandbox.canaries)

    async def order(self, request: Request) -> Response:
        """Where one order is, without PII."""
        order = self._sandbox.amazon.orders.get(request.path_params["order_id"])
        if order is None:
            return _problem(404, "no such order")
        at_warehouse = self._sandbox.warehouse.orders.get(order.order_id)
        return JSONResponse(
            {
                "order_id": order.order_id,
                "status": order.status,
                "fulfilled_by": order.fulfilled_by,
                "packages": [
                    {"reference_id": one.reference_id, "carrier": one.carrier_code, "items": one.items}
                    for one in order.packages.values()
                ],
                "warehouse_status": at_warehouse.status if at_warehouse else None,
                "warehouse_packages": len(at_warehouse.packages) if at_warehouse else 0,
            }
        )

    async def add_order(self, request: Request) -> Response:
        specification = await _body(request)
        if specification is None:
            return _problem(400, "the body must be a JSON object")
        try:
            order = self._sandbox.add_order(**specification)
        except OrderSpecificationError as error:
            return _problem(400, str(error))
        items = [{"order_item_id": item.item_id, "quantity": item.quantity} for item in order.items]
        return JSONResponse({"order_id": order.order_id, "status": order.status, "items": items}, 201)

    async def change_status(self, request: Request) -> Response:
        order_id, body = request.path_params["order_id"], await _body(request)
        amazon = self._sandbox.amazon
        if body is None or order_id not in amazon.orders:
            return _problem(404, "no such order, or no JSON object")
        notify = bool(body.get("notify", True))
        status = STATUS_OF_V0.get(body.get("status", ""), body.get("status"))
        if status == "BUYER_REQUESTED_CANCEL":
            amazon.request_cancellation(order_id, notify=notify)
        elif status == "CANCELLED":
            amazon.cancel(order_id, by=body.get("by", "BUYER"), notify=notify)
        elif status in V0_STATUS:
            amazon.change_status(order_id, status, notify=notify)
        else:
            return _problem(400, f"status must be BUYER_REQUESTED_CANCEL or one of {', '.join(V0_STATUS)}")
        return JSONResponse({"order_id": order_id, "status": amazon.order(order_id).status})

    async def change_application(self, request: Request) -> Response:
        """What the developer console holds: where consents come back to, and whether the application is a draft."""
        body = await _body(request)
        if body is None or not isinstance(body.get("redirect_uris", []), list):
            return _problem(400, "the body must be a JSON object; redirect_uris is a list")
        application = self._sandbox.amazon.accounts.application
        application.redirect_uris = [str(one) for one in body.get("redirect_uris", application.redirect_uris)]
        application.is_draft = bool(body.get("is_draft", application.is_draft))
        return JSONResponse({"redirect_uris": application.redirect_uris, "is_draft": application.is_draft})

    async def add_fault(self, request: Request) -> Response:
        body = await _body(request)
        if body is None or not isinstance(body.get("kind"), str):
            return _problem(400, "the body must be a JSON object with a kind")
        sandbox = self._sandbox
        kind = body["kind"]
        if kind in IMMEDIATE:
            accounts, seller = sandbox.amazon.accounts, body.get("seller_id", sandbox.seller_id)
            if kind == "expire_tokens":
                accounts.expire_tokens()
            elif kind == "clear":
                sandbox.amazon.faults.clear()
                sandbox.warehouse.faults.clear()
            elif kind in ("remove_role", "add_role"):
                getattr(accounts, kind)(seller, **({"role": body["role"]} if "role" in body else {}))
            else:
                getattr(accounts, kind)(seller)
            return JSONResponse({"done": kind})
        unknown = sorted(set(body) - FAULT_FIELDS)
        if unknown or body.get("server", "amazon") not in ("amazon", "warehouse"):
            return _problem(400, f"unknown fields or server: {unknown}")
        faults = sandbox.warehouse.faults if body.pop("server", "amazon") == "warehouse" else sandbox.amazon.faults
        faults.add(**body)
        return JSONResponse({"waiting": kind}, 201)

    async def send(self, request: Request) -> Response:
        raw = (await request.body()).decode("utf-8", "replace")
        await run_in_threadpool(self._sandbox.queue.send, raw)
        return JSONResponse({"sent": 1}, 201)


async def _body(request: Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _problem(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)
