"""Login with Amazon: POST /auth/o2/token.

Source of the error words: Amazon's LWA documentation as quoted in third-party integrations, read 2026-11-20.
"""

from __future__ import annotations

import json
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from orders_pipeline.sandbox.amazon.accounts import GRANTLESS_SCOPES
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.faults import AFTER, BEFORE, broken_answer

OPERATION = "token"

DESCRIPTIONS = {
    "invalid_client": "Client authentication failed",
    "invalid_grant": (
        "The request has an invalid grant parameter : refresh_token. "
        "User may have revoked or didn't grant the permission."
    ),
    "invalid_request": "The request is missing a required parameter, or has an invalid one.",
    "invalid_scope": "The requested scope is invalid, unknown or malformed.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
}


class Login:
    def __init__(self, state: AmazonState) -> None:
        self._state = state

    async def endpoint(self, request: Request) -> Response:
        state = self._state
        raw = await request.body()
        fault = state.faults.take(BEFORE, OPERATION)
        response = await broken_answer(fault, request) if fault else None
        if response is None:
            outcome, body = self._answer(request, raw)
            status = 200 if outcome == "issued" else 401 if outcome == "invalid_client" else 400
            text = json.dumps(body)
            response = Response(text, status_code=status, media_type="application/json")
            after = state.faults.take(AFTER, OPERATION)
            if after:
                response = await broken_answer(after, request) or response
        else:
            outcome = "broken"
        response.headers["Date"] = format_datetime(state.clock.now(), usegmt=True)
        state.ledger.record_token(outcome)
        return response

    def _answer(self, request: Request, raw: bytes) -> tuple[str, dict[str, Any]]:
        state = self._state
        wanted = state.faults.take(("invalid_grant", "invalid_client", "invalid_scope"), OPERATION)
        if wanted:
            return _refused(wanted.kind)
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return _refused("invalid_request")
        form = dict(parse_qsl(raw.decode("utf-8", "replace")))
        application = state.accounts.application
        if form.get("client_id") != application.client_id or (
            form.get("client_secret") not in application.client_secrets
        ):
            return _refused("invalid_client")
        grant = form.get("grant_type")
        if grant == "refresh_token":
            # Amazon wants either a scope or a refresh token, never both.
            if "refresh_token" not in form or "scope" in form:
                return _refused("invalid_request")
            seller = state.accounts.seller_of_refresh_token(form["refresh_token"])
            if seller is None:
                return _refused("invalid_grant")
            token = state.accounts.issue(seller, None)
            return "issued", {
                "access_token": token.value,
                "refresh_token": seller.refresh_token,
                "token_type": "bearer",
                "expires_in": state.accounts.token_seconds,
            }
        if grant == "authorization_code":
            if not {"code", "redirect_uri"} <= form.keys():
                return _refused("invalid_request")
            seller = state.accounts.exchange(form["code"], form["redirect_uri"])
            if seller is None:
                return _refused("invalid_grant", "The request has an invalid grant parameter : code.")
            token = state.accounts.issue(seller, None)
            return "issued", {
                "access_token": token.value,
                "refresh_token": seller.refresh_token,
                "token_type": "bearer",
                "expires_in": state.accounts.token_seconds,
            }
        if grant == "client_credentials":
            if form.get("scope") not in GRANTLESS_SCOPES:
                return _refused("invalid_scope")
            token = state.accounts.issue(None, form["scope"])
            return "issued", {
                "access_token": token.value,
                "scope": form["scope"],
                "token_type": "bearer",
                "expires_in": state.accounts.token_seconds,
            }
        return _refused("unsupported_grant_type")


def _refused(error: str, description: str | None = None) -> tuple[str, dict[str, Any]]:
    return error, {"error": error, "error_description": description or DESCRIPTIONS[error]}
