"""`/authorize`: a supervisor sends a seller to Amazon's consent page, and takes back what the seller decides there.

Amazon sends the browser back from its own site, so the session's cookie, which no other site's link carries, is not
with it. A cookie for this one purpose is: it names the browser, not the person. The person is whoever asked for the
consent, if they are still logged in and may still authorize. The address with the code is answered by a redirect to
one without, and shown by no page.
"""

from __future__ import annotations

import html
import logging
import secrets
from collections.abc import Sequence
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from orders_pipeline.audit.log import current_actor, person_actor
from orders_pipeline.channels.amazon.auth.consent import STATE_LIFE, Consent
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.operations.authorize import (
    CALLBACK_PATH,
    WORDS,
    AccountAuthorization,
    ConsentRefused,
    NotPossible,
    Outcome,
    Returned,
    account_authorizations,
    begin_consent,
    finish_consent,
    read_returned,
    refuse_consent,
    take_consent,
)
from orders_pipeline.operations.deployment import Deployment, UnknownAccount
from orders_pipeline.settings import SettingsError
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.web.access import Access
from orders_pipeline.web.forms import read_fields
from orders_pipeline.web.login import page
from orders_pipeline.web.origins import Refusal, stays_on_this_machine
from orders_pipeline.web.sessions import SessionKeyError
from orders_pipeline.web.visitor import Visitor, visitor_of
from orders_pipeline.work.workers import error_location

AUTHORIZE_PATH = "/authorize"
BEGIN_PATH = f"{AUTHORIZE_PATH}/begin"
# Where the browser is sent on from the callback: an address without a secret, which says in words how it went.
RETURNED_PATH = f"{AUTHORIZE_PATH}/returned"
# Paths to which Amazon's site sends a browser, with no session's cookie.
FROM_AMAZON = (CALLBACK_PATH, RETURNED_PATH)
_QUERY = "orders_pipeline.hidden_query"
COOKIE = "orders_pipeline_authorize"
# Anybody may call the callback: each costs a query, and one that is asked for a call to Amazon.
_AT_ONCE = 4
_FORBIDDEN, _BAD, _CONFLICT, _UNAVAILABLE = 403, 400, 409, 503
_logger = logging.getLogger("orders_pipeline.web")

_ACCOUNT = """<section><h2>{account}</h2><p>Seller {seller}: {words}.</p>{form}</section>"""
_FORM = """<form method="post" action="{begin}"><input type="hidden" name="account" value="{account}">
<button>Authorize at Amazon</button></form>"""
_NOT_STORED = """<p>To use an authorization from here, set its AMAZON_LWA_REFRESH_TOKEN to <code>stored</code>.</p>"""
_ON_TO_AMAZON = """<meta http-equiv="refresh" content="0;url={url}"><p>On to Amazon, where the seller of account
<b>{account}</b> decides.</p><p><a href="{url}" rel="noreferrer">Open Amazon's page</a></p>"""
_RETURNED = """<p{wrong}>{words}</p><p><a href="{authorize}">Back to the accounts</a></p>"""


def hide_query(scope: Scope) -> None:
    """Take the query of a consent that comes back out of the address, which servers write into their access logs.

    For whoever passes the request on: uvicorn logs the address from this same scope, once it was answered.
    """
    if scope["path"] == CALLBACK_PATH:
        scope[_QUERY], scope["query_string"] = scope["query_string"], b""


class Authorize:
    """The routes, over one deployment."""

    def __init__(self, deployment: Deployment, access: Access) -> None:
        self._deployment = deployment
        self._access = access
        self._limiter = CapacityLimiter(_AT_ONCE)

    def routes(self) -> Sequence[Route]:
        return [
            Route(AUTHORIZE_PATH, self._show, methods=["GET"]),
            Route(BEGIN_PATH, self._begin, methods=["POST"]),
            Route(CALLBACK_PATH, self._take_back, methods=["GET"]),
            Route(RETURNED_PATH, self._tell, methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        visitor = visitor_of(request.scope)
        if visitor is None or not visitor.role.may_authorize:
            return _refused("A supervisor may authorize accounts; your role may not.", _FORBIDDEN)
        try:
            found = await to_thread.run_sync(lambda: account_authorizations(self._deployment), limiter=self._limiter)
        except (SettingsError, SQLAlchemyError, EmbeddedPostgresError) as error:
            return _unavailable(error)
        return page("<h1>Accounts</h1>" + "".join(_shown(one) for one in found))

    async def _begin(self, request: Request) -> Response:
        visitor = visitor_of(request.scope)
        if visitor is None or not visitor.may_change or not visitor.role.may_authorize:
            return _refused("A supervisor may authorize accounts, where the UI is not read-only.", _FORBIDDEN)
        fields = await read_fields(request)
        account_ids = (fields or {}).get("account", [])
        if len(account_ids) != 1:
            return _refused("The form names no account.", _BAD)
        browser = secrets.token_urlsafe(32)

        def begin() -> str:
            return begin_consent(
                self._deployment.account(account_ids[0]),
                asked_by=_actor(visitor),
                redirect_uri=self._redirect_uri(request),
                session_id=self._access.session_id(request.scope),
                browser=browser,
            )

        try:
            url = await to_thread.run_sync(begin, limiter=self._limiter)
        except UnknownAccount:
            return _refused("This account is not served.", _BAD)
        except NotPossible as error:
            return _refused(str(error), _CONFLICT)
        except (SettingsError, SessionKeyError, SQLAlchemyError, EmbeddedPostgresError) as error:
            return _unavailable(error)
        # A form's redirect to another site is forbidden to our pages (form-action): the page leads on by itself.
        answer = page(_ON_TO_AMAZON.format(url=html.escape(url, quote=True), account=html.escape(account_ids[0])))
        self._set_cookie(request, answer, browser, int(STATE_LIFE.total_seconds()))
        return answer

    async def _take_back(self, request: Request) -> Response:
        returned = read_returned(request.scope.get(_QUERY, b"").decode("latin-1"))
        browser = request.cookies.get(_cookie_name(request), "")
        try:
            outcome = Outcome.UNREADABLE
            if returned is not None:
                outcome = await to_thread.run_sync(self._finish, request, returned, browser, limiter=self._limiter)
        except (SettingsError, SQLAlchemyError, EmbeddedPostgresError, VaultError) as error:
            outcome = _not_taken(error)
        answer = RedirectResponse(f"{RETURNED_PATH}?outcome={quote(outcome)}", status_code=303)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _finish(self, request: Request, returned: Returned, browser: str) -> Outcome:
        try:
            consent = take_consent(self._deployment, returned, browser)
            if not self._may_still(request, consent):
                refuse_consent(self._deployment, consent, Outcome.OTHER_PERSON)
                return Outcome.OTHER_PERSON
            finish_consent(self._deployment, consent, returned)
        except ConsentRefused as refused:
            # Its cause is an answer of Amazon's, whose texts hold no code.
            why = f": {refused.__cause__}" if refused.__cause__ is not None else ""
            _logger.warning("A consent was refused (%s)%s", refused.outcome, why)
            return refused.outcome
        return Outcome.DONE

    def _may_still(self, request: Request, consent: Consent) -> bool:
        found = self._access.comes_back(request.scope, consent.session_id)
        return not isinstance(found, Refusal) and found.role.may_authorize and _actor(found) == consent.asked_by

    async def _tell(self, request: Request) -> Response:
        given = request.query_params.get("outcome", "")
        outcome = Outcome(given) if given in set(Outcome) else Outcome.UNREADABLE
        is_done = outcome is Outcome.DONE
        words = html.escape(WORDS[outcome])
        body = _RETURNED.format(words=words, wrong="" if is_done else ' class="wrong"', authorize=AUTHORIZE_PATH)
        return page(body, 200 if is_done else _CONFLICT)

    def _redirect_uri(self, request: Request) -> str:
        """As it is registered at Amazon: below ORDERS_UI_URL, or on this machine."""
        ui_url = self._deployment.settings.alerts.ui_url
        return f"{ui_url or str(request.base_url).rstrip('/')}{CALLBACK_PATH}"

    def _set_cookie(self, request: Request, answer: Response, value: str, seconds: int) -> None:
        answer.set_cookie(
            _cookie_name(request),
            value,
            max_age=seconds,
            path="/",
            secure=not stays_on_this_machine(request.headers),
            httponly=True,
            # Sent along when Amazon's page leads back here, and with nothing that another page loads or posts.
            samesite="lax",
        )


def _cookie_name(request: Request) -> str:
    # Two checkouts on one host keep theirs apart by the port.
    name = f"{COOKIE}_{request.url.port or 443}"
    return name if stays_on_this_machine(request.headers) else f"__Host-{name}"


def _actor(visitor: Visitor) -> str:
    return person_actor(visitor.name) if visitor.name else current_actor()


def _shown(one: AccountAuthorization) -> str:
    account = html.escape(one.account_id, quote=True)
    return _ACCOUNT.format(
        account=account,
        seller=html.escape(one.seller_id),
        words=html.escape(one.words),
        form=_FORM.format(begin=BEGIN_PATH, account=account) if one.is_stored else _NOT_STORED,
    )


def _refused(sentence: str, status: int) -> Response:
    return page(f'<p class="wrong">{html.escape(sentence)}</p><p><a href="{AUTHORIZE_PATH}">Back</a></p>', status)


def _not_taken(error: Exception) -> Outcome:
    _logger.error("A consent could not be taken: %s", error_location(error))
    return Outcome.NOT_REACHED


def _unavailable(error: Exception) -> Response:
    _logger.error("The page of authorizations cannot be shown: %s", error_location(error))
    return _refused("The accounts cannot be read now. The log of the UI says why.", _UNAVAILABLE)
