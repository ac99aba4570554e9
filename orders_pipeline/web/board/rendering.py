"""The board's pages: Jinja2 with every value escaped, and times and names in words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from orders_pipeline.operations.order_board.claims import person_shown
from orders_pipeline.operations.order_board.columns import COLUMNS, Column
from orders_pipeline.operations.order_board.filters import HOLD_WORDS, Fulfillment, Needs
from orders_pipeline.operations.order_board.panel import package_meaning
from orders_pipeline.web.board.files import StaticFiles

# Scripts, styles and requests of our own origin; nothing inline, and nothing of anybody else's.
BOARD_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
# What others wrote is bounded where it entered; this is the last net, and keeps a card small.
LONGEST_SHOWN = 60
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


class Pages:
    """Renders the templates. Thread-safe."""

    def __init__(self, static: StaticFiles) -> None:
        self._environment = Environment(
            loader=PackageLoader("orders_pipeline.web.board", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters: dict[str, Any] = {
            "time_left": time_left,
            "age": age,
            "shown": shown,
            "person": person_shown,
            "package_meaning": package_meaning,
            "utc": utc,
            "short_hash": short_hash,
        }
        values: dict[str, Any] = {
            "columns": COLUMNS,
            "Column": Column,
            "Fulfillment": Fulfillment,
            "Needs": Needs,
            "hold_words": HOLD_WORDS,
            "static": static.address,
        }
        self._environment.filters.update(filters)
        self._environment.globals.update(values)

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(values)

    def answer(
        self, template: str, values: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        return HTMLResponse(
            self.text(template, values),
            status_code=status,
            headers={"Content-Security-Policy": BOARD_POLICY, **(headers or {})},
        )


def time_left(due: datetime, now: datetime) -> str:
    """How long until then, or how long it is over: `2 h 5 min left`, `-45 min`. board.js says the same."""
    seconds = (due - now).total_seconds()
    return f"{_span(seconds)} left" if seconds >= 0 else f"-{_span(-seconds)}"


def age(since: datetime, now: datetime) -> str:
    """How long ago: `3 d 4 h old`."""
    return f"{_span(max((now - since).total_seconds(), 0))} old"


def utc(at: datetime) -> str:
    """For a machine, and for who wants it exactly."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(value: str | None, longest: int = LONGEST_SHOWN) -> str:
    text = value or ""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def short_hash(value: str) -> str:
    """For an element's name: stable, and of letters and digits alone."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def _span(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // _DAY, whole % _DAY // _HOUR, whole % _HOUR // _MINUTE
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"
