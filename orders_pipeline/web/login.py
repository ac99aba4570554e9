"""The login's pages: plain HTML, no script. A session is a cookie that no script reads and no other site sends."""

from __future__ import annotations

import html
from dataclasses import dataclass
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from orders_pipeline.web.access import LoginAccess, LoginRequired, refusal_of_all
from orders_pipeline.web.forms import read_fields
from orders_pipeline.web.headers import PLAIN_PAGE_POLICY
from orders_pipeline.web.journal import Journal
from orders_pipeline.web.lockout import Lockout
from orders_pipeline.web.origins import Refusal, stays_on_this_machine
from orders_pipeline.web.sessions import SESSION_SECONDS, SessionKeyError
from orders_pipeline.web.users import PASSWORD_CHARACTERS_AT_MOST, User, UsersFileError

LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
# A password costs 64 MiB and some 50 ms to check: a crowd at the door must not take the machine.
_CHECKS_AT_ONCE = 2
_WAITING_AT_MOST = 20
# The same sentence for a wrong name, a wrong password and a lock: none of them tells which names there are.
_REFUSED = "That is not right. After ten wrong tries a name is locked for half an hour."

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>orders_pipeline</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:22rem;margin:15vh auto;padding:0 1rem;color:#1a1a2e}}
input,button{{font:inherit;display:block;width:100%;box-sizing:border-box;margin:.25rem 0 1rem;padding:.5rem}}
.wrong{{color:#b00020}}</style></head><body><h1>orders_pipeline</h1>{body}</body></html>"""
_FORM = """{wrong}<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<label>Name<input name="name" autocomplete="username" autofocus required maxlength="64"></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form>"""
_LOGOUT = """<p>You are <b>{name}</b> ({role}).</p><form method="post" action="/logout"><button>Log out</button></form>
<p><a href="/">Back</a></p>"""


def page(body: str, status: int = 200) -> HTMLResponse:
    """A page of ours; `body` is HTML."""
    return HTMLResponse(
        _PAGE.format(body=body), status_code=status, headers={"Content-Security-Policy": PLAIN_PAGE_POLICY}
    )


def login_address(path: str) -> str:
    return f"{LOGIN_PATH}?next={quote(path, safe='')}"


@dataclass(frozen=True, slots=True)
class _Form:
    name: str
    password: str
    next: str


class Login:
    """The routes, and what they share: the count of failures, and a limit to how many passwords are checked at once."""

    def __init__(self, access: LoginAccess, journal: Journal, lockout: Lockout | None = None) -> None:
        self._access = access
        self._journal = journal
        self._lockout = lockout or Lockout()
        self._limiter = CapacityLimiter(_CHECKS_AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            Route(LOGIN_PATH, self._ask, methods=["GET"]),
            Route(LOGIN_PATH, self._log_in, methods=["POST"]),
            Route(LOGOUT_PATH, self._show, methods=["GET"]),
            Route(LOGOUT_PATH, self._log_out, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        return _login_page(_local(request.query_params.get("next", "/")))

    async def _log_in(self, request: Request) -> Response:
        form = await _read_form(request)
        if form is None:
            return _login_page("/", _REFUSED, status=400)
        if self._limiter.statistics().tasks_waiting >= _WAITING_AT_MOST:
            return _login_page(form.next, "Too many people are logging in. Try again in a minute.", status=429)
        try:
            # Checked in a thread: hashing, and the audit log's database.
            user = await to_thread.run_sync(self._check, form.name, form.password, limiter=self._limiter)
        except UsersFileError as error:
            refusal = refusal_of_all(error)
            return _login_page(form.next, refusal.why, status=refusal.status)
        if user is None:
            return _login_page(form.next, _REFUSED, status=401)
        answer = RedirectResponse(form.next, status_code=303)
        self._set_cookie(request, answer, self._access.sessions.begin(user), SESSION_SECONDS)
        return answer

    def _check(self, name: str, password: str) -> User | None:
        found = self._access.users.find(name)
        known_name = name if found else None
        if not self._lockout.begin(name, found.fingerprint if found else None):
            # Without the name: a stranger could fill the audit log with tries at a lock that it already tells of.
            self._journal.login_refused(None, "locked")
            return None
        user = self._access.users.verify(name, password)
        if user is None:
            self._journal.login_refused(known_name, "locked" if self._lockout.is_locked(name) else "failed")
            return None
        self._lockout.succeeded(name)
        self._journal.logged_in(user.name)
        return user

    async def _show(self, request: Request) -> Response:
        visitor = self._access.visitor(request.scope)
        if isinstance(visitor, Refusal):
            if isinstance(visitor, LoginRequired):
                return RedirectResponse(LOGIN_PATH, status_code=303)
            return _refused_page(visitor)
        return page(_LOGOUT.format(name=html.escape(visitor.name or ""), role=visitor.role))

    async def _log_out(self, request: Request) -> Response:
        try:
            session = self._access.session(request.scope)
            if session is not None:
                await to_thread.run_sync(self._access.sessions.end, session)
        except SessionKeyError as error:
            return _refused_page(refusal_of_all(error))
        if session is not None:
            await to_thread.run_sync(self._journal.logged_out, session.name)
        answer = RedirectResponse(LOGIN_PATH, status_code=303)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _set_cookie(self, request: Request, answer: Response, value: str, seconds: int) -> None:
        is_https = not stays_on_this_machine(request.headers)
        answer.set_cookie(
            f"__Host-{self._access.cookie}" if is_https else self._access.cookie,
            value,
            max_age=seconds,
            path="/",
            secure=is_https,
            httponly=True,
            samesite="strict",
        )


def _refused_page(refusal: Refusal) -> Response:
    return page(f'<p class="wrong">{html.escape(refusal.why)}</p>', refusal.status)


def _login_page(then: str, wrong: str = "", status: int = 200) -> Response:
    shown = f'<p class="wrong">{html.escape(wrong)}</p>' if wrong else ""
    return page(_FORM.format(wrong=shown, next=html.escape(then, quote=True)), status)


async def _read_form(request: Request) -> _Form | None:
    fields = await read_fields(request)
    if fields is None:
        return None
    name, password = fields.get("name", []), fields.get("password", [])
    if len(name) != 1 or len(password) != 1 or len(password[0]) > PASSWORD_CHARACTERS_AT_MOST or len(name[0]) > 64:
        return None
    return _Form(name[0], password[0], _local(fields.get("next", ["/"])[0]))


def _local(path: str) -> str:
    """A path of ours: `//host` and `/\\host` would be another site's."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_local else "/"
