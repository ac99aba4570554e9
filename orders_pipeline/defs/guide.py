"""How each description in the UI ends: where to read what to do when it is red, and where its rule comes from.

`orders-pipeline up` serves the pages of `docs/` beside the UI (`web/runbook_pages.py`). Where Dagster's own webserver
serves the UI instead, ORDERS_DOCS_URL names their folder, such as one of a repository's web pages. Dagster renders
most descriptions as Markdown; the lineage shows the first line alone.
"""

from __future__ import annotations

import os
import re

RUNBOOK = "runbook.md"
DOCS_PATH = "/docs"


# Of jobs that a person starts, and so of their runs: what the list of runs can be filtered by.
DANGER_TAG = "orders_pipeline/danger"
DESTROYS = {DANGER_TAG: "destroys"}
SHIPS_ORDERS = {DANGER_TAG: "ships orders"}


def described(text: str, *, red: str, rule: str) -> str:
    """The text, then the runbook's section for when it is `red`, and the `rule`: a sentence in Markdown.

    Raises ValueError for an empty text.
    """
    if not text.strip():
        raise ValueError("Say in its description what it is.")
    return f"{text.strip()}\n\n**Red?** {link(f'Runbook, “{red}”', RUNBOOK, red)}\n\n**Its rule:** {rule}"


def described_plainly(text: str, *, red: str, rule: str) -> str:
    """The same without Markdown, for sensors and schedules: Dagster shows their descriptions as they are."""
    written = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"\1 (\2)", described(text, red=red, rule=rule))
    # It shows no line's end either.
    return re.sub(r"(#[\w-]+\))\n", r"\1.\n", written.replace("**", "").replace("`", ""))


def link(text: str, page: str, heading: str | None = None) -> str:
    """A link in Markdown to a page of `docs/`, or to the section of it that begins with this heading."""
    return f"[{text}]({_docs_url()}/{page}{f'#{anchor(heading)}' if heading else ''})"


def anchor(heading: str) -> str:
    """A heading as the part of an address after `#`, as GitHub and our own pages spell it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _docs_url() -> str:
    return os.environ.get("ORDERS_DOCS_URL", DOCS_PATH).rstrip("/")
