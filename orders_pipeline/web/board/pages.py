"""`/board`: the page, further cards of a column as one scrolls, and what changed since the page was last refreshed.

A refresh names the sections that are in sight, and its answer has a tag over what they hold: an unchanged board is
answered with 304 and nothing. Times are said by the browser, so a board does not change by growing older, except when a
ship-by time passes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orders_pipeline.audit.log import current_actor, person_actor
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.operations.order_board.columns import Column
from orders_pipeline.operations.order_board.filters import BadParameter, OrderFilter, read_filter, read_place
from orders_pipeline.web.board.files import StaticFiles
from orders_pipeline.web.board.rendering import Pages
from orders_pipeline.web.board.store import CARDS_OF_A_KNOWN_PAGE, BoardData, BoardStore, ReadSection, Section
from orders_pipeline.web.visitor import Role, Visitor, visitor_of
from orders_pipeline.work.workers import error_location

BOARD_PATH = "/board"
REFRESH_PATH = f"{BOARD_PATH}/refresh"
FILTERS = ("q", "needs", "fulfillment", "marketplace", "account", "hold")
# What fits on a large screen twice.
_SECTIONS_AT_MOST = 40
# As Amazon writes order ids: one that is not stored can be asked for.
_AMAZONS_ID = re.compile(r"\d{3}-\d{7}-\d{7}")
_NOBODY = Visitor(None, Role.VIEWER)
Handler = Callable[[Request], Awaitable[Response]]


class BoardPages:
    """The routes that read."""

    def __init__(self, store: BoardStore, static: StaticFiles, pages: Pages) -> None:
        self._store = store
        self._static = static
        self._pages = pages

    def routes(self) -> list[Route]:
        return [
            *self._static.routes(),
            Route(BOARD_PATH, self.answered(self._board), methods=["GET"]),
            Route(f"{BOARD_PATH}/cards", self.answered(self._cards), methods=["GET"]),
            Route(REFRESH_PATH, self.answered(self._refresh), methods=["GET"]),
            Route(f"{BOARD_PATH}/orders/{{account_id}}/{{order_id}}", self.answered(self._panel), methods=["GET"]),
        ]

    def answered(self, handler: Handler) -> Handler:
        """The handler, with what a person can do nothing about told in a sentence."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except BadParameter as bad:
                return self.problem(request, str(bad), 400)
            except (SQLAlchemyError, EmbeddedPostgresError) as error:
                # Without its text: a database may quote in it what was being read.
                return self.problem(request, f"The store cannot be read now ({error_location(error)}).", 503)

        return answer

    def problem(self, request: Request, sentence: str, status: int) -> Response:
        if request.url.path == REFRESH_PATH:
            # The page says by itself that what it shows may be old.
            return PlainTextResponse(f"{sentence}\n", status_code=status)
        is_part = request.headers.get("hx-request") == "true"
        template = "message.html" if is_part else "problem.html"
        return self._pages.answer(template, {"sentence": sentence, "is_bad": True}, status=status)

    async def _board(self, request: Request) -> Response:
        chosen, given = self.filter_of(request)
        opened = opened_of(request.query_params.get("open"))
        first = [Section(column) for column in Column]
        data = await self._store.board(chosen, first, opened)
        is_known = any(data.counts.values())
        values = {
            **self.common(request, given),
            **self.shown(data),
            "opened": opened,
            "unknown_order": chosen.search if _AMAZONS_ID.fullmatch(chosen.search or "") and not is_known else None,
        }
        return self._pages.answer("board.html", values)

    async def _cards(self, request: Request) -> Response:
        chosen, given = self.filter_of(request)
        section = _section_of(
            request.query_params.get("column", ""),
            request.query_params.get("after", ""),
            request.query_params.get("until", ""),
        )
        read, now = await self._store.section(chosen, section)
        return self._pages.answer("cards.html", {**self.common(request, given), "read": read, "now": now})

    async def _refresh(self, request: Request) -> Response:
        chosen, given = self.filter_of(request)
        named = request.query_params.getlist("section")[:_SECTIONS_AT_MOST]
        sections = [_section_of(*[*one.split("~"), "", ""][:3]) for one in named]
        opened = opened_of(request.query_params.get("open"))
        data = await self._store.board(chosen, sections, opened, cards=CARDS_OF_A_KNOWN_PAGE)
        tag = _tag(request, data)
        headers = {"ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        values = {**self.common(request, given), **self.shown(data), "opened": opened}
        return self._pages.answer("refresh.html", values, headers=headers)

    async def _panel(self, request: Request) -> Response:
        account_id, order_id = request.path_params["account_id"], request.path_params["order_id"]
        panel, now = await self._store.panel(account_id, order_id)
        if panel is None:
            return self.problem(request, "This order is not stored here, or not any more.", 404)
        return self._pages.answer("panel.html", {**self.common(request, {}), "panel": panel, "now": now})

    def filter_of(self, request: Request) -> tuple[OrderFilter, dict[str, str]]:
        """The filter, and the parameters that it was given as. Raises BadParameter."""
        given = {name: request.query_params.get(name, "") for name in FILTERS}
        chosen = read_filter(given, account_ids=self._store.account_ids(), marketplace_ids=self._store.marketplaces())
        return chosen, {name: value for name, value in given.items() if value}

    def common(self, request: Request, given: Mapping[str, str]) -> dict[str, Any]:
        """What every template may ask for."""
        accounts = self._store.account_ids()
        visitor = visitor_of(request.scope) or _NOBODY
        return {
            "given": given,
            "query": urlencode(given),
            "accounts": accounts,
            "account_numbers": {account_id: number for number, account_id in enumerate(accounts)},
            "marketplaces": self._store.marketplaces(),
            "visitor": visitor,
            "actor": actor_of(visitor),
            "may_change": visitor.role.may_change,
            "may_see_addresses": visitor.role.may_see_addresses,
            "cursor_of": _cursor,
        }

    def shown(self, data: BoardData) -> dict[str, Any]:
        # By its column: an unknown state's column is there while it has orders.
        columns = [column for column in Column if column is not Column.OTHER or data.counts[column]]
        return {
            "counts": data.counts,
            "shown_columns": columns,
            "sections": data.sections,
            "panel": data.panel,
            "now": data.now,
        }


def actor_of(visitor: Visitor) -> str:
    """Who acts, for the audit log: where nobody logs in, the operating system's user, as of who types commands."""
    return person_actor(visitor.name) if visitor.name else current_actor()


def opened_of(value: str | None) -> tuple[str, str] | None:
    """Account and order id of `open=ACCOUNT:ORDER`."""
    account_id, _, order_id = (value or "").partition(":")
    return (account_id, order_id) if account_id and order_id else None


def _section_of(column: str, after: str, until: str) -> Section:
    if column not in set(Column):
        raise BadParameter(f"column is one of {', '.join(Column)}")
    places = [read_place(cursor) if cursor else None for cursor in (after, until)]
    if any(place is not None and place.column != column for place in places):
        raise BadParameter("a section begins and ends in one column")
    return Section(Column(column), *places)


def _cursor(read: ReadSection, end: str) -> str:
    place = read.section.after if end == "after" else read.until
    return place.cursor() if place else ""


def _tag(request: Request, data: BoardData) -> str:
    """Over what is shown of the data, and over what was asked: another filter is another answer."""
    content = repr((request.url.query, visitor_of(request.scope), data.counts, data.sections, data.panel))
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'
