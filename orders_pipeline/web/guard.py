"""The guard: every request and every websocket passes here before Dagster sees it.

Nothing changes by a GET, by another site's page, by somebody unknown, or by a viewer. What is not named here as a way
to change something is no way to.
"""

from __future__ import annotations

import hmac
import html
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from anyio import to_thread
from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orders_pipeline.web import graphql_requests as graphql
from orders_pipeline.web.access import Access, LoginAccess, LoginRequired, OpenAccess
from orders_pipeline.web.authorize import BEGIN_PATH, FROM_AMAZON, hide_query
from orders_pipeline.web.headers import secure
from orders_pipeline.web.journal import Journal
from orders_pipeline.web.login import LOGIN_PATH, LOGOUT_PATH, login_address, page
from orders_pipeline.web.metrics import METRICS_PATH
from orders_pipeline.web.origins import Origins, Refusal, was_passed_on
from orders_pipeline.web.visitor import Role, Visitor, attach
from orders_pipeline.web.webhooks import WEBHOOK_PATH

GRAPHQL_PATH = "/graphql"
REPORT_PREFIX = "/report_"
# What is done at the order board is POSTed below it, by a page of ours.
BOARD_ACTIONS = "/board/orders/"
# What a browser asks for before anybody has logged in, where there is a login.
_PUBLIC_PATHS = (LOGIN_PATH, LOGOUT_PATH, "/favicon.ico", "/favicon.png", "/favicon.svg")
_FORMS = (LOGIN_PATH, LOGOUT_PATH)
# The websocket's close code for "policy violation".
_POLICY_VIOLATION = 1008
_logger = logging.getLogger("orders_pipeline.web")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What the guard goes by."""

    origins: Origins
    access: Access
    report_token: SecretStr | None = None
    read_only: bool = False
    # Where reports are told of; without one none is taken.
    journal: Journal | None = None
    metrics_token: SecretStr | None = None


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send, scope["path"]))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method, headers = scope["path"], scope["method"], Headers(scope=scope)
        hide_query(scope)
        checked = self._without_login(path, headers, method)
        checked = checked or self._refusal(headers, method) or self._visitor(scope, headers)
        if isinstance(checked, Refusal):
            await self._refuse(checked, scope, receive, send)
            return
        if path.startswith(REPORT_PREFIX) and self._rules.journal is not None:
            # In a thread: the audit log's database. If it cannot be told of, it does not happen.
            await to_thread.run_sync(self._rules.journal.reported, path)
        if path != GRAPHQL_PATH:
            is_change = path.startswith((REPORT_PREFIX, BOARD_ACTIONS)) or path == BEGIN_PATH
            may_change = is_change and checked.may_change and checked.role.may_change
            attach(scope, replace(checked, may_change=may_change))
            await self._app(scope, receive, send)
            return
        if method in ("GET", "HEAD"):
            is_page = "text/html" in headers.get("accept", "") and not scope["query_string"]
            if not is_page and not graphql.is_get_of_plain_query(scope["query_string"]):
                await self._refuse(Refusal("Nothing is changed by GET: POST it as JSON.", 405), scope, receive, send)
                return
            attach(scope, replace(checked, may_change=False))
            await self._app(scope, receive, send)
            return
        await self._graphql(scope, receive, send, checked)

    async def _graphql(self, scope: Scope, receive: Receive, send: Send, visitor: Visitor) -> None:
        content_types = Headers(scope=scope).getlist("content-type")
        if len(content_types) != 1 or not graphql.is_json(content_types[0]):
            await self._refuse(
                Refusal("GraphQL is asked with Content-Type: application/json.", 415), scope, receive, send
            )
            return
        body = await _read(receive)
        if body is None:
            await self._refuse(Refusal("The request is larger than two megabytes.", 413), scope, receive, send)
            return
        document = graphql.document_of(body)
        if document is None:
            refusal = Refusal("The request is not one JSON object with one query.", 400)
            await self._refuse(refusal, scope, receive, send)
            return
        may_change = visitor.may_change and visitor.role.may_change
        if not may_change and not graphql.is_plain_query(document):
            why = (
                "The UI is read-only."
                if self._rules.read_only
                else "You are a viewer: you may look, and change nothing."
            )
            await self._refuse(Refusal(why), scope, receive, send)
            return
        attach(scope, replace(visitor, may_change=may_change))
        await self._app(scope, _again(body, receive), send)

    def _without_login(self, path: str, headers: Headers, method: str) -> Visitor | Refusal | None:
        """Who comes without a session by right, or why they may not; None: everybody else."""
        if path == WEBHOOK_PATH:
            return self._webhook(headers, method)
        return self._from_amazon(headers, method) if path in FROM_AMAZON else None

    def _from_amazon(self, headers: Headers, method: str) -> Visitor | Refusal:
        """A browser that Amazon's consent page sent back: by a link of another site, and so without its session.

        Which browser and which person it is, is looked at behind the guard (web/authorize.py).
        """
        if method != "GET":
            return Refusal("Nothing is changed here.", 405)
        refusal = self._rules.origins.refusal(headers, method=method)
        if refusal is not None and refusal.is_link:
            refusal = None
        if refusal := refusal or self._passed_on(headers):
            return refusal
        return Refusal("The UI is read-only.") if self._rules.read_only else Visitor(None, Role.VIEWER)

    def _webhook(self, headers: Headers, method: str) -> Visitor | Refusal:
        """The warehouse, whose signature is looked at behind the guard: no login, and a proxy may pass it on.

        Our host names and origins are asked for as of everybody: a browser has no business here.
        """
        if refusal := self._rules.origins.refusal(headers, method=method):
            return refusal
        if method != "POST":
            return Refusal("A webhook is POSTed.", 405)
        return Refusal("The UI is read-only.") if self._rules.read_only else Visitor(None, Role.VIEWER)

    def _refusal(self, headers: Headers, method: str) -> Refusal | None:
        """Why nobody is answered, whoever it is; `method` is GET for a websocket's handshake."""
        return self._rules.origins.refusal(headers, method=method) or self._passed_on(headers)

    def _passed_on(self, headers: Headers) -> Refusal | None:
        if isinstance(self._rules.access, OpenAccess) and was_passed_on(headers):
            return Refusal(
                "A proxy passed this request on, and the UI has no login: set ORDERS_WEB_USERS_FILE (a login) or "
                "ORDERS_WEB_PROXY_HEADER (an authenticating proxy)."
            )
        return None

    def _visitor(self, scope: Scope, headers: Headers) -> Visitor | Refusal:
        """Who it is, `may_change` being whether this request is one by which something may be changed."""
        path, method = scope["path"], scope["method"]
        if path.startswith(REPORT_PREFIX):
            return self._reporter(headers, method)
        has_login = isinstance(self._rules.access, LoginAccess)
        is_form = method == "POST" and (
            (has_login and path in _FORMS) or path.startswith(BOARD_ACTIONS) or path == BEGIN_PATH
        )
        if method not in ("GET", "HEAD") and path != GRAPHQL_PATH and not is_form:
            return Refusal("Nothing is changed here.", 405)
        if method not in ("GET", "HEAD", "POST"):
            return Refusal("GraphQL is asked by POST.", 405)
        if is_form and not _is_own_form(headers):
            return Refusal("The form was sent by a page that is not the UI's own.")
        if has_login and path in _PUBLIC_PATHS:
            return Visitor(None, Role.VIEWER)
        if path == METRICS_PATH and (scraper := self._scraper(headers)) is not None:
            return scraper
        found = self._rules.access.visitor(scope)
        if isinstance(found, Refusal):
            return found
        return replace(found, may_change=method == "POST" and not self._rules.read_only)

    def _reporter(self, headers: Headers, method: str) -> Visitor | Refusal:
        """A program that reports an asset's or a check's result without a run: by its token, and never otherwise."""
        token = self._rules.report_token
        if token is None or self._rules.journal is None or method != "POST" or self._rules.read_only:
            return Refusal(
                "The report_* endpoints are closed: ORDERS_WEB_REPORT_TOKEN opens them to who has the token."
            )
        if not _is_bearer(headers.get("authorization", ""), token):
            return Refusal("Give the token of ORDERS_WEB_REPORT_TOKEN as Authorization: Bearer …", 401)
        return Visitor(None, Role.OPERATOR, may_change=True)

    def _scraper(self, headers: Headers) -> Visitor | Refusal | None:
        """A program that reads the metrics by their token; None: it gave none, and is a person like any other."""
        given, token = headers.get("authorization"), self._rules.metrics_token
        if token is None or given is None:
            return None
        if not _is_bearer(given, token):
            return Refusal("Give the token of ORDERS_METRICS_TOKEN as Authorization: Bearer …", 401)
        return Visitor(None, Role.VIEWER)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        found = self._refusal(headers, "GET") or self._rules.access.visitor(scope)
        if isinstance(found, Refusal):
            _logger.warning("A websocket was refused: %s", found.why)
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": found.why[:120]})
            return
        attach(scope, replace(found, may_change=False))
        await self._app(scope, receive, _while_known(send, lambda: self._rules.access.visitor(scope)))

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        if not isinstance(refusal, LoginRequired):
            _logger.warning("A request was refused with %s: %s", refusal.status, refusal.why)
        await _answer(refusal, scope)(scope, receive, send)


def _answer(refusal: Refusal, scope: Scope) -> Response:
    path = str(scope["path"])
    headers = Headers(scope=scope)
    # A part of a page that is asked for by the page itself is no place for the login.
    is_page = (
        scope["method"] == "GET" and "text/html" in headers.get("accept", "") and headers.get("hx-request") is None
    )
    if refusal.is_link and path != GRAPHQL_PATH:
        # The person who followed a link from elsewhere may go on, by a click on a page of ours.
        link = html.escape(_address(scope), quote=True)
        return page(f'<p>This link came from another site.</p><p><a href="{link}">Open it</a></p>', refusal.status)
    if isinstance(refusal, LoginRequired) and is_page and path != GRAPHQL_PATH:
        return RedirectResponse(login_address(_address(scope)), status_code=303)
    if path == GRAPHQL_PATH:
        return JSONResponse({"errors": [{"message": refusal.why}]}, status_code=refusal.status)
    return PlainTextResponse(f"{refusal.why}\n", status_code=refusal.status)


def _address(scope: Scope) -> str:
    """The path and query that were asked for, as a link on a page of ours."""
    query = scope["query_string"].decode("latin-1")
    return "/" + quote(str(scope["path"]).lstrip("/\\")) + (f"?{query}" if query else "")


def _is_bearer(given: str, token: SecretStr) -> bool:
    return hmac.compare_digest(given.encode("latin-1"), f"Bearer {token.get_secret_value()}".encode())


def _is_own_form(headers: Headers) -> bool:
    """Browsers say where a form was sent from; who says nothing is no browser, and has nothing to log in to."""
    return bool(headers.get("origin")) or headers.get("sec-fetch-site") == "same-origin"


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > graphql.BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body, as if it had not been read yet."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send, path: str) -> Send:
    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            secure(MutableHeaders(scope=message), path)
        await send(message)

    return send_secured


def _while_known(send: Send, visitor: Callable[[], Visitor | Refusal]) -> Callable[[Message], Awaitable[None]]:
    """Nothing more is sent to who has logged out, or is no user any more."""
    closed = False

    async def send_known(message: Message) -> None:
        nonlocal closed
        if closed:
            return
        if isinstance(visitor(), Refusal):
            closed = True
            message = {"type": "websocket.close", "code": _POLICY_VIOLATION}
        await send(message)

    return send_known
