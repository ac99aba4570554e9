"""Answer a crowd of orders from pages of a listing, while the others are asked one by one.

The jobs of the crowd are claimed before the first page, so that nobody else asks for them; each is answered in a
transaction of its own, as if it had been asked alone. A process that dies gives them back with its leases. What a page
shows beside them is noted as a sweep would, and what is due of it is answered from the page too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from threading import Event
from typing import Protocol

from orders_pipeline.channels.amazon.errors import AmazonError, LimitNotBefore
from orders_pipeline.channels.amazon.read_plan import CROWD, ReadPlan, is_listed, plan_reads
from orders_pipeline.database.engine import database_now
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.fetch_one import NOT_LISTED, FetchOne
from orders_pipeline.intake.search import record_orders
from orders_pipeline.intake.sweep import is_missed
from orders_pipeline.intake.unreadable_entries import park_entries
from orders_pipeline.intake.waiting import waiting_orders
from orders_pipeline.model.order import FetchedOrder, OrderParts, Priority, SearchPage
from orders_pipeline.orders.known_orders import known_orders
from orders_pipeline.work.jobs import AMAZON, AMAZON_LISTINGS, Job, Queue
from orders_pipeline.work.pauses import note_refusal, note_success, pause_of
from orders_pipeline.work.queue import claim_these, release, renew_all
from orders_pipeline.work.runner import RELEASED, Handler
from orders_pipeline.work.tally import Tally

# Of events that only such a page told.
LISTING = "listing"
# While others are asked one by one, more orders come, and those that changed are listed.
REPLAN_SECONDS = 5.0
PAGE_SECONDS = 20.0
# A page that was paid for is stored, even at the end of a run.
STORE_SECONDS = 30.0


class RunJobs(Protocol):
    """Has claimed jobs handled, several at a time (`work/runner.py`)."""

    def __call__(self, handle: Handler, seconds: float, claimed: list[Job] | None = None) -> Tally: ...


class FetchPages:
    """Plans, claims and reads, until it is stopped or the time is over."""

    def __init__(
        self,
        fetch: FetchOne,
        run: RunJobs,
        *,
        lease: timedelta,
        ends_at: float,
        clock: Callable[[], float],
    ) -> None:
        self._fetch, self._run, self._lease = fetch, run, lease
        self._ends_at, self._clock = ends_at, clock
        self._stopped = Event()
        self._plan: ReadPlan | None = None
        self._claimed: list[Job] = []
        self._with_details = False

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
            tally += self._read_pages()
            if self._stopped.wait(REPLAN_SECONDS) or self._clock() >= self._ends_at:
                return tally
            self._decide()

    def _decide(self) -> None:
        self._plan, self._claimed = None, []
        fetch = self._fetch
        with fetch.database.transaction(fetch.account_id) as tx:
            waiting = waiting_orders(tx)
            now = database_now(tx.connection)
            paused = pause_of(tx, AMAZON_LISTINGS) is not None
        if not waiting:
            return
        whole = fetch.orders.lists_whole_orders
        if len(waiting) < CROWD or paused or not whole:
            why = "pages are refused" if paused else "few" if whole else "v0 lists no whole orders"
            self._plan = ReadPlan(f"{len(waiting)} one by one: {why}", len(waiting))
            return
        by_id = {one.order_id: one for one in waiting}
        quota = fetch.orders.read_quota()
        plan = plan_reads([one.reading for one in waiting], quota, now, fetch.marketplace_ids)
        with fetch.database.transaction(fetch.account_id) as tx:
            claimed = claim_these(tx, Queue.FETCH, plan.listed, lease=self._lease, dependencies={AMAZON})
            # What was heard of since it was looked at may not be listed yet.
            changed = [job for job in claimed if job.version != by_id[job.order_id].version]
            for job in changed:
                release(tx, job)
        self._plan, self._claimed = plan, [job for job in claimed if job not in changed]
        self._with_details = any(by_id[job.order_id].needs_details(now, fetch.marketplace_ids) for job in self._claimed)

    def _read_pages(self) -> Tally:
        plan, held = self._plan, {job.order_id: job for job in self._claimed}
        self._claimed = []
        if plan is None:
            return Tally()
        tally, pages, token, all_read = Tally(notes={"plan": plan.reason}), 0, None, False
        try:
            while held and pages < plan.pages and (pages == 0 or self._clock() < self._ends_at):
                try:
                    page = self._next_page(plan, list(held.values()), token)
                except AmazonError as error:
                    tally += self._refused(error)
                    break
                pages += 1
                answered = self._answer(page, held)
                tally += answered
                token = page.next_page_token
                hits = _answered(answered)
                # The next page costs as much as this one, and is to be worth it.
                if token is None or hits < plan.worth or len(held) < plan.worth:
                    all_read = True
                    break
            if all_read and held:
                tally += self._run(lambda job, _: self._fetch.ask_by_id(job), STORE_SECONDS, list(held.values()))
                held.clear()
            return tally + _spent(tally, pages) + Tally({RELEASED: len(held)} if held else {})
        finally:
            self._give_back(held.values())

    def _next_page(self, plan: ReadPlan, held: Sequence[Job], token: str | None) -> SearchPage:
        fetch = self._fetch
        with fetch.database.transaction(fetch.account_id) as tx:
            renew_all(tx, held, lease=self._lease)
        assert plan.window is not None, "orders were claimed for it"
        parts = OrderParts.SHIPPING_DETAILS if self._with_details else OrderParts.STATE
        # Sweeps have their tokens from the same bucket: this leaves what they leave.
        page = fetch.orders.search_orders(
            plan.window, parts=parts, page_token=token, priority=Priority.SWEEP, deadline_seconds=PAGE_SECONDS
        )
        with fetch.database.transaction(fetch.account_id) as tx:
            renew_all(tx, held, lease=self._lease)
            note_success(tx, AMAZON_LISTINGS)
        return page

    def _answer(self, page: SearchPage, held: dict[str, Job]) -> Tally:
        """Answer what the page shows of the crowd, and what else is due of it; what it cannot show is asked by id."""
        shown = {
            order.order_id: FetchedOrder(order, page.shipping_details.get(order.order_id)) for order in page.orders
        }
        unreadable = {entry.order_id for entry in page.unreadable}
        jobs = [held.pop(order_id) for order_id in [*held] if order_id in shown or order_id in unreadable]
        jobs += self._others(page, {job.order_id for job in jobs} | held.keys())

        def handle(job: Job, seconds: float) -> str:
            return self._fetch.from_page(job, shown.get(job.order_id), seconds, with_details=self._with_details)

        try:
            return self._run(handle, STORE_SECONDS, jobs)
        except BaseException:
            self._give_back(jobs)
            raise

    def _others(self, page: SearchPage, wanted: set[str]) -> list[Job]:
        """Note what the page shows of others, as a sweep does; claim what is due of them."""
        fetch = self._fetch
        others = [order for order in page.orders if order.order_id not in wanted]
        with fetch.database.transaction(fetch.account_id) as tx:
            known = known_orders(tx, [order.order_id for order in others])
            news = [order for order in others if is_missed(order, known.get(order.order_id))]
            new = record_orders(tx, LISTING, news)
            new += park_entries(tx, LISTING, [entry for entry in page.unreadable if entry.order_id not in wanted])
        if new:
            apply_events(fetch.database, account_id=fetch.account_id, marketplace_ids=fetch.marketplace_ids)
        with fetch.database.transaction(fetch.account_id) as tx:
            now = database_now(tx.connection)
            due = waiting_orders(tx, [order.order_id for order in others])
            listed = [one.order_id for one in due if is_listed(one.reading, now, fetch.marketplace_ids)]
            return claim_these(tx, Queue.FETCH, listed, lease=self._lease, dependencies={AMAZON})

    def _refused(self, error: AmazonError) -> Tally:
        """The crowd goes back: each finds out by itself whether Amazon answers. Pages are not asked for a while."""
        fetch = self._fetch
        if isinstance(error, LimitNotBefore):
            return Tally()
        with fetch.database.transaction(fetch.account_id) as tx:
            note_refusal(tx, AMAZON_LISTINGS, None, str(error))
        return Tally(errors={type(error).__name__: 1})

    def _give_back(self, jobs: Collection[Job]) -> None:
        """What was answered has lost its lease by then, and stays as it is."""
        if jobs:
            with self._fetch.database.transaction(self._fetch.account_id) as tx:
                for job in sorted(jobs, key=lambda job: job.subject):
                    release(tx, job)


def _answered(tally: Tally) -> int:
    return sum(tally.outcomes.values()) - tally.outcomes.get(NOT_LISTED, 0)


def _spent(tally: Tally, pages: int) -> Tally:
    """What the pages cost and saved, in calls."""
    if not pages:
        return Tally()
    answered = _answered(tally)
    return Tally(notes={"pages_read": pages, "calls_saved": answered - pages})
