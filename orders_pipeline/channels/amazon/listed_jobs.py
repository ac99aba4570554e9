"""Answer claimed jobs from pages of a listing: what reading an order, and verifying its packages, have in common.

The jobs are claimed before the first page, so that nobody else asks for their orders. A page never has the last word:
what it does not answer is asked for by its id. A process that dies gives the jobs back with its leases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.errors import AmazonError, LimitNotBefore
from orders_pipeline.channels.amazon.read_plan import IDS_A_PAGE, ReadPlan, page_budget
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderParts, OrdersPort, SearchPage
from orders_pipeline.work.jobs import AMAZON, AMAZON_LISTINGS, Job, Queue
from orders_pipeline.work.pauses import note_refusal, note_success
from orders_pipeline.work.queue import claim_these, enqueue, release, renew_all
from orders_pipeline.work.runner import QUOTA, RELEASED, Handler
from orders_pipeline.work.tally import Tally

# The outcome of a job that no page answers: it is asked for by its id next.
NOT_LISTED = "not_listed"
# So far it goes before others of its kind: it has waited for a page.
BY_ID_FIRST = 10
# So many pages in a row that were not worth their token: the others will not be either.
POOR_PAGES = 3
PAGE_SECONDS = 20.0
# A page that was paid for is stored, even at the end of a run.
STORE_SECONDS = 50.0

# Handles claimed jobs, several at a time, within so many seconds (`work/runner.py`).
RunJobs = Callable[[Handler, float, Sequence[Job]], Tally]
# Answers the jobs that a page shows, and takes them out of the mapping by order id.
AnswerPage = Callable[[SearchPage, dict[str, Job]], Tally]
# Told of each page of a window, once it is answered; of None where Amazon refused one.
NotePage = Callable[[SearchPage | None], None]


@dataclass(frozen=True, slots=True)
class ListedJobs:
    """The jobs of one queue, whose subjects are orders."""

    orders: OrdersPort
    database: Database
    account_id: str
    queue: Queue
    lease: timedelta
    run: RunJobs
    clock: Callable[[], float] = time.monotonic

    def claim(self, versions: Mapping[str, int]) -> list[Job]:
        """Claim these, unless something was enqueued since the version that was looked at: that may not be listed."""
        if not versions:
            return []
        with self.database.transaction(self.account_id) as tx:
            claimed = claim_these(tx, self.queue, versions, lease=self.lease, dependencies={AMAZON})
            changed = [job for job in claimed if job.version != versions[job.subject]]
            for job in changed:
                release(tx, job)
        return [job for job in claimed if job not in changed]

    def read(
        self,
        plan: ReadPlan,
        claimed: Sequence[Job],
        parts: OrderParts,
        answer: AnswerPage,
        *,
        ends_at: float,
        note: NotePage = lambda _: None,
    ) -> Tally:
        """Read the plan's pages while they are worth it; what is left then is asked for by its id."""
        held = {job.order_id: job for job in claimed}
        tally, pages, poor_pages, token, all_read = Tally(), 0, 0, plan.page_token, False
        try:
            while held and pages < plan.pages and (pages == 0 or self._goes_on(plan, ends_at)):
                # By ids, each page has its own orders, and all of them are answered by it or by their ids.
                asked = [*held][:IDS_A_PAGE] if plan.window is None else []
                try:
                    page = self._next_page(plan, list(held.values()), parts, token, asked)
                except AmazonError as error:
                    if not isinstance(error, LimitNotBefore):
                        note(None)
                    tally += self._refused(error)
                    break
                pages += 1
                answered = answer(page, held)
                unlisted = [held.pop(order_id) for order_id in asked if order_id in held]
                if unlisted:
                    answered += self.store(lambda job, _: self.ask_by_id(job), unlisted)
                tally += answered
                token = page.next_page_token
                note(page)
                if answered.outcomes.get(QUOTA):
                    # What a page leaves to calls of single orders cannot be asked now.
                    break
                # The next page costs as much as this one, and is to be worth it. The first may show what was asked
                # for by its id while the listing lagged.
                poor_pages = poor_pages + 1 if _count(answered) < plan.worth else 0
                is_last = token is None and not asked
                if is_last or poor_pages >= POOR_PAGES or len(held) < plan.worth:
                    all_read = True
                    break
            if all_read and held:
                tally += self.store(lambda job, _: self.ask_by_id(job), list(held.values()))
                held.clear()
            spent = {"pages_read": pages, "calls_saved": _count(tally) - pages} if pages else {}
            return tally + Tally({RELEASED: len(held)} if held else {}, notes=spent)
        finally:
            self.give_back(held.values())

    def _goes_on(self, plan: ReadPlan, ends_at: float) -> bool:
        """Also whether there is still a token beside those of others: other processes read pages too."""
        return self.clock() < ends_at and page_budget(self.orders.read_quota().listing, plan.priority) >= 1

    def store(self, handle: Handler, jobs: Sequence[Job]) -> Tally:
        """Answer these jobs from the page in hand; none keeps its lease if that ends in an error."""
        try:
            return self.run(handle, STORE_SECONDS, jobs)
        except BaseException:
            # A cancelled run as well: its jobs must not wait for their leases. Raised on as it came.
            self.give_back(jobs)
            raise

    def ask_by_id(self, job: Job) -> str:
        """No page answers this one: the next to be asked for by its id."""
        with self.database.transaction(self.account_id) as tx:
            enqueue(tx, self.queue, [job.subject], priority=job.base_priority + BY_ID_FIRST)
        return NOT_LISTED

    def give_back(self, jobs: Collection[Job]) -> None:
        """What was answered has lost its lease by then, and stays as it is."""
        if jobs:
            with self.database.transaction(self.account_id) as tx:
                for job in sorted(jobs, key=lambda job: job.subject):
                    release(tx, job)

    def _next_page(
        self, plan: ReadPlan, held: Sequence[Job], parts: OrderParts, token: str | None, asked: Sequence[str]
    ) -> SearchPage:
        with self.database.transaction(self.account_id) as tx:
            renew_all(tx, held, lease=self.lease)
        if plan.window is None:
            page = self.orders.list_orders(asked, parts, priority=plan.priority, deadline_seconds=PAGE_SECONDS)
        else:
            page = self.orders.search_orders(
                plan.window, parts=parts, page_token=token, priority=plan.priority, deadline_seconds=PAGE_SECONDS
            )
        with self.database.transaction(self.account_id) as tx:
            renew_all(tx, held, lease=self.lease)
            note_success(tx, AMAZON_LISTINGS)
        return page

    def _refused(self, error: AmazonError) -> Tally:
        """The crowd goes back: each finds out by itself whether Amazon answers. Pages are not asked for a while."""
        if isinstance(error, LimitNotBefore):
            return Tally()
        with self.database.transaction(self.account_id) as tx:
            note_refusal(tx, AMAZON_LISTINGS, None, str(error))
        return Tally(errors={type(error).__name__: 1})


def _count(tally: Tally) -> int:
    """How many jobs a page has answered."""
    return sum(count for word, count in tally.outcomes.items() if word not in (NOT_LISTED, QUOTA, RELEASED))
