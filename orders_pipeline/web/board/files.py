"""The board's own files: style, script, and htmx as the npm package `htmx.org` has it, pinned by its hash.

Each is served under a name with its hash in it, so that a browser keeps it until it changes.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

STATIC_PREFIX = "/board/static/"
HTMX_VERSION = "4.0.1"
HTMX_SHA256 = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
_TYPES = {"htmx.min.js": "text/javascript", "board.js": "text/javascript", "board.css": "text/css"}
# A year: the name changes with the content.
_KEEP = "private, max-age=31536000, immutable"


class FileChanged(Exception):
    """The vendored file is not the one that was pinned."""


class StaticFiles:
    """Read once. Raises FileChanged where htmx is not what was vendored."""

    def __init__(self) -> None:
        folder = files("orders_pipeline.web.board") / "static"
        self._content = {name: (folder / name).read_bytes() for name in _TYPES}
        self._hashes = {name: hashlib.sha256(content).hexdigest() for name, content in self._content.items()}
        if self._hashes["htmx.min.js"] != HTMX_SHA256:
            raise FileChanged(f"htmx.min.js is not that of htmx.org {HTMX_VERSION}: install the package again.")

    def address(self, name: str) -> str:
        return f"{STATIC_PREFIX}{self._hashes[name][:16]}/{name}"

    def routes(self) -> list[Route]:
        return [Route(STATIC_PREFIX + "{version}/{name}", self._serve, methods=["GET"])]

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._content or request.url.path != self.address(name):
            return PlainTextResponse("There is no such file. Load the page again.\n", status_code=404)
        headers = {"Cache-Control": _KEEP}
        return Response(self._content[name], media_type=f"{_TYPES[name]}; charset=utf-8", headers=headers)
