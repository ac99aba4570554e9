"""A warehouse that speaks the REST contract (`WMS_ADAPTER=rest`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests
from pydantic import SecretStr
from requests.auth import AuthBase

from orders_pipeline.http.replies import BadBody, NoReply, Reply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline.model.untrusted_text import bounded_id, bounded_text, is_bounded
from orders_pipeline.wms.port import (
    CancelAnswer,
    Capability,
    FulfillmentOrder,
    HoldAnswer,
    NotCapable,
    PushAnswer,
    PushResult,
    ShipmentPage,
    StockPage,
    WarehouseError,
    WarehouseForbidden,
    WarehouseOrder,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.wms.rest.webhooks import read_webhook
from orders_pipeline.wms.shipment_events import read_shipment_events

# Seconds to connect and to answer. A push that takes longer is not lost: it is found again before it is repeated.
TIMEOUT_SECONDS = (5.0, 20.0)
# From the connection to the last byte, however the bytes come.
TOTAL_SECONDS = 25.0
# A page of 200 events is some hundred kilobytes.
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
# A warehouse's error code is a word; anything else may be a sentence with a buyer's street in it.
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# A cursor is sent back as it came, so it can be neither cut nor cleaned.
LONGEST_CURSOR = 2_000
_STATUSES = frozenset({"accepted", "held", "packing", "partially_shipped", "shipped", "cancelled"})
_PUSH_CONFLICTS: dict[str, PushAnswer] = {
    "order_conflict": "conflict",
    "order_shipped": "shipped",
    "order_cancelled": "cancelled",
}


class _Bearer(AuthBase):
    """The token, as `auth` and not as a header: a line for this host in ~/.netrc would take a header's place."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


class RestWarehouse:
    """Thread-safe: a session's pool serves as many pushes at once as `connections`."""

    def __init__(
        self,
        base_url: str,
        token: SecretStr,
        *,
        webhook_secrets: Sequence[SecretStr] = (),
        connections: int = 8,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._base_url = base_url
        self._webhook_secrets = tuple(webhook_secrets)
        self._total_seconds = total_seconds
        self._session = open_session(auth=_Bearer(token), connections=connections)

    @property
    def capabilities(self) -> frozenset[Capability]:
        # Without a secret no webhook can be told from a stranger's call.
        signed = {Capability.WEBHOOKS} if self._webhook_secrets else set[Capability]()
        return frozenset({Capability.HOLD, Capability.CANCEL, Capability.ERASE_PII} | signed)

    def push(self, order: FulfillmentOrder) -> PushResult:
        reply = self._call("PUT", _order_path(order.order_ref), json=order.wire())
        if reply.status in (200, 201):
            answer = "accepted" if reply.status == 201 else "duplicate"
            return PushResult(answer, wms_id=_order(reply).wms_id)
        code = _error_code(reply)
        if reply.status == 409:
            return PushResult(_PUSH_CONFLICTS.get(code or "", "conflict"), code=code or "order_conflict")
        if reply.status == 422:
            return PushResult("refused", code=code or "unprocessable")
        raise _error("push", reply)

    def find(self, order_ref: str) -> WarehouseOrder | None:
        reply = self._call("GET", _order_path(order_ref))
        if _is_unknown(reply):
            return None
        if reply.status != 200:
            raise _error("find", reply)
        return _order(reply)

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._hold_or_release("hold", order_ref, reason)

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._hold_or_release("release", order_ref, reason)

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        reply = self._call("POST", f"{_order_path(order_ref)}/cancel", json={"reason": reason})
        if _is_unknown(reply):
            return "not_found"
        if reply.status == 409:
            return "too_late"
        if reply.status != 200:
            raise _error("cancel", reply)
        outcome = _text(_object(reply), "outcome")
        if outcome == "cancelled" or outcome == "partial" or outcome == "pending":
            return outcome
        raise WarehouseRefused("The warehouse answered a cancellation with an unknown outcome", status=200)

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        parameters: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            parameters["cursor"] = cursor
        reply = self._call("GET", "/v1/shipments", parameters=parameters)
        if reply.status != 200:
            raise _error("poll", reply)
        body = _object(reply)
        entries = body.get("shipments")
        if not isinstance(entries, list):
            raise _not_the_contracts("without `shipments`")
        events, unreadable = read_shipment_events(entries)
        given_cursor = body.get("next_cursor")
        next_cursor = _cursor(given_cursor)
        return ShipmentPage(
            events=events,
            next_cursor=next_cursor,
            unreadable=unreadable,
            cursor_unreadable=given_cursor is not None and next_cursor is None,
        )

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ShipmentPage:
        return read_webhook(headers, body, secrets=self._webhook_secrets, now=now)

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        raise NotCapable(Capability.ACKNOWLEDGE)

    def read_stock(self, cursor: str | None, limit: int) -> StockPage:
        raise NotCapable(Capability.STOCK)

    def erase_pii(self, order_ref: str) -> bool:
        reply = self._call("POST", f"{_order_path(order_ref)}/erase_pii", json={})
        if reply.status == 204 or _is_unknown(reply):
            return True
        if reply.status == 200:
            # Whoever said so: what was not erased would be kept for good.
            raise _not_the_contracts("where 204 says that it is erased")
        raise _error("erase_pii", reply)

    def close(self) -> None:
        self._session.close()

    def _hold_or_release(self, action: str, order_ref: str, reason: str) -> HoldAnswer:
        reply = self._call("POST", f"{_order_path(order_ref)}/{action}", json={"reason": reason})
        if _is_unknown(reply):
            return "not_found"
        if reply.status == 409:
            return "too_late"
        if reply.status != 200:
            raise _error(action, reply)
        _text(_object(reply), "status")
        return "done"

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> Reply:
        try:
            reply = exchange(
                self._session,
                method,
                self._base_url + path,
                json_body=json,
                query={name: str(value) for name, value in (parameters or {}).items()},
                timeouts=TIMEOUT_SECONDS,
                total_seconds=self._total_seconds,
                largest_bytes=LARGEST_ANSWER_BYTES,
            )
        except NoReply as error:
            raise WarehouseUnavailable(
                f"The warehouse could not be reached ({error}); tried again later. If it lasts, check "
                "WMS_BASE_URL and the warehouse's status."
            ) from None
        if reply.problem is not None:
            # Whatever its status says, this is not one of the contract's answers: the outcome is not known.
            raise WarehouseUnavailable(
                f"The warehouse's answer ({reply.status}) cannot be read: {reply.problem}.", status=reply.status
            )
        if (host := reply.redirect) is not None:
            # Of all calls at once, and no order's fault: as good as no answer.
            raise WarehouseUnavailable(
                f"The warehouse answered {reply.status}, a redirect to {host}, which is not followed: set WMS_BASE_URL "
                "right, or look for a proxy on the way.",
                status=reply.status,
            )
        return reply


def _order_path(order_ref: str) -> str:
    return f"/v1/orders/{quote(order_ref, safe='')}"


def _error(action: str, reply: Reply) -> WarehouseError:
    status = reply.status
    code = _error_code(reply)
    named = f"{status}{f' {code}' if code else ''}"
    if status == 403:
        return WarehouseForbidden(
            f"The warehouse answered {named} to {action}: the token lacks the right, or a firewall on the way dislikes "
            "the request.",
            status=status,
            code=code,
        )
    if status == 401:
        return WarehouseUnauthorized(
            f"The warehouse refused our token ({named} to {action}): set WMS_TOKEN right.", status=status, code=code
        )
    if status == 429 or status >= 500:
        return WarehouseUnavailable(f"The warehouse answered {named} to {action}.", status=status, code=code)
    return WarehouseRefused(f"The warehouse answered {named} to {action}.", status=status, code=code)


def _is_unknown(reply: Reply) -> bool:
    """404 in the contract's own words. A proxy's 404 says nothing of the order, and believing it could ship it."""
    if reply.status != 404:
        return False
    if _error_object(reply) is None:
        raise WarehouseUnavailable("The warehouse answered 404 without the contract's error.", status=404)
    return True


def _error_object(reply: Reply) -> dict[str, Any] | None:
    body = _json(reply)
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _error_code(reply: Reply) -> str | None:
    code = (_error_object(reply) or {}).get("code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _json(reply: Reply) -> Any:
    try:
        return reply.json()
    except BadBody:
        return None


def _object(reply: Reply) -> dict[str, Any]:
    """The object of an answer with 200 or 201. A page with this status, a proxy's or a service's, is no answer."""
    body = _json(reply)
    if not isinstance(body, dict):
        raise _not_the_contracts("without JSON")
    if body.get("error"):
        raise _not_the_contracts("with an error in it")
    return body


def _order(reply: Reply) -> WarehouseOrder:
    """The order that an answer shows: it has the warehouse's id, or a status of the contract's."""
    body = _object(reply)
    wms_id, status = bounded_id(body.get("wms_id")), bounded_text(body.get("status"))
    if wms_id is None and status not in _STATUSES:
        raise _not_the_contracts("without `wms_id`")
    return WarehouseOrder(wms_id, status or "unknown")


def _text(body: Mapping[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not text:
        raise _not_the_contracts(f"without `{name}`")
    return text


def _not_the_contracts(what: str) -> WarehouseUnavailable:
    return WarehouseUnavailable(f"The warehouse answered a success {what}: its outcome is not known.", status=200)


def _cursor(value: object) -> str | None:
    """The cursor as it came; None where it is no text or number, too long, or holds what cannot be seen."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if is_bounded(text, LONGEST_CURSOR) else None
