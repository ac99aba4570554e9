"""Tryton's JSON-RPC, as its own clients speak it: one user's session with one database.

https://docs.tryton.org/latest/server/topics/rpc.html. An error comes with status 200, as `error: [kind, arguments]`. A
warning is such an error too; whoever accepts it says so by `res.user.warning` and asks again.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import requests

TIMEOUT_SECONDS = 60
# More warnings than one step has; the same one again and again would be a loop.
MOST_WARNINGS = 10

Record = dict[str, Any]


class TrytonError(Exception):
    """Tryton did not do it. `kind` is its word: UserError, DomainValidationError, AccessError …"""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


class TrytonUnreachable(TrytonError):
    """No answer, or none of Tryton's: whether it was done is not known."""

    def __init__(self, message: str) -> None:
        super().__init__("unreachable", message)


class TrytonRpc:
    """One user's calls, from any thread; logs in at the first call, and again when the session is over."""

    def __init__(self, url: str, user: str, password: str) -> None:
        """`url`: of the database, http://host:port/database."""
        self._url, self._user, self._password = f"{url}/rpc/", user, password
        self._local = threading.local()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._authorization: str | None = None
        self.user_id = 0
        self.context: Record = {}

    def call(self, method: str, *arguments: object) -> Any:
        """One method, with the user's context behind the arguments; warnings are accepted. Raises TrytonError."""
        for _ in range(MOST_WARNINGS):
            try:
                return self._session_call(method, arguments)
            except _Warned as warning:
                # Once, not always; only an administrator may write into the list of accepted warnings itself.
                self._session_call("model.res.user.warning.skip", (warning.name, False))
        raise TrytonError("UserWarning", f"{method} warns without end")

    def create(self, model: str, *values: Record) -> list[int]:
        return self.call(f"model.{model}.create", list(values))

    def write(self, model: str, ids: Sequence[int], values: Record) -> None:
        self.call(f"model.{model}.write", list(ids), values)

    def read(self, model: str, ids: Sequence[int], fields: Sequence[str], **context: object) -> list[Record]:
        """The records by their ids; a field of another record is in `name.`. `context`: beside the user's own."""
        if not ids:
            return []
        arguments = (list(ids), list(fields))
        return self._session_call(f"model.{model}.read", arguments, context)

    def search(
        self, model: str, domain: Sequence[object], fields: Sequence[str], *, order: Sequence[object] | None = None
    ) -> list[Record]:
        return self.call(f"model.{model}.search_read", list(domain), 0, None, order, list(fields))

    def press(self, model: str, button: str, ids: Sequence[int]) -> Any:
        """What a person does who presses this button on these records."""
        return self.call(f"model.{model}.{button}", list(ids))

    def wizard(self, name: str, model: str, ids: Sequence[int], **forms: tuple[Record, str]) -> None:
        """Go through a wizard opened on these records: for each form its values, and the state that follows."""
        context = {"active_model": model, "active_id": ids[0], "active_ids": list(ids)}
        session, *_ = self._session_call(f"wizard.{name}.create", (), context)
        for form, (values, state) in forms.items():
            self._session_call(f"wizard.{name}.execute", (session, {form: values}, state), context)
        self._session_call(f"wizard.{name}.delete", (session,), context)

    def login(self) -> None:
        """Open a session. Raises TrytonError where Tryton does not know the user, or not with this password."""
        with self._lock:
            self._authorization = None
            parameters = {"password": self._password, "device_cookie": None}
            answer = self._post("common.db.login", [self._user, parameters, "en"])
            if not answer:
                raise TrytonError("LoginException", f"the user {self._user} cannot log in")
            self.user_id, token = answer[0], answer[1]
            words = f"{self._user}:{self.user_id}:{token}".encode()
            self._authorization = f"Session {base64.b64encode(words).decode()}"
            preferences = self._post("model.res.user.get_preferences", [True, {}])
            self.context = {"language": "en", "company": preferences.get("company")}

    def _session_call(self, method: str, arguments: Sequence[object], context: Record | None = None) -> Any:
        """`context`: what is added to the user's own."""
        for attempt in (1, 2):
            if self._authorization is None:
                self.login()
            try:
                return self._post(method, [*arguments, {**self.context, **(context or {})}])
            except _SessionOver:
                if attempt == 2:
                    raise TrytonError("session", "a new session is not accepted") from None
                self._authorization = None
        raise AssertionError("unreachable")

    def _post(self, method: str, parameters: list[object]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        body = {"id": next(self._numbers), "method": method, "params": parameters}
        try:
            reply = self._session().post(
                self._url, data=json.dumps(body, default=_typed), headers=headers, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise TrytonUnreachable(f"{method}: {type(error).__name__}") from None
        if reply.status_code == 401:
            raise _SessionOver
        if reply.status_code != 200:
            raise TrytonUnreachable(f"{method}: status {reply.status_code}")
        try:
            answer = json.loads(reply.content, object_hook=_untyped)
        except ValueError:
            raise TrytonUnreachable(f"{method}: no JSON") from None
        if answer.get("error"):
            raise _error(method, answer["error"])
        return answer.get("result")

    def _session(self) -> requests.Session:
        """One for each thread. No proxy and no ~/.netrc: it is this machine."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session


class _SessionOver(Exception):
    """The session has ended; Tryton asks for the password again."""


class _Warned(Exception):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def _error(method: str, error: object) -> Exception:
    kind, arguments = (error[0], error[1]) if isinstance(error, list) and len(error) >= 2 else (str(error), "")
    if kind == "UserWarning" and isinstance(arguments, list):
        return _Warned(str(arguments[0]))
    words = arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
    return TrytonError(str(kind), f"{method}: {words[:500]}")


def _typed(value: object) -> object:
    """What JSON has no word for, as Tryton writes it."""
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime):
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime", **{name: getattr(value, name) for name in names}}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(type(value).__name__)


def _untyped(value: Record) -> object:
    match value.get("__class__"):
        case "Decimal":
            return Decimal(value["decimal"])
        case "datetime":
            # Tryton's times are UTC and do not say so.
            names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
            return datetime(*(value[name] for name in names))  # noqa: DTZ001
        case "date":
            return date(value["year"], value["month"], value["day"])
        case "bytes" | "bytearray":
            return base64.b64decode(value["base64"])
        case _:
            return value
