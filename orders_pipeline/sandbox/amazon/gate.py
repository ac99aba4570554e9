"""The door of every Selling Partner API operation: token, quota, faults, headers, ledger."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orders_pipeline.sandbox.amazon.accounts import AccessToken, RestrictedToken, Seller
from orders_pipeline.sandbox.amazon.ledger import RecordedCall
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.faults import AFTER, BEFORE, broken_answer

ACCESS_DENIED = "Access to requested resource is denied."
QUOTA_EXCEEDED = {
    "errors": [
        {"code": "QuotaExceeded", "message": "You exceeded your quota for the requested resource.", "details": ""}
    ]
}
# The header comes with these answers only; with 401, 403, 429 and 5xx never.
ANNOUNCED_STATUSES = frozenset({200, 201, 202, 204, 400, 404})
USER_AGENT_LIMIT = 500


class ApiError(Exception):
    """An answer other than success, in Amazon's words."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.body = {"errors": [{"code": code, "message": message, "details": details}]}


def invalid_input(message: str, details: str = "") -> ApiError:
    return ApiError(400, "InvalidInput", message, details)


def unauthorized(details: str) -> ApiError:
    return ApiError(403, "Unauthorized", ACCESS_DENIED, details)


def not_found(what: str) -> ApiError:
    return ApiError(404, "NotFound", f"The requested {what} is not found.")


@dataclass
class Call:
    """One admitted request."""

    operation: str
    request: Request
    body: bytes
    token: AccessToken | RestrictedToken
    order_id: str | None
    roles: set[str] = field(default_factory=set[str])
    included_data: tuple[str, ...] = ()

    @property
    def seller(self) -> Seller:
        if self.token.seller is None:
            raise unauthorized("This operation needs the authorization of a selling partner.")
        return self.token.seller

    def query(self) -> dict[str, str]:
        """Every parameter once; a repeated one is an error, lists are comma-separated."""
        pairs = self.request.query_params.multi_items()
        values = dict(pairs)
        if len(values) != len(pairs):
            raise invalid_input("A query parameter was given more than once.")
        return values

    def json_body(self, code: str = "InvalidInput") -> dict[str, Any]:
        if not self.request.headers.get("content-type", "").startswith("application/json"):
            raise ApiError(400 if code != "InvalidInput" else 415, code, "Content-Type must be application/json.")
        try:
            body = json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, code, "Request has missing or invalid parameters and cannot be parsed.") from error
        if not isinstance(body, dict):
            raise ApiError(400, code, "Request has missing or invalid parameters and cannot be parsed.")
        return body


Handler = Callable[[Call], Awaitable[tuple[int, dict[str, Any] | None]]]


class Gate:
    def __init__(self, state: AmazonState) -> None:
        self.state = state

    def endpoint(
        self, operation: str, handler: Handler, *, grantless_scope: str | None = None, restricted: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """`grantless_scope`: the operation wants a client-credentials token; `restricted`: it takes an RDT too."""

        async def answer(request: Request) -> Response:
            return await self._answer(request, operation, handler, grantless_scope, restricted)

        return answer

    async def _answer(
        self, request: Request, operation: str, handler: Handler, grantless_scope: str | None, restricted: bool
    ) -> Response:
        order_id: str | None = request.path_params.get("order_id")
        faults = self.state.faults
        body = await request.body()
        included: tuple[str, ...] = ()
        fault = faults.take(BEFORE, operation, order_id)
        response = await broken_answer(fault, request) if fault else None
        if response is None:
            try:
                call = self._admit(request, operation, order_id, body, grantless_scope, restricted)
                throttle = faults.take(("throttle",), operation, order_id)
                if throttle or not self._take_token(call):
                    response = self._render(429, QUOTA_EXCEEDED, operation)
                    if throttle and throttle.with_header:
                        response.headers["x-amzn-RateLimit-Limit"] = self.state.plans.announced(operation)
                else:
                    status, answer = await handler(call)
                    included = call.included_data
                    response = self._render(status, answer, operation)
            except ApiError as error:
                response = self._render(error.status, error.body, operation)
            after = faults.take(AFTER, operation, order_id)
            if after:
                response = await broken_answer(after, request) or response
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        response.headers["Date"] = format_datetime(self.state.clock.now(), usegmt=True)
        self.state.ledger.record_call(
            RecordedCall(self.state.clock.now(), operation, response.status_code, order_id, included)
        )
        return response

    def _admit(
        self,
        request: Request,
        operation: str,
        order_id: str | None,
        body: bytes,
        grantless_scope: str | None,
        restricted: bool,
    ) -> Call:
        agent = request.headers.get("user-agent", "")
        if not agent or len(agent) > USER_AGENT_LIMIT:
            raise invalid_input("The user-agent header is missing or longer than 500 characters.")
        state = self.state
        value = request.headers.get("x-amz-access-token")
        if not value:
            raise unauthorized("Access token is missing in the request header.")
        token = state.accounts.find(value)
        if token is None:
            raise unauthorized("The access token you provided is revoked, malformed or invalid.")
        if state.accounts.is_expired(token) or state.faults.take(("expired_token",), operation, order_id):
            raise unauthorized("The access token you provided has expired.")
        if isinstance(token, RestrictedToken):
            covered = any(resource.covers(request.method, request.url.path) for resource in token.resources)
            if not restricted or not covered:
                raise unauthorized("The restricted data token does not cover this resource.")
        elif grantless_scope != token.scope:
            raise unauthorized("The access token's scope does not fit this operation.")
        roles = set(token.seller.roles) if token.seller else set[str]()
        if state.faults.take(("missing_role",), operation, order_id):
            roles = roles - {"Direct-to-Consumer Shipping", "Tax Invoicing"}
        if token.seller is not None and (not roles or state.faults.take(("access_denied",), operation, order_id)):
            raise unauthorized("")
        return Call(operation, request, body, token, order_id, roles)

    def _take_token(self, call: Call) -> bool:
        seller = call.token.seller.seller_id if call.token.seller else "grantless"
        return self.state.plans.take(call.token.application.client_id, seller, call.operation)

    def _render(self, status: int, body: dict[str, Any] | None, operation: str) -> Response:
        if body is None:
            response = Response(status_code=status)
        else:
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
            response = Response(text, status_code=status, media_type="application/json")
        if status in ANNOUNCED_STATUSES:
            response.headers["x-amzn-RateLimit-Limit"] = self.state.plans.announced(operation)
        return response
