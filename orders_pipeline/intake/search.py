"""Find orders by searching: what notifications missed (sweep), and past days (backfill).

A search costs a page of a quota that refills one page in three minutes (`searchOrders`: 0.0056 a second), so its
progress is stored page by page: a killed run goes on where it stopped, with the first page's exact parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.channels.amazon.errors import AmazonBadRequest, LimitNotBefore
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.search_windows import open_search, restart_search, save_page
from orders_pipeline.intake.unreadable_entries import park_entries
from orders_pipeline.model.order import Order, OrdersPort, Priority, SearchPage, SearchWindow
from orders_pipeline.model.untrusted_text import bounded_id
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events, partition_day

# Amazon lists an order up to two minutes after it changed; a window that ends later misses it for good.
SEARCH_HOLDBACK = timedelta(minutes=3)
# Amazon's page tokens live 24 hours; an hour less, so that a slow page does not meet the end.
PAGE_TOKEN_LIFE = timedelta(hours=23)
# v0 writes whole seconds.
LEAST_UNLISTED = timedelta(seconds=1)
END_NOT_LISTED = "Amazon to list the end of the last day"


@dataclass(slots=True)
class SearchTotals:
    """What one search did. `finished` is False when something ended it first; then `resume_at` and `waits_for` tell."""

    pages: int = 0
    orders_seen: int = 0
    events_new: int = 0
    unreadable: int = 0
    finished: bool = False
    resume_at: datetime | None = None
    waits_for: str = ""

    def as_metadata(self) -> dict[str, int | bool | str]:
        return {
            "pages": self.pages,
            "orders_seen": self.orders_seen,
            "events_new": self.events_new,
            "unreadable_entries": self.unreadable,
            "finished": self.finished,
            "resume_at": self.resume_at.isoformat() if self.resume_at else "",
        }


def search_events(
    orders: OrdersPort,
    database: Database,
    window: SearchWindow,
    *,
    account_id: str,
    purpose: str,
    priority: Priority,
    deadline_seconds: float = 30.0,
    max_pages: int = 1000,
    record: Callable[[AccountTransaction, Sequence[Order]], int] | None = None,
    to_its_end: bool = False,
) -> SearchTotals:
    """Read the window page by page; record an event for every order on it (or as `record` does it), once each.

    Ends early, resumable, when the quota gives no page within `deadline_seconds`; with `to_its_end` also while Amazon
    does not list all of the window yet, of which it is asked for as much as it lists. Raises AmazonError for what
    waiting does not mend.
    """
    totals = SearchTotals()
    with database.transaction(account_id) as tx:
        search = open_search(
            tx,
            purpose,
            window.updated_after,
            window.updated_before,
            {"marketplace_ids": list(window.marketplace_ids), "fulfilled_by": list(window.fulfilled_by)},
        )
        token_age = database_now(tx.connection) - search.page_token_at if search.page_token_at else timedelta()
        # A finished window that is asked for again is read again: a person who re-runs a day wants to see it anew.
        if search.finished or token_age > PAGE_TOKEN_LIFE:
            search = restart_search(tx.connection, search)
    window = search.window
    restarted = False
    while not search.finished and totals.pages < max_pages:
        try:
            page = orders.search_orders(
                window, page_token=search.page_token, priority=priority, deadline_seconds=deadline_seconds
            )
        except LimitNotBefore as error:
            totals.resume_at, totals.waits_for = error.not_before, "the quota"
            return totals
        except AmazonBadRequest:
            # Once: a window whose second page is always refused would be begun again for ever, at a page of quota each.
            if search.page_token is None or restarted:
                raise
            # A token that Amazon no longer takes: begin the window again; what was recorded is recognised.
            restarted = True
            with database.begin() as connection:
                search = restart_search(connection, search)
            continue
        if to_its_end and search.page_token is None and (missing := _unlisted(window, page)) > LEAST_UNLISTED:
            # By the database's clock it was listed: that one, or ours, is ahead of Amazon's.
            totals.resume_at, totals.waits_for = database.now() + missing, END_NOT_LISTED
            return totals
        with database.transaction(account_id) as tx:
            new = record_orders(tx, purpose, page.orders) if record is None else record(tx, page.orders)
            new += park_entries(tx, purpose, page.unreadable)
            entries = len(page.orders) + len(page.unreadable)
            search = save_page(tx.connection, search, page.next_page_token, entries, new)
        totals.pages += 1
        totals.orders_seen += entries
        totals.unreadable += len(page.unreadable)
        totals.events_new += new
    totals.finished = search.finished
    return totals


def _unlisted(window: SearchWindow, page: SearchPage) -> timedelta:
    """How much of the window's end the page, and those after it, leave out."""
    return timedelta() if page.listed_until is None else window.updated_before - page.listed_until


def record_orders(tx: AccountTransaction, source: str, found: Sequence[Order]) -> int:
    """Record an event for each order as Amazon shows it; return how many told us something new."""
    now = database_now(tx.connection)
    events = [
        NewOrderEvent(
            account_id=tx.account_id,
            order_id=order.order_id,
            source=source,
            deduplication_key=f"updated:{order.last_updated_at.isoformat()}",
            published_at=order.last_updated_at,
            partition_day=partition_day(order.last_updated_at, now),
            marketplace_id=bounded_id(order.marketplace_id),
            change_type="Search",
            level="OrderLevel",
            status_told=bounded_id(order.status),
            fulfilled_by_told=bounded_id(order.fulfilled_by),
            changed_at=order.last_updated_at,
            details={},
        )
        for order in found
    ]
    return len(insert_order_events(tx.connection, events))
