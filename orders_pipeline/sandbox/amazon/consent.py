"""Seller Central's consent page: /apps/authorize/consent, and where it sends the browser.

Sources: Amazon's guide "Website authorization workflow" (parameters, the code's five minutes, version=beta for drafts);
the errors MD1000, MD5101 and CONSENT_LIMIT_REACHED as third parties quote them, read 2026-11-20.
"""

from __future__ import annotations

import html
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from orders_pipeline.sandbox.amazon.state import AmazonState

PATH = "/apps/authorize/consent"
_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Sandbox Seller Central</title></head><body>
<h1>Sandbox Seller Central</h1>{body}</body></html>"""
_FORM = """<p>An application asks for access to your selling account.</p><form method="post" action="{path}">{hidden}
<label>Log in as <select name="seller">{sellers}</select></label>
<button name="decision" value="authorize">Authorize</button><button name="decision" value="deny">Deny</button></form>"""


class Consents:
    """The page and its form. Which seller is logged in is chosen on the page."""

    def __init__(self, state: AmazonState) -> None:
        self._accounts = state.accounts

    async def show(self, request: Request) -> Response:
        query = dict(request.query_params)
        if problem := self._problem(query):
            return _error(problem)
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in query.items()
        )
        sellers = "".join(f"<option>{html.escape(seller_id)}</option>" for seller_id in self._accounts.sellers)
        return HTMLResponse(_PAGE.format(body=_FORM.format(path=PATH, hidden=hidden, sellers=sellers)))

    async def decide(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        if problem := self._problem(form):
            return _error(problem)
        redirect_uri = form.get("redirect_uri") or self._accounts.application.redirect_uris[0]
        answer = {"state": form["state"]}
        if form.get("decision") == "authorize":
            seller_id = form.get("seller", "")
            code = self._accounts.consent(seller_id, redirect_uri)
            if code is None:
                return _error("CONSENT_LIMIT_REACHED")
            answer |= {"selling_partner_id": seller_id, "spapi_oauth_code": code}
        else:
            answer |= {"error": "access_denied"}
        return RedirectResponse(f"{redirect_uri}?{urlencode(answer)}", status_code=302)

    def _problem(self, given: dict[str, str]) -> str | None:
        application = self._accounts.application
        if given.get("application_id") != application.application_id or not given.get("state"):
            return "MD1000"
        if application.is_draft and given.get("version") != "beta":
            return "MD1000"
        if given.get("redirect_uri", application.redirect_uris[0] if application.redirect_uris else "") not in (
            application.redirect_uris
        ):
            return "MD5101"
        return None


def _error(code: str) -> Response:
    return HTMLResponse(_PAGE.format(body=f"<p>There was an error ({html.escape(code)}).</p>"), status_code=400)
