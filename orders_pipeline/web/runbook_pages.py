"""The runbook and the other pages of `docs/` beside the UI: where the links in its descriptions lead (`defs/guide.py`).

They are read from the checkout, or the folder that holds workspace.yaml. Of the folder's Markdown nothing is HTML: what
stands in it is text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from orders_pipeline.defs.guide import DOCS_PATH, RUNBOOK, anchor
from orders_pipeline.web.headers import PLAIN_PAGE_POLICY

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title><style>
:root{{color-scheme:light dark}}
body{{font:16px/1.55 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;display:block;overflow-x:auto}}
td,th{{border:1px solid #8888;padding:.3rem .6rem;text-align:left;vertical-align:top}}
code,pre{{font-family:ui-monospace,monospace;font-size:.9em}}pre{{overflow-x:auto;padding:.75rem;
border:1px solid #8888}}:target{{background:#fc06;outline:.4rem solid #fc06}}nav{{font-size:.9rem}}
</style></head><body><nav><a href="/">Dagster</a> · <a href="{docs}/{runbook}">Runbook</a></nav>{body}</body></html>"""
_MISSING = (
    "<h1>Not here</h1><p>This page is not beside this program: it is in the folder <code>docs</code> of the "
    "repository. Set <code>ORDERS_DOCS_URL</code> to where its pages are read.</p>"
)


class RunbookPages:
    """The Markdown of a folder as pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Without the option `html`: a tag in the text is shown as text.
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def routes(self) -> Sequence[BaseRoute]:
        return [Route(DOCS_PATH, self._index), Route(f"{DOCS_PATH}/{{page:path}}", self._page)]

    def _index(self, _request: Request) -> Response:
        return RedirectResponse(f"{DOCS_PATH}/{RUNBOOK}")

    def _page(self, request: Request) -> Response:
        # Looked for among those that are there: no path that was asked for is opened.
        pages = {path.relative_to(self._folder).as_posix(): path for path in self._folder.rglob("*.md")}
        path = pages.get(request.path_params["page"])
        if path is None:
            return _answer("Not here", _MISSING, 404)
        tokens = self._markdown.parse(path.read_text("utf-8"))
        title = _name_headings(tokens)
        return _answer(title or path.stem, self._markdown.renderer.render(tokens, self._markdown.options, {}))


def _name_headings(tokens: Sequence[Token]) -> str | None:
    """Give each heading the address that links name it by; the first one's text."""
    first: str | None = None
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
            first = first or inline.content
    return first


def _answer(title: str, body: str, status: int = 200) -> Response:
    content = _PAGE.format(title=html.escape(title), body=body, docs=DOCS_PATH, runbook=RUNBOOK)
    return HTMLResponse(content, status_code=status, headers={"Content-Security-Policy": PLAIN_PAGE_POLICY})
