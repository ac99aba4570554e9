"""The headers that keep a page of somebody else from framing, sniffing or caching what the web port answers."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

# What Dagster's own pages need, and nothing from anywhere else. Checked in a real browser (web/test_browser.py).
_UI_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self'; manifest-src 'self'; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
# Our own pages: text, a form, and a style.
PLAIN_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_NO_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Scripts and styles of Dagster's build; its workers are scripts that load others, under the policy of their own answer.
_BUILD_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
# GraphiQL's page comes with its scripts inline, and without a nonce.
_GRAPHIQL_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
# Files whose names change with their content: they hold nothing of the shop.
# Below it addresses hold what is worth something for minutes; no page that follows is told of them. The page above has
# the form: of a page that tells nobody a browser says "Origin: null", and the form would be refused.
_TELLS_NOBODY = "/authorize/"
_CACHED = ("/_next/", "/vendor/", "/board/static/")


def ui_policy(nonce: str) -> str:
    return _UI_POLICY.format(nonce=nonce)


def secure(headers: MutableHeaders, path: str) -> None:
    """Set what is missing; a policy that the page brought is kept."""
    for name, value in _ALWAYS.items():
        headers[name] = value
    if path.startswith(_TELLS_NOBODY):
        headers["Referrer-Policy"] = "no-referrer"
    # Dagster's older spelling of Permissions-Policy: browsers complain of both.
    del headers["Feature-Policy"]
    if "content-security-policy" not in headers:
        headers["Content-Security-Policy"] = _policy(headers.get("content-type", ""), path)
    if not path.startswith(_CACHED):
        headers["Cache-Control"] = "no-store"


def _policy(content_type: str, path: str) -> str:
    if path.startswith(_CACHED):
        return _BUILD_POLICY
    return _GRAPHIQL_POLICY if path == "/graphql" and content_type.startswith("text/html") else _NO_PAGE_POLICY
