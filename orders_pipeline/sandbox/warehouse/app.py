"""The warehouse's REST API, exactly as its contract has it: bearer token, JSON, idempotent PUT."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orders_pipeline.sandbox.clock import parse_iso
from orders_pipeline.sandbox.faults import AFTER, BEFORE, broken_answer
from orders_pipeline.sandbox.warehouse.state import WarehouseState, content_hash

ORDER_FIELDS: dict[str, tuple[type, ...]] = {
    "order_ref": (str,),
    "channel": (str,),
    "seller_id": (str,),
    "marketplace_id": (str,),
    "purchased_at": (str, type(None)),
    "ship_by": (str, type(None)),
    "deliver_by": (str, type(None)),
    "service_level": (str, type(None)),
    "is_prime": (bool,),
    "is_business": (bool,),
    "ship_to": (dict,),
    "lines": (list,),
}
ADDRESS_FIELDS = frozenset(
    {
        *("name", "company", "address_line1", "address_line2", "address_line3", "city", "district"),
        *("state_or_region", "postal_code", "country_code", "phone", "address_type"),
    }
)
REQUIRED_ADDRESS_FIELDS = ("name", "address_line1", "city", "postal_code", "country_code")
LINE_FIELDS = frozenset({"line_ref", "sku", "quantity", "title", "gift_message", "customization_url"})
DEFAULT_PAGE = 100
MAX_PAGE = 500


class RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


Handler = Callable[[Request, str | None, bytes], tuple[str, int, dict[str, Any] | None]]


class WarehouseApi:
    def __init__(self, state: WarehouseState) -> None:
        self.state = state

    def application(self) -> Starlette:
        one = "/v1/orders/{order_ref}"
        return Starlette(
            routes=[
                Route(one, self._endpoint("put_order", self.put_order), methods=["PUT"]),
                Route(one, self._endpoint("get_order", self.get_order), methods=["GET"]),
                Route(f"{one}/hold", self._endpoint("hold", self.hold), methods=["POST"]),
                Route(f"{one}/release", self._endpoint("release", self.release), methods=["POST"]),
                Route(f"{one}/cancel", self._endpoint("cancel", self.cancel), methods=["POST"]),
                Route(f"{one}/erase_pii", self._endpoint("erase_pii", self.erase_pii), methods=["POST"]),
                Route("/v1/shipments", self._endpoint("shipments", self.shipments), methods=["GET"]),
            ]
        )

    def put_order(self, _request: Request, order_ref: str | None, raw: bytes) -> tuple[str, int, dict[str, Any]]:
        content = _json_object(raw)
        self._check_order(order_ref or "", content)
        echo = self.state.faults.take(("invalid_address_echo",), "put_order", order_ref)
        if echo:
            # A warehouse that repeats what it was sent: its error text must be treated as if it were the address.
            raise RefusedError(422, "invalid_address", f"cannot deliver to {json.dumps(content['ship_to'])}")
        outcome, order = self.state.accept(order_ref or "", content)
        if outcome in ("created", "same"):
            status = 201 if outcome == "created" else 200
            return outcome, status, {"wms_id": order.wms_id, "status": order.status}
        raise RefusedError(409, outcome, f"the order is {order.status} here")

    def get_order(self, _request: Request, order_ref: str | None, _raw: bytes) -> tuple[str, int, dict[str, Any]]:
        order = self.state.orders.get(order_ref or "")
        if order is None:
            raise RefusedError(404, "not_found", "no such order")
        return (
            "found",
            200,
            {
                "wms_id": order.wms_id,
                "status": order.status,
                "order_ref": order.order_ref,
                "content_sha256": order.content_sha256,
                "lines": [
                    {"line_ref": ref, "quantity": quantity, "shipped": order.shipped_units(ref)}
                    for ref, quantity in order.lines.items()
                ],
            },
        )

    def hold(self, _request: Request, order_ref: str | None, raw: bytes) -> tuple[str, int, dict[str, Any]]:
        self._check_known(order_ref, raw)
        status = self.state.hold(order_ref or "")
        if status is None or self.state.faults.take(("too_late",), "hold", order_ref):
            raise RefusedError(409, "too_late", "the order is being packed or has left")
        return "held", 200, {"status": status}

    def release(self, _request: Request, order_ref: str | None, raw: bytes) -> tuple[str, int, dict[str, Any]]:
        self._check_known(order_ref, raw)
        status = self.state.release(order_ref or "")
        if status is None:
            raise RefusedError(409, "too_late", "the order has left or was cancelled")
        return "released", 200, {"status": status}

    def cancel(self, _request: Request, order_ref: str | None, raw: bytes) -> tuple[str, int, dict[str, Any]]:
        self._check_known(order_ref, raw)
        outcome = self.state.cancel(order_ref or "")
        if outcome is None:
            raise RefusedError(409, "too_late", "the order is being packed or has left")
        return outcome, 200, {"outcome": outcome}

    def erase_pii(self, _request: Request, order_ref: str | None, _raw: bytes) -> tuple[str, int, None]:
        if not self.state.erase(order_ref or ""):
            raise RefusedError(404, "not_found", "no such order")
        return "erased", 204, None

    def shipments(self, request: Request, _ref: str | None, _raw: bytes) -> tuple[str, int, dict[str, Any]]:
        cursor, limit = request.query_params.get("cursor", ""), request.query_params.get("limit", str(DEFAULT_PAGE))
        if not limit.isdigit() or not 1 <= int(limit) <= MAX_PAGE:
            raise RefusedError(400, "invalid_limit", f"limit must be between 1 and {MAX_PAGE}")
        if cursor and not (cursor.startswith("c") and cursor[1:].isdigit()):
            raise RefusedError(400, "invalid_cursor", "cursor must be one that was returned here")
        start = int(cursor[1:]) if cursor else 0
        with self.state.lock:
            if start > len(self.state.events):
                raise RefusedError(400, "invalid_cursor", "cursor must be one that was returned here")
            events = list(self.state.events[start : start + int(limit)])
        outcome = "events" if events else "empty"
        return outcome, 200, {"shipments": events, "next_cursor": f"c{start + len(events)}"}

    def _endpoint(self, call: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            state = self.state
            order_ref: str | None = request.path_params.get("order_ref")
            raw = await request.body()
            sha256 = _hash_or_none(raw) if call == "put_order" else None
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(token, state.token):
                state.record(call, order_ref, "unauthorized")
                return _error(401, "unauthorized", "a bearer token is required")
            fault = state.faults.take((*BEFORE, "throttle"), call, order_ref)
            if fault:
                broken = _error(429, "slow_down", "try later") if fault.kind == "throttle" else None
                broken = broken or await broken_answer(fault, request)
                if broken is not None:
                    state.record(call, order_ref, f"fault:{fault.kind}", sha256)
                    return broken
            try:
                outcome, status, body = handler(request, order_ref, raw)
                response = JSONResponse(body, status) if body is not None else Response(status_code=status)
            except RefusedError as refusal:
                outcome = refusal.code
                response = _error(refusal.status, refusal.code, refusal.message)
            state.record(call, order_ref, outcome, sha256)
            after = state.faults.take(AFTER, call, order_ref)
            return (await broken_answer(after, request) if after else None) or response

        return answer

    def _check_known(self, order_ref: str | None, raw: bytes) -> None:
        body = _json_object(raw)
        if set(body) != {"reason"} or not isinstance(body["reason"], str):
            raise RefusedError(400, "invalid_request", 'the body must be {"reason": text}')
        if order_ref not in self.state.orders:
            raise RefusedError(404, "not_found", "no such order")

    def _check_order(self, order_ref: str, content: dict[str, Any]) -> None:
        """Exactly the contract's fields: a warehouse that guesses ships to the wrong door."""
        if set(content) != set(ORDER_FIELDS):
            difference = sorted(set(content) ^ set(ORDER_FIELDS))
            raise RefusedError(422, "invalid_order", f"missing or unknown fields: {', '.join(difference)}")
        wrong = [name for name, types in ORDER_FIELDS.items() if not isinstance(content[name], types)]
        if wrong:
            raise RefusedError(422, "invalid_order", f"wrong type: {', '.join(wrong)}")
        if content["order_ref"] != order_ref or content["channel"] != "amazon":
            raise RefusedError(422, "invalid_order", "order_ref or channel does not fit")
        for name in ("purchased_at", "ship_by", "deliver_by"):
            if content[name] is not None:
                _check_time(name, content[name])
        address: dict[str, Any] = content["ship_to"]
        if frozenset(address) != ADDRESS_FIELDS or not all(isinstance(v, (str, type(None))) for v in address.values()):
            raise RefusedError(422, "invalid_order", "ship_to has missing or unknown fields, or a wrong type")
        blank = [name for name in REQUIRED_ADDRESS_FIELDS if not (address[name] or "").strip()]
        if blank:
            raise RefusedError(422, "invalid_address", f"blank: {', '.join(blank)}")
        lines: list[Any] = content["lines"]
        if not lines:
            raise RefusedError(422, "invalid_order", "no lines")
        for line in lines:
            self._check_line(line)
        if len({line["line_ref"] for line in lines}) != len(lines):
            raise RefusedError(422, "invalid_order", "a line_ref is there twice")

    def _check_line(self, line: Any) -> None:
        if not isinstance(line, dict) or frozenset(line) != LINE_FIELDS:
            raise RefusedError(422, "invalid_order", "a line has missing or unknown fields")
        quantity = line["quantity"]
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise RefusedError(422, "invalid_order", "quantity must be a positive integer")
        if not isinstance(line["line_ref"], str) or not line["line_ref"]:
            raise RefusedError(422, "invalid_order", "line_ref must be a text")
        if not line["sku"] or line["sku"] in self.state.unknown_skus:
            raise RefusedError(422, "unknown_sku", f"no such sku: {line['sku']}")


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RefusedError(400, "invalid_json", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "invalid_json", "the body must be an object")
    return body


def _check_time(name: str, text: str) -> None:
    try:
        parse_iso(text).astimezone(UTC)
    except ValueError as error:
        raise RefusedError(422, "invalid_order", f"{name} needs date, time and offset") from error


def _hash_or_none(raw: bytes) -> str | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return content_hash(body) if isinstance(body, dict) else None


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
