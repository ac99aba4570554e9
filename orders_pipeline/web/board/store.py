"""What the board's pages and its API read: the accounts that are served, by the reader role, off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection

from orders_pipeline.audit.log import is_order_id
from orders_pipeline.database.engine import database_now
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.order_board.columns import Column
from orders_pipeline.operations.order_board.filters import OrderFilter, Place
from orders_pipeline.operations.order_board.panel import OrderPanel, read_panel
from orders_pipeline.operations.order_board.reading import ReaderRole
from orders_pipeline.operations.order_board.rows import Page, count_orders, read_page

# Beside the UI's own threads, and fewer than the connections of the pool: webhooks need some.
_READS_AT_ONCE = 4
# The first page is small, to be there soon; who scrolls on is given more at once.
CARDS_A_PAGE = 30
CARDS_OF_A_FURTHER_PAGE = 60
# A page that grew since it was read: what is new within it is shown with it.
CARDS_OF_A_KNOWN_PAGE = 2 * CARDS_OF_A_FURTHER_PAGE
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a column, from after one place to another: what is within it moves in and out, others stay.

    `after` None is the beginning, `until` None the end of the column.
    """

    column: Column
    after: Place | None = None
    until: Place | None = None


@dataclass(frozen=True, slots=True)
class ReadSection:
    """A section with its cards. `next`: its column goes on there, and this section ends there."""

    section: Section
    page: Page

    @property
    def until(self) -> Place | None:
        return self.page.next or self.section.until


@dataclass(frozen=True, slots=True)
class BoardData:
    """What a page of the board shows, all of one moment."""

    counts: dict[Column, int]
    sections: tuple[ReadSection, ...]
    panel: OrderPanel | None
    now: datetime


class BoardStore:
    """The board's view of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._limiter = CapacityLimiter(_READS_AT_ONCE)
        self._reader: ReaderRole | None = None

    def account_ids(self) -> tuple[str, ...]:
        return self.deployment.account_ids()

    def serves(self, account_id: str, order_id: str) -> bool:
        """Whether this can be an order of an account that this deployment serves: its database may hold others."""
        return account_id in self.account_ids() and is_order_id(order_id)

    def marketplaces(self) -> dict[str, str]:
        """The configured ones: id → country."""
        served = {one for account in self.deployment.accounts() for one in account.marketplace_ids}
        return {one: MARKETPLACES[one].country_code if one in MARKETPLACES else one for one in sorted(served)}

    async def run(self, work: Callable[[], T]) -> T:
        """In a thread of the board's own."""
        return await to_thread.run_sync(work, limiter=self._limiter)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """In a transaction that cannot write."""

        def reading() -> T:
            if self._reader is None:
                self._reader = ReaderRole(self.deployment.database)
            with self._reader.reading() as connection:
                return query(connection)

        return await self.run(reading)

    async def board(
        self,
        chosen: OrderFilter,
        sections: list[Section],
        opened: tuple[str, str] | None,
        *,
        cards: int = CARDS_A_PAGE,
    ) -> BoardData:
        """`opened`: account and id of the order whose panel is open. Of another account there is none."""
        panel_of = opened if opened is not None and self.serves(*opened) else None

        def query(connection: Connection) -> BoardData:
            return BoardData(
                counts={column: count_orders(connection, column, chosen) for column in Column},
                sections=tuple(_section(connection, one, chosen, cards) for one in sections),
                panel=None if panel_of is None else read_panel(connection, *panel_of),
                now=database_now(connection),
            )

        return await self.read(query)

    async def section(self, chosen: OrderFilter, section: Section) -> tuple[ReadSection, datetime]:
        def query(connection: Connection) -> tuple[ReadSection, datetime]:
            return _section(connection, section, chosen, CARDS_OF_A_FURTHER_PAGE), database_now(connection)

        return await self.read(query)

    async def panel(self, account_id: str, order_id: str) -> tuple[OrderPanel | None, datetime]:
        is_served = self.serves(account_id, order_id)

        def query(connection: Connection) -> tuple[OrderPanel | None, datetime]:
            panel = read_panel(connection, account_id, order_id) if is_served else None
            return panel, database_now(connection)

        return await self.read(query)


def _section(connection: Connection, section: Section, chosen: OrderFilter, cards: int) -> ReadSection:
    page = read_page(connection, section.column, chosen, limit=cards, after=section.after, until=section.until)
    return ReadSection(section, page)
