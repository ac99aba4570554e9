"""A warehouse that speaks the REST contract (`WMS_ADAPTER=rest`).

Belongs here: that contract's wire format, and which answer means what. Elsewhere: retries over minutes (the stages: a
run is never held up by a warehouse that is down).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from orders_pipeline.untrusted_text import bounded_id, bounded_text, is_bounded
from orders_pipeline.wms.shipment_events import read_shipment_event
from orders_pipeline.wms.warehouse import (
    CancelAnswer,
    FulfillmentOrder,
    HoldAnswer,
    PushAnswer,
    PushResult,
    ShipmentPage,
    WarehouseError,
    WarehouseOrder,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)

# Seconds to connect and to answer. A push that takes longer is not lost: it is found again before it is repeated.
TIMEOUT_SECONDS = (5.0, 20.0)
# A warehouse's error code is a word; anything else may be a sentence with a buyer's street in it.
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# A cursor is sent back as it came, so it can be neither cut nor cleaned.
LONGEST_CURSOR = 2_000
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

    def __init__(self, base_url: str, token: SecretStr, *, connections: int = 8) -> None:
        self._base_url = base_url
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers["Accept"] = "application/json"
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def push(self, order: FulfillmentOrder) -> PushResult:
        response = self._call("PUT", _order_path(order.order_ref), json=order.wire())
        if response.status_code in (200, 201):
            return PushResult("accepted", wms_id=bounded_id(_object(response).get("wms_id")))
        code = _error_code(response)
        if response.status_code == 409:
            return PushResult(_PUSH_CONFLICTS.get(code or "", "conflict"), code=code or "order_conflict")
        if response.status_code == 422:
            return PushResult("refused", code=code or "unprocessable")
        raise _error("push", response)

    def find(self, order_ref: str) -> WarehouseOrder | None:
        response = self._call("GET", _order_path(order_ref))
        if _is_unknown(response):
            return None
        if response.status_code != 200:
            raise _error("find", response)
        body = _object(response)
        return WarehouseOrder(bounded_id(body.get("wms_id")), bounded_text(body.get("status")) or "unknown")

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._hold_or_release("hold", order_ref, reason)

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._hold_or_release("release", order_ref, reason)

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        response = self._call("POST", f"{_order_path(order_ref)}/cancel", json={"reason": reason})
        if _is_unknown(response):
            return "not_found"
        if response.status_code == 409:
            return "too_late"
        if response.status_code != 200:
            raise _error("cancel", response)
        outcome = _object(response).get("outcome")
        if outcome == "cancelled" or outcome == "partial" or outcome == "pending":
            return outcome
        raise WarehouseRefused("The warehouse answered a cancellation with an unknown outcome", status=200)

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        parameters: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            parameters["cursor"] = cursor
        response = self._call("GET", "/v1/shipments", parameters=parameters)
        if response.status_code != 200:
            raise _error("poll", response)
        body = _object(response)
        entries = body.get("shipments")
        if not isinstance(entries, list):
            raise WarehouseRefused("The warehouse's list of shipments has no `shipments`", status=200)
        events = [read_shipment_event(entry) for entry in entries]
        readable = tuple(event for event in events if event is not None)
        given_cursor = body.get("next_cursor")
        next_cursor = _cursor(given_cursor)
        return ShipmentPage(
            events=readable,
            next_cursor=next_cursor,
            unreadable=len(events) - len(readable),
            cursor_unreadable=given_cursor is not None and next_cursor is None,
        )

    def erase_pii(self, order_ref: str) -> bool:
        response = self._call("POST", f"{_order_path(order_ref)}/erase_pii", json={})
        if response.status_code in (200, 204) or _is_unknown(response):
            return True
        raise _error("erase_pii", response)

    def close(self) -> None:
        self._session.close()

    def _hold_or_release(self, action: str, order_ref: str, reason: str) -> HoldAnswer:
        response = self._call("POST", f"{_order_path(order_ref)}/{action}", json={"reason": reason})
        if _is_unknown(response):
            return "not_found"
        if response.status_code == 409:
            return "too_late"
        if response.status_code != 200:
            raise _error(action, response)
        # A page of a proxy's with status 200 is no answer of the warehouse's.
        _object(response)
        return "done"

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._base_url + path,
                json=json,
                params=parameters,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # `from None`: the original exception holds the request, and so the address.
            raise WarehouseUnavailable(
                f"The warehouse could not be reached ({type(error).__name__}); tried again later. If it lasts, check "
                "WMS_BASE_URL and the warehouse's status."
            ) from None


def _order_path(order_ref: str) -> str:
    return f"/v1/orders/{quote(order_ref, safe='')}"


def _error(action: str, response: requests.Response) -> WarehouseError:
    status = response.status_code
    code = _error_code(response)
    named = f"{status}{f' {code}' if code else ''}"
    if status in (401, 403):
        return WarehouseUnauthorized(
            f"The warehouse refused our token ({named} to {action}): set WMS_TOKEN right.", status=status, code=code
        )
    if status == 429 or status >= 500:
        return WarehouseUnavailable(f"The warehouse answered {named} to {action}.", status=status, code=code)
    return WarehouseRefused(f"The warehouse answered {named} to {action}.", status=status, code=code)


def _is_unknown(response: requests.Response) -> bool:
    """404 in the contract's own words. A proxy's 404 says nothing of the order, and believing it could ship it."""
    if response.status_code != 404:
        return False
    if _error_object(response) is None:
        raise WarehouseUnavailable("The warehouse answered 404 without the contract's error.", status=404)
    return True


def _error_object(response: requests.Response) -> dict[str, Any] | None:
    body = _json(response)
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _error_code(response: requests.Response) -> str | None:
    code = (_error_object(response) or {}).get("code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _object(response: requests.Response) -> dict[str, Any]:
    body = _json(response)
    if not isinstance(body, dict):
        # A proxy's page with status 200: as good as no answer.
        raise WarehouseUnavailable("The warehouse answered a success without JSON.", status=response.status_code)
    return body


def _cursor(value: object) -> str | None:
    """The cursor as it came; None where it is no text or number, too long, or holds what cannot be seen."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if is_bounded(text, LONGEST_CURSOR) else None
