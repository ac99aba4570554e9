"""Tryton's JSON-RPC: one user's session with one database, for several threads at once.

Tryton answers status 200 to nearly everything, and says in the body whether it did what was asked. What it says in
words is dropped here: see errors.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import SecretStr

from orders_pipeline.http.replies import BadBody, NoReply, Reply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline.wms.port import (
    WarehouseError,
    WarehouseForbidden,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.wms.tryton.errors import Changed, NotDone, Warned
from orders_pipeline.wms.tryton.typed_json import from_wire, to_wire

# Seconds to connect, and for each read.
TIMEOUT_SECONDS = (5.0, 20.0)
# Of one call, from the connection to the last byte.
CALL_SECONDS = 20.0
# Two hundred shipments with their moves are some hundred kilobytes.
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
# Of the user's preferences, what decides about a shipment.
_CONTEXT = ("company", "company_filter", "employee", "language", "warehouse")


@dataclass(frozen=True, slots=True)
class Session:
    user_id: int
    authorization: str = field(repr=False)
    # What Tryton's own client sends with each call.
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TrytonClient:
    """Thread-safe. Logs in at the first call, and again once Tryton says that the session is over."""

    def __init__(self, base_url: str, token: SecretStr, *, connections: int = 8) -> None:
        """`base_url`: of the database, as http://host:port/database. `token`: user:password."""
        self._url = f"{base_url.rstrip('/')}/rpc/"
        self._user, _, password = token.get_secret_value().partition(":")
        self._password = SecretStr(password)
        self._http = open_session(connections=connections)
        self._login = threading.Lock()
        self._session: Session | None = None
        # By Tryton's own clock, as of its newest answer.
        self.server_time: datetime | None = None

    def call(self, method: str, arguments: list[Any], context: Mapping[str, Any], ends_at: float) -> Any:
        """What the method returns. `ends_at`: on time.monotonic. Raises WarehouseError, NotDone, Changed or Warned."""
        session = self.session(ends_at)
        reply = self._ask(session, method, arguments, context, ends_at)
        if reply.status == 401:
            # Nothing was done: the session is over, because of its age or because Tryton was started anew.
            session = self.session(ends_at, over=session)
            reply = self._ask(session, method, arguments, context, ends_at)
        return _result(method, reply)

    def session(self, ends_at: float, *, over: Session | None = None) -> Session:
        """The session; a new one where there is none, or where this one is over."""
        with self._login:
            if self._session is None or self._session is over:
                # Should this fail, the next call begins here again.
                self._session = None
                self._session = self._log_in(ends_at)
            return self._session

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # Where it does not arrive, the session ends by its age.
            with suppress(WarehouseError):
                self._ask(session, "common.db.logout", [], None, time.monotonic() + TIMEOUT_SECONDS[0])
        self._http.close()

    def _log_in(self, ends_at: float) -> Session:
        method = "common.db.login"
        password = {"password": self._password.get_secret_value()}
        reply = self._ask(None, method, [self._user, password, "en"], None, ends_at)
        answer = _result(method, reply)
        if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[0], int):
            raise WarehouseUnauthorized(
                "Tryton refused the user or the password: set WMS_TOKEN=user:password right.", status=401
            )
        user_id, secret = answer[0], answer[1]
        words = base64.b64encode(f"{self._user}:{user_id}:{secret}".encode()).decode()
        session = Session(user_id, f"Session {words}")
        preferences = "model.res.user.get_preferences"
        context = _result(preferences, self._ask(session, preferences, [True], {}, ends_at))
        if not isinstance(context, dict):
            raise unreadable(preferences)
        return Session(user_id, session.authorization, {name: context[name] for name in _CONTEXT if name in context})

    def _ask(
        self,
        session: Session | None,
        method: str,
        arguments: list[Any],
        context: Mapping[str, Any] | None,
        ends_at: float,
    ) -> Reply:
        parameters = (
            [*arguments] if context is None else [*arguments, {**(session.context if session else {}), **context}]
        )
        left = min(ends_at - time.monotonic(), CALL_SECONDS)
        if left <= 0:
            raise WarehouseUnavailable(f"Tryton was too slow: no time is left for {method}.")
        try:
            reply = exchange(
                self._http,
                "POST",
                self._url,
                json_body={"id": 1, "method": method, "params": to_wire(parameters)},
                headers={"Authorization": session.authorization} if session is not None else None,
                timeouts=TIMEOUT_SECONDS,
                total_seconds=left,
                largest_bytes=LARGEST_ANSWER_BYTES,
            )
        except NoReply as error:
            raise WarehouseUnavailable(
                f"Tryton could not be reached ({error}); tried again later. If it lasts, check WMS_BASE_URL and the "
                "server."
            ) from None
        self._note_time(reply)
        return reply

    def _note_time(self, reply: Reply) -> None:
        try:
            moment = parsedate_to_datetime(reply.headers.get("Date", ""))
        except ValueError:
            return
        self.server_time = moment.astimezone(UTC) if moment.tzinfo is not None else None


def unreadable(method: str, reason: str = "it is of another form") -> WarehouseUnavailable:
    """Such an answer says nothing of what was done: it may be a proxy's, or another program's."""
    return WarehouseUnavailable(f"Tryton's answer to {method} cannot be read: {reason}.", status=200)


def _result(method: str, reply: Reply) -> Any:
    if reply.status != 200:
        raise _refusal(method, reply)
    try:
        body = from_wire(reply.json())
    except (BadBody, RecursionError) as error:
        raise unreadable(method, str(error) if isinstance(error, BadBody) else "it is nested too deep") from None
    if isinstance(body, dict) and "error" in body:
        raise _error(method, body["error"])
    if not isinstance(body, dict) or "result" not in body:
        raise unreadable(method)
    return body["result"]


def _refusal(method: str, reply: Reply) -> WarehouseError:
    status = reply.status
    if (host := reply.redirect) is not None:
        return WarehouseUnavailable(
            f"Tryton answered {status}, a redirect to {host}, which is not followed: set WMS_BASE_URL right, or look "
            "for a proxy on the way.",
            status=status,
        )
    if status == 401:
        return WarehouseUnauthorized(f"Tryton refused our session twice ({method}): check WMS_TOKEN.", status=status)
    if status == 403:
        return WarehouseForbidden(f"Tryton, or a firewall on the way, answered 403 to {method}.", status=status)
    if status == 404:
        return WarehouseUnavailable(
            f"There is no Tryton at WMS_BASE_URL, or it has no database of that name (404 to {method}).", status=status
        )
    if status == 429 or status >= 500:
        return WarehouseUnavailable(f"Tryton answered {status} to {method}.", status=status)
    return WarehouseRefused(f"Tryton answered {status} to {method}.", status=status)


def _error(method: str, error: Any) -> Exception:
    kind = error[0] if isinstance(error, list) and error else None
    match kind:
        case "UserError":
            return NotDone()
        case "ConcurrencyException":
            return Changed()
        case "UserWarning":
            words = error[1] if len(error) > 1 else None
            name = words[0] if isinstance(words, list) and words else None
            return Warned(name) if isinstance(name, str) else unreadable(method)
        case "LoginException":
            return WarehouseUnauthorized(
                "Tryton asks for more than a password: give the user of WMS_TOKEN no second factor.", status=401
            )
        case "RateLimitException":
            return WarehouseUnavailable("Tryton takes no more logins for now.", status=429)
        case _:
            # A defect of the server's, or of a module's, with the whole stack in it.
            return WarehouseUnavailable(f"Tryton failed at {method}: its log says why.", status=500)
