"""`/api/amazon/orders`: the board as JSON, for programs. Pages by an opaque cursor, a tag on each, no buyer's data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orders_pipeline.audit.log import is_order_id
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.operations.order_board.cards import Card
from orders_pipeline.operations.order_board.claims import person_shown
from orders_pipeline.operations.order_board.columns import COLUMNS, STATUS_COLUMNS, Column
from orders_pipeline.operations.order_board.filters import BadParameter, OrderFilter, Place, read_filter, read_place
from orders_pipeline.operations.order_board.panel import OrderPanel, read_panel
from orders_pipeline.operations.order_board.rows import count_orders, read_page
from orders_pipeline.web.board.openapi import (
    COUNT_PARAMETERS,
    LIMIT,
    LIMIT_AT_MOST,
    ORDER_PARAMETERS,
    PARAMETERS,
    STATUS_WORDS,
    document,
)
from orders_pipeline.web.board.rendering import Pages
from orders_pipeline.web.board.store import BoardStore
from orders_pipeline.work.workers import error_location

ORDERS_PATH = "/api/amazon/orders"
DOCUMENT_PATH = "/api/openapi.json"
_BY_WORD = {word: column for column, word in STATUS_WORDS.items()}
_UNAVAILABLE = 503


class OrdersApi:
    """The routes. All of them read, none writes."""

    def __init__(self, store: BoardStore, pages: Pages) -> None:
        self._store = store
        self._pages = pages

    def routes(self) -> list[Route]:
        return [
            Route("/api", self._page, methods=["GET"]),
            Route(DOCUMENT_PATH, self._document, methods=["GET"]),
            Route(ORDERS_PATH, _answered(self._orders), methods=["GET"]),
            Route(f"{ORDERS_PATH}/counts", _answered(self._counts), methods=["GET"]),
            Route(f"{ORDERS_PATH}/{{order_id}}", _answered(self._order), methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        return self._pages.answer("api.html", {"document": document()})

    async def _document(self, request: Request) -> Response:
        return _answer(request, document())

    async def _orders(self, request: Request) -> Response:
        given = _parameters(request, PARAMETERS)
        columns = _columns(given.get("status", ""))
        limit = _limit(given.get("limit", ""))
        after = read_place(given["cursor"]) if given.get("cursor") else None
        if after is not None and after.column not in columns:
            raise BadParameter("cursor is of another status: give the parameters that it was returned for")
        chosen = self._filter(given)

        def query(connection: Connection) -> tuple[list[Card], Place | None]:
            return _read(connection, columns, chosen, limit, after)

        cards, next_place = await self._store.read(query)
        return _answer(
            request,
            {
                "orders": [_order(card) for card in cards],
                "next_cursor": next_place.cursor() if next_place else None,
            },
        )

    async def _counts(self, request: Request) -> Response:
        chosen = self._filter(_parameters(request, COUNT_PARAMETERS))

        def query(connection: Connection) -> dict[Column, int]:
            return {column: count_orders(connection, column, chosen) for column in Column}

        counts = await self._store.read(query)
        counted = {
            column: {"orders": min(count, COLUMNS[column].countable), "is_exact": count <= COLUMNS[column].countable}
            for column, count in counts.items()
        }
        return _answer(request, {"counts": {_word(column): value for column, value in counted.items()}})

    async def _order(self, request: Request) -> Response:
        account = self._filter(_parameters(request, ORDER_PARAMETERS)).account_ids
        order_id = request.path_params["order_id"]
        if not is_order_id(order_id):
            raise BadParameter("an order id is made of letters, digits and hyphens")

        def query(connection: Connection) -> list[OrderPanel]:
            return [panel for one in account if (panel := read_panel(connection, one, order_id)) is not None]

        found = await self._store.read(query)
        if not found:
            return _error(404, "not_found", "No order of this id is stored.")
        return _answer(request, {"orders": [_whole_order(panel) for panel in found]})

    def _filter(self, given: Mapping[str, str]) -> OrderFilter:
        return read_filter(given, account_ids=self._store.account_ids(), marketplace_ids=self._store.marketplaces())


def _read(
    connection: Connection, columns: list[Column], chosen: OrderFilter, limit: int, after: Place | None
) -> tuple[list[Card], Place | None]:
    """Column after column, each in its own order."""
    cards: list[Card] = []
    for column in columns[columns.index(after.column) if after else 0 :]:
        start = after if after is not None and after.column is column else None
        page = read_page(connection, column, chosen, limit=limit - len(cards), after=start)
        cards += page.cards
        if page.next is not None:
            return cards, page.next
        if len(cards) == limit and column is not columns[-1]:
            # The rest begins with the next column; from this one's end, nothing of it is given twice.
            last = page.cards[-1]
            return cards, Place(column, last.key, last.account_id, last.order_id)
    return cards, None


def _answered(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except BadParameter as bad:
            return _error(400, "bad_parameter", f"{bad}.")
        except (SQLAlchemyError, EmbeddedPostgresError) as error:
            # Without its text: a database may quote in it what was being read.
            return _error(_UNAVAILABLE, "unavailable", f"The store cannot be read now ({error_location(error)}).")

    return answer


def _parameters(request: Request, allowed: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            raise BadParameter(f"there is no parameter {name[:40]!r}: use {', '.join(allowed)}")
        if name in found:
            raise BadParameter(f"{name} is given twice: give it once")
        found[name] = value
    return found


def _columns(value: str) -> list[Column]:
    """The statuses that are asked for, in the board's order; without any, all."""
    words = [word.strip() for word in value.split(",") if word.strip()]
    if unknown := [word for word in words if word not in _BY_WORD]:
        raise BadParameter(f"status has {unknown[0][:40]!r}: use {', '.join(_BY_WORD)}, several with commas")
    wanted = {_BY_WORD[word] for word in words} or set(STATUS_COLUMNS)
    return [column for column in STATUS_COLUMNS if column in wanted]


def _limit(value: str) -> int:
    if not value:
        return LIMIT
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= LIMIT_AT_MOST):
        raise BadParameter(f"limit is {value[:40]!r}: use a number from 1 to {LIMIT_AT_MOST}")
    return int(value)


def _word(column: Column) -> str:
    return STATUS_WORDS.get(column, "NeedsAPerson")


def _order(card: Card) -> dict[str, Any]:
    """As `Order` of the document."""
    return {
        "account_id": card.account_id,
        "order_id": card.order_id,
        "marketplace_id": card.marketplace_id,
        "status": _word(card.column),
        "amazon_status": card.status,
        "fulfillment": card.fulfillment,
        "fulfillment_state": card.state,
        "whereabouts": card.whereabouts,
        "hold_reasons": list(card.hold_reasons) if card.is_on_hold else [],
        "needs_tracking": card.needs_tracking,
        "needs_a_person": list(card.attention),
        "purchased_at": _time(card.purchased_at),
        "ship_by": _time(card.ship_by),
        "is_late": card.is_late,
        "deliver_by": _time(card.deliver_by),
        "delivered_at": _time(card.delivered_at),
        "quantity": card.quantity,
        "item_count": card.item_count,
        "items": [{"sku": one.sku, "asin": one.asin, "quantity": one.quantity} for one in card.items],
        "claimed_by": person_shown(card.claimed_by) if card.claimed_by and card.is_claimable else None,
    }


def _whole_order(panel: OrderPanel) -> dict[str, Any]:
    """As `WholeOrder` of the document."""
    return {
        **_order(panel.card),
        "items": [
            {
                "order_item_id": item.order_item_id,
                "sku": item.sku,
                "asin": item.asin,
                "title": item.title,
                "quantity": item.quantity_ordered,
                "quantity_shipped": item.quantity_fulfilled,
                "is_cancelled": item.cancelled,
            }
            for item in panel.items
        ],
        "packages": [
            {
                "package_id": package.package_id,
                "state": package.state,
                "carrier": package.carrier,
                "service": package.service,
                "tracking_number": package.tracking_number,
                "quantity": package.quantity,
                "shipped_at": _time(package.shipped_at),
                "confirmed_at": _time(package.confirmed_at),
            }
            for package in panel.packages
        ],
        "history": [{"at": _time(one.at), "who": one.who, "what": one.what, "how": one.how} for one in panel.history],
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _answer(request: Request, content: Mapping[str, Any]) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


def _error(status: int, code: str, message: str) -> Response:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Response(body, status_code=status, media_type="application/json")
