"""Login with Amazon: from the refresh token or the application's own credentials to an access token.

Nothing is signed: Amazon asks for no SigV4 since 2023-10-02.

| LWA answers | error | what it takes |
| --- | --- | --- |
| invalid_grant | AmazonRevoked, final | the seller authorises again |
| invalid_grant, of a consent's code | AmazonCodeRefused, final | the consent is asked for once more |
| invalid_client (with every secret) | AmazonClientInvalid, final | the right id and secret |
| unauthorized_client, invalid_scope, access_denied | AmazonRoleMissing, final | a role, or a published application |
| invalid_request, unsupported_grant_type | AmazonAuthError, final | a look at the settings |
| anything else, or nothing | AmazonUnavailable | time |
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any

import requests

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.auth.credentials import LOGIN as OPERATION
from orders_pipeline.channels.amazon.auth.credentials import Credentials
from orders_pipeline.channels.amazon.auth.tokens import Issued, life_of
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonClientInvalid,
    AmazonCodeRefused,
    AmazonError,
    AmazonRevoked,
    AmazonRoleMissing,
    AmazonUnavailable,
)
from orders_pipeline.channels.amazon.http.sessions import CONNECT_SECONDS, check_endpoint
from orders_pipeline.channels.amazon.timing import Deadline, Timing, retrying
from orders_pipeline.http.replies import BadBody, NoReply, Reply, exchange
from orders_pipeline.vault.errors import VaultError

TOKEN_PATH = "/auth/o2/token"  # noqa: S105 - a path
# From the connection to the last byte.
LOGIN_SECONDS = 15.0
LARGEST_TOKEN_BYTES = 64 * 1024
ATTEMPTS = 3
LONGEST_BACKOFF_SECONDS = 5.0
# A final refusal is remembered this long, so that a batch of a thousand orders asks once, not a thousand times.
REFUSAL_SECONDS = 60.0

_WHAT_TO_DO: dict[str, tuple[type[AmazonAuthError], str]] = {
    "invalid_grant": (
        AmazonRevoked,
        (
            "the refresh token is not valid: the seller took the authorisation back, or it has lapsed (after 365 "
            "days for a public application). Let the seller authorise the application again (`orders-pipeline "
            "authorize`)"
        ),
    ),
    "invalid_client": (
        AmazonClientInvalid,
        (
            "the client id, or every client secret, is wrong or has expired (a secret lives 180 days). Take both "
            "from the developer console and set AMAZON_LWA_CLIENT_ID and AMAZON_LWA_CLIENT_SECRET; a secret made "
            "minutes ago may take half an hour to work, so keep the old one in AMAZON_LWA_CLIENT_SECRET_PREVIOUS"
        ),
    ),
    "unauthorized_client": (
        AmazonRoleMissing,
        (
            "the application may not use this grant. Look in the developer console whether it is published, or "
            "authorised as a draft by this seller"
        ),
    ),
    "invalid_scope": (
        AmazonRoleMissing,
        (
            "the application may not ask for this scope: one in the status Sandbox gets no notifications. Move it "
            "to Production in the developer console"
        ),
    ),
    "access_denied": (AmazonRoleMissing, "access was denied. Look at the application's roles in the developer profile"),
    "invalid_request": (
        AmazonAuthError,
        (
            "the request was refused as malformed. Look whether AMAZON_LWA_* hold what the developer console "
            "shows, without spaces or quotes"
        ),
    ),
    "unsupported_grant_type": (AmazonAuthError, "the endpoint does not know this grant. Look at AMAZON_LWA_ENDPOINT"),
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    kind: type[AmazonAuthError]
    message: str
    code: str
    status: int
    until: float


class _SecretRefused(Exception):
    """This client secret is not taken; there may be another."""

    def __init__(self, status: int) -> None:
        super().__init__("invalid_client")
        self.status = status


@dataclass(frozen=True, slots=True)
class Consented:
    """What a consent's code was exchanged for."""

    refresh_token: str = field(repr=False)


class Login:
    """Obtains access tokens for one application and seller. Thread-safe."""

    def __init__(
        self,
        settings: AmazonSettings,
        session: requests.Session,
        timing: Timing,
        credentials: Credentials,
        *,
        total_seconds: float = LOGIN_SECONDS,
    ) -> None:
        self._settings = settings
        self._url = check_endpoint(settings.lwa_endpoint) + TOKEN_PATH
        self._session = session
        self._timing = timing
        self._credentials = credentials
        self._total_seconds = total_seconds
        # The one that worked last is tried first.
        self._working_secret: str | None = None
        self._refusals: dict[str, _Refusal] = {}
        self._guard = threading.Lock()

    def seller_token(self, deadline: Deadline) -> Issued:
        """An access token for the seller's own data. Raises AmazonAuthError (final) or AmazonUnavailable."""
        try:
            refresh_token = self._credentials.refresh_token()
        except VaultError as error:
            raise self._unavailable(None, f"the refresh token in the vault does not open: {error}") from None
        return self._refreshed(refresh_token, deadline)

    def try_refresh_token(self, refresh_token: str, deadline: Deadline) -> None:
        """Whether Amazon gives an access token for one that somebody typed. Raises AmazonError."""
        try:
            self._issued(_named("typed", refresh_token), _refresh_form(refresh_token), deadline)
        except AmazonRevoked as error:
            raise AmazonCodeRefused(
                "Amazon does not take this refresh token: it was cut short, belongs to another application, or was "
                "revoked. Nothing was stored.",
                operation=OPERATION,
                status=error.status,
                code=error.code,
            ) from None
        with self._guard:
            # The same token may have been refused a moment ago.
            self._refusals.pop(_named("refresh_token", refresh_token), None)

    def application_token(self, scope: str, deadline: Deadline) -> Issued:
        """An access token for what concerns no single seller."""
        return self._issued(scope, {"grant_type": "client_credentials", "scope": scope}, deadline)

    def exchange_code(self, code: str, redirect_uri: str, deadline: Deadline) -> Consented:
        """The refresh token for a consent's code, which lives five minutes and counts once. Raises AmazonError."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        try:
            body = self._asked(_named("code", code), form, deadline)
        except AmazonRevoked as error:
            raise AmazonCodeRefused(
                "Amazon does not take the consent's code any more: it lives five minutes, and counts once. Ask for "
                "consent again.",
                operation=OPERATION,
                status=error.status,
                code=error.code,
            ) from None
        refresh_token = body.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            raise self._unavailable(200, "without a refresh token")
        return Consented(refresh_token)

    def _refreshed(self, refresh_token: str, deadline: Deadline) -> Issued:
        try:
            issued = self._issued(_named("refresh_token", refresh_token), _refresh_form(refresh_token), deadline)
        except AmazonRevoked:
            self._credentials.refused(refresh_token)
            raise
        self._credentials.worked(refresh_token)
        return issued

    def _issued(self, what: str, form: dict[str, str], deadline: Deadline) -> Issued:
        body = self._asked(what, form, deadline)
        return Issued(body["access_token"], life_of(body.get("expires_in")))

    def _asked(self, what: str, form: dict[str, str], deadline: Deadline) -> dict[str, Any]:
        refusal = self._refusals.get(what)
        if refusal is not None and self._timing.monotonic() < refusal.until:
            raise refusal.kind(refusal.message, operation=OPERATION, status=refusal.status, code=refusal.code)
        retries = retrying(
            deadline, AmazonUnavailable, attempts=ATTEMPTS, first_seconds=0.3, longest_seconds=LONGEST_BACKOFF_SECONDS
        )
        return retries(self._with_any_secret, what, form)

    def _with_any_secret(self, what: str, form: dict[str, str]) -> dict[str, Any]:
        status = 401
        for secret in sorted(self._credentials.client_secrets(), key=lambda one: one != self._working_secret):
            try:
                body = self._ask(what, {**form, "client_id": self._settings.client_id, "client_secret": secret})
            except _SecretRefused as refused:
                status = refused.status
                continue
            self._working_secret = secret
            return body
        raise self._refused(what, "invalid_client", status)

    def _ask(self, what: str, form: dict[str, str]) -> dict[str, Any]:
        try:
            reply = exchange(
                self._session,
                "POST",
                self._url,
                form=form,
                timeouts=(CONNECT_SECONDS, LOGIN_SECONDS),
                total_seconds=self._total_seconds,
                largest_bytes=LARGEST_TOKEN_BYTES,
            )
        except NoReply as error:
            raise self._unavailable(None, str(error)) from None
        body = _json(reply)
        if reply.status == 200:
            token = body.get("access_token") if body else None
            if not isinstance(token, str) or not token:
                # Of Login with Amazon, whichever order asked: none of them is to blame.
                said = reply.problem or "without an access token: look whether AMAZON_LWA_ENDPOINT is Amazon's"
                raise self._unavailable(200, said)
            return body or {}
        code = body.get("error") if body else None
        if code == "invalid_client":
            raise _SecretRefused(reply.status)
        if isinstance(code, str) and code in _WHAT_TO_DO and reply.status < 500:
            raise self._refused(what, code, reply.status)
        if (host := reply.redirect) is not None:
            raise self._unavailable(reply.status, f"a redirect to {host}, which is not followed")
        raise self._unavailable(reply.status, reply.problem or "no known error code")

    def _refused(self, what: str, code: str, status: int) -> AmazonError:
        kind, reason = _WHAT_TO_DO[code]
        message = f"{OPERATION} answered {status} {code} for seller {self._settings.seller_id}: {reason}."
        with self._guard:
            now = self._timing.monotonic()
            self._refusals = {one: refusal for one, refusal in self._refusals.items() if refusal.until > now}
            self._refusals[what] = _Refusal(kind, message, code, status, now + REFUSAL_SECONDS)
        return kind(message, operation=OPERATION, status=status, code=code)

    def _unavailable(self, status: int | None, detail: str) -> AmazonUnavailable:
        answered = f"answered {status} ({detail})" if status else f"did not answer ({detail})"
        return AmazonUnavailable(
            f"{OPERATION} {answered} for seller {self._settings.seller_id}. It is tried again; if it goes on, look at "
            "this machine's network and at Amazon's status page.",
            operation=OPERATION,
            status=status,
        )


def _refresh_form(refresh_token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token}


def _named(what: str, secret: str) -> str:
    """What is asked for, told apart from the same with another token; it gives nothing of the token away."""
    return f"{what} {hashlib.sha256(secret.encode()).hexdigest()[:16]}"


def _json(reply: Reply) -> dict[str, Any] | None:
    try:
        body = reply.json()
    except BadBody:
        return None
    return body if isinstance(body, dict) else None
