"""Answer a crowd of orders from pages of a listing, while the others are asked one by one.

Each is answered in a transaction of its own, as if it had been asked alone. What a page shows beside them is noted as a
sweep would, and what is due of it is answered from the page too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

from orders_pipeline.channels.amazon.listed_items import ListedItems
from orders_pipeline.channels.amazon.listed_jobs import ListedJobs
from orders_pipeline.channels.amazon.read_plan import CROWD, Listing, ReadPlan, is_listed, plan_reads
from orders_pipeline.database.engine import database_now
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.fetch_one import FetchOne
from orders_pipeline.intake.search import record_orders
from orders_pipeline.intake.search_windows import StoredSearch, newest_search, open_search, restart_search, save_page
from orders_pipeline.intake.sweep import is_missed
from orders_pipeline.intake.unreadable_entries import park_entries
from orders_pipeline.intake.waiting import WaitingOrder, waiting_orders
from orders_pipeline.model.order import (
    LIST_LAG,
    UNKNOWN_FULFILLER,
    FetchedOrder,
    OrderParts,
    Priority,
    ReadQuota,
    SearchPage,
    SearchWindow,
)
from orders_pipeline.orders.known_orders import known_orders
from orders_pipeline.work.jobs import AMAZON_LISTINGS, Job, Queue, quota_of
from orders_pipeline.work.pauses import is_paused
from orders_pipeline.work.tally import Tally

# Of events that only such a page told, and of the windows that are read.
LISTING = "listing"
# So long the newest window says what need not be read again. Amazon's page tokens live for 24 hours.
WINDOW_COUNTS_FOR = timedelta(hours=1)
# While others are asked one by one, more orders come, and those that changed are listed.
REPLAN_SECONDS = 5.0


class FetchPages:
    """Plans, claims and reads, until it is stopped or the time is over.

    `fulfilled_by`: who ships the orders that are noted beside those that wait; empty: whoever does.
    """

    def __init__(
        self, fetch: FetchOne, listed: ListedJobs, *, ends_at: float, fulfilled_by: Collection[str] = ()
    ) -> None:
        self._fetch, self._listed, self._ends_at = fetch, listed, ends_at
        self._watched = {*fulfilled_by, UNKNOWN_FULFILLER} if fulfilled_by else None
        self._stopped = Event()
        self._plan: ReadPlan | None = None
        self._claimed: Sequence[Job] = ()
        self._with_details = False
        self._search: StoredSearch | None = None
        # What changed since may not be on a page of the plan.
        self._planned_at = datetime.max.replace(tzinfo=UTC)

    def plan(self) -> None:
        """Decide what pages answer, and claim it; then `read` until `stop`."""
        self._stopped.clear()
        self._decide()

    def stop(self) -> None:
        """End after the page in hand."""
        self._stopped.set()

    def read(self) -> Tally:
        """Read the pages of the plan, and of the next one while there is time; what became of the jobs."""
        tally = Tally()
        while True:
            if self._plan is not None:
                tally += Tally(notes={"plan": self._plan.reason})
            if self._plan is not None and self._claimed:
                parts = OrderParts.SHIPPING_DETAILS if self._with_details else OrderParts.STATE
                tally += self._listed.read(
                    self._plan, self._claimed, parts, self._answer, ends_at=self._ends_at, note=self._note
                )
            if self._stopped.wait(REPLAN_SECONDS) or self._listed.clock() >= self._ends_at:
                return tally
            self._decide()

    def _decide(self) -> None:
        """Plan for what happens now first; what only a backfill asks for has what that leaves."""
        self._plan, self._claimed = None, ()
        fetch = self._fetch
        whole = fetch.orders.lists_whole_orders
        with fetch.database.transaction(fetch.account_id) as tx:
            waiting = waiting_orders(tx)
            now = database_now(tx.connection)
            paused = is_paused(tx, AMAZON_LISTINGS)
            # A page without items leaves them to calls that are paused: it would be paid for in vain.
            spent = not whole and is_paused(tx, quota_of(Queue.FETCH))
            newest = newest_search(tx, LISTING, since=now - WINDOW_COUNTS_FOR)
        if not waiting:
            return
        if len(waiting) < CROWD or paused or spent:
            why = "pages are refused" if paused else "the items' quota is spent" if spent else "few"
            self._plan = ReadPlan(f"{len(waiting)} one by one: {why}", len(waiting))
            return
        self._planned_at = now
        quota = fetch.orders.read_quota()
        live = [one for one in waiting if not one.is_backfilled]
        self._choose(live, quota, now, Priority.SWEEP, self._begun(newest, live, now))
        # A page by ids leaves the items to calls, which are as scarce: it would spare a backfill nothing.
        if whole and not self._claimed:
            self._choose([one for one in waiting if one.is_backfilled], quota, now, Priority.BACKFILL)

    def _begun(self, newest: StoredSearch | None, waiting: Sequence[WaitingOrder], now: datetime) -> Listing | None:
        """How far the newest window was read, where its pages show what these need."""
        if newest is None or (newest.page_token is None and not newest.finished):
            return None
        needs_details = any(one.needs_details(now, self._fetch.marketplace_ids) for one in waiting)
        if newest.page_token is not None and newest.parameters["with_details"] != needs_details:
            return None
        return Listing(newest.window, newest.page_token)

    def _choose(
        self,
        waiting: Sequence[WaitingOrder],
        quota: ReadQuota,
        now: datetime,
        priority: Priority,
        listing: Listing | None = None,
    ) -> None:
        """Make the plan for these, and claim what it lists."""
        if not waiting:
            return
        fetch = self._fetch
        by_ids = not fetch.orders.lists_whole_orders
        readings = [one.reading for one in waiting]
        plan = plan_reads(
            readings, quota, now, fetch.marketplace_ids, by_ids=by_ids, priority=priority, listing=listing
        )
        if priority is Priority.BACKFILL:
            told = f"{self._plan.reason}; " if self._plan is not None else ""
            plan = replace(plan, reason=f"{told}of a backfill, {plan.reason}")
        self._plan, self._claimed, self._search = plan, self._claim(waiting, plan.listed), None
        claimed = {job.order_id for job in self._claimed}
        self._with_details = any(
            one.order_id in claimed and one.needs_details(now, fetch.marketplace_ids) for one in waiting
        )
        if claimed and plan.window is not None and priority is Priority.SWEEP:
            self._search = self._open(plan.window)
        if plan.page_token is not None and self._search is not None and plan.window is not None:
            # Every page of a window is asked for as its first one was; what changed after its end is not on them.
            self._with_details = self._search.parameters["with_details"]
            self._planned_at = plan.window.updated_before + LIST_LAG

    def _open(self, window: SearchWindow) -> StoredSearch:
        parameters = {
            "marketplace_ids": list(window.marketplace_ids),
            "fulfilled_by": list(window.fulfilled_by),
            "with_details": self._with_details,
        }
        with self._fetch.database.transaction(self._fetch.account_id) as tx:
            return open_search(tx, LISTING, window.updated_after, window.updated_before, parameters)

    def _note(self, page: SearchPage | None) -> None:
        """Note how far the window was read; of a page that Amazon refuses, its token may be the reason."""
        if self._search is None:
            return
        with self._fetch.database.begin() as connection:
            if page is None:
                self._search = restart_search(connection, self._search)
            else:
                entries = len(page.orders) + len(page.unreadable)
                self._search = save_page(connection, self._search, page.next_page_token, entries, 0)

    def _claim(self, waiting: Sequence[WaitingOrder], order_ids: Sequence[str]) -> list[Job]:
        chosen = set(order_ids)
        return self._listed.claim({one.order_id: one.version for one in waiting if one.order_id in chosen})

    def _answer(self, page: SearchPage, held: dict[str, Job]) -> Tally:
        """Answer what the page shows of the crowd, and what else is due of it; what it cannot show is asked by id."""
        shown = {
            order.order_id: FetchedOrder(order, page.shipping_details.get(order.order_id)) for order in page.orders
        }
        items = ListedItems(self._fetch.orders, self._fetch.database, self._fetch.account_id, page.pieces)
        unreadable = {entry.order_id for entry in page.unreadable}
        jobs = self._others(page, set(held))
        jobs += [held.pop(order_id) for order_id in [*held] if order_id in shown or order_id in unreadable]

        def handle(job: Job, seconds: float) -> str:
            answer = shown.get(job.order_id)
            if answer is None:
                return self._listed.ask_by_id(job)
            word = self._fetch.keep_listed(job, answer, items, seconds, details=self._with_details)
            return word or self._listed.ask_by_id(job)

        return self._listed.store(handle, jobs) + items.as_tally()

    def _others(self, page: SearchPage, wanted: set[str]) -> list[Job]:
        """Note what the page shows of others, as a sweep does; claim what is due of them."""
        fetch = self._fetch
        others = [order for order in page.orders if order.order_id not in wanted]
        with fetch.database.transaction(fetch.account_id) as tx:
            known = known_orders(tx, [order.order_id for order in others])
            watched = [order for order in others if self._watched is None or order.fulfilled_by in self._watched]
            news = [order for order in watched if is_missed(order, known.get(order.order_id))]
            new = record_orders(tx, LISTING, news)
            new += park_entries(tx, LISTING, [entry for entry in page.unreadable if entry.order_id not in wanted])
        if new:
            apply_events(fetch.database, account_id=fetch.account_id, marketplace_ids=fetch.marketplace_ids)
        with fetch.database.transaction(fetch.account_id) as tx:
            due = waiting_orders(tx, [order.order_id for order in others])
        return self._claim(
            due, [one.order_id for one in due if is_listed(one.reading, self._planned_at, fetch.marketplace_ids)]
        )
