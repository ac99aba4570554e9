"""Verify a crowd of packages from pages of a listing, and choose which of the others are asked about now.

A page proves that a package is there, and nothing else: what it does not show is asked for by its order's id. A crowd
that is not urgent waits until Amazon's listing shows it: a page is one call for a hundred. So do a few, while the
bucket of single calls is low, for new orders go before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.channels.amazon.listed_items import ListedItems
from orders_pipeline.channels.amazon.listed_jobs import ListedJobs, RunJobs
from orders_pipeline.channels.amazon.read_plan import (
    CROWD,
    IDS_A_PAGE,
    ORDERS_A_PAGE,
    Waiting,
    can_wait,
    hold_back,
    page_comes_at,
    plan_reads,
)
from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.order import Order, OrderParts, SearchPage
from orders_pipeline.model.states import TO_VERIFY, PackageState
from orders_pipeline.shipments.confirming import LEASE, Confirming
from orders_pipeline.work.jobs import AMAZON_LISTINGS, Job, Queue
from orders_pipeline.work.pauses import is_paused
from orders_pipeline.work.queue import release
from orders_pipeline.work.tally import Tally

# What is due so soon is answered by the same page.
DUE_SOON = timedelta(minutes=5)
# So long a verification that waits for company is not looked at again.
HOLD = timedelta(minutes=1)
MOST_LOOKED_AT = 2500

_WAITING = text("""
    select j.subject as order_id, j.version, j.ship_by, j.due_at <= clock_timestamp() as is_due,
        j.priority > 0 or j.attempts > 0 or j.lost_leases > 0 or p.is_doubtful as alone, p.sent_at
    from pipeline.jobs j
    join lateral (
        select max(c.sent_at) as sent_at, bool_or(c.state <> :accepted or c.edited is not null) as is_doubtful
        from pipeline.shipment_confirmations c
        where c.account_id = j.account_id and c.order_id = j.subject and c.state = any(:to_verify)) as p
      on p.sent_at is not null
    where j.account_id = :account_id and j.queue = :queue and j.parked_at is null and j.leased_until is null
      and j.due_at <= clock_timestamp() + :soon
    order by j.priority desc, j.ship_by, j.due_at limit :limit
""")

# Stores what an answer shows of the order's packages, if it shows all that are to be verified; the outcome, else None.
# The items that the page leaves out are asked for within so many seconds, where they can prove it.
KeepShown = Callable[[Job, Order, ListedItems, float], str | None]


@dataclass(slots=True)
class VerifyPages:
    """The pages of one run of verifications."""

    work: Confirming
    run: RunJobs
    keep_shown: KeepShown
    ends_at: float
    clock: Callable[[], float] = time.monotonic
    _listed: ListedJobs = field(init=False)

    def __post_init__(self) -> None:
        work = self.work
        self._listed = ListedJobs(
            work.orders, work.database, work.account_id, Queue.VERIFY, LEASE, self.run, self.clock
        )

    def read(self) -> Tally:
        """Read pages, if a crowd waits; let wait what is to wait. What is due then is asked about one by one."""
        work = self.work
        with work.database.transaction(work.account_id) as tx:
            rows = _waiting(tx)
            now = database_now(tx.connection)
            paused = is_paused(tx, AMAZON_LISTINGS)
        if not rows or paused:
            return Tally()
        waiting = [Waiting(row.order_id, row.sent_at, row.ship_by, row.alone) for row in rows]
        quota = work.orders.read_quota()
        versions = {row.order_id: row.version for row in rows}
        due = {row.order_id for row in rows if row.is_due}
        by_ids = not work.orders.lists_whole_orders
        page_at = page_comes_at(waiting, quota, now, IDS_A_PAGE if by_ids else ORDERS_A_PAGE)
        if page_at is not None and page_at > now:
            held = [one.order_id for one in waiting if one.order_id in due and can_wait(one, now)]
            return self._hold(held, versions, page_at - now)
        tally = Tally()
        if len(rows) >= CROWD:
            plan = plan_reads(waiting, quota, now, work.marketplace_ids, by_ids=by_ids, in_haste=False)
            tally += Tally(notes={"plan": plan.reason})
            claimed = self._listed.claim({order_id: versions[order_id] for order_id in plan.listed})
            if claimed:
                tally += self._listed.read(plan, claimed, OrderParts.PACKAGES, self._answer, ends_at=self.ends_at)
            listed = set(plan.listed)
            waiting = [one for one in waiting if one.order_id not in listed]
        held = hold_back([one for one in waiting if one.order_id in due], quota, now)
        return tally + self._hold(held, versions, HOLD)

    def _hold(self, order_ids: Sequence[str], versions: Mapping[str, int], duration: timedelta) -> Tally:
        """Let these wait so long."""
        with self.work.database.transaction(self.work.account_id) as tx:
            until = database_now(tx.connection) + duration
            for job in self._listed.claim({order_id: versions[order_id] for order_id in order_ids}):
                release(tx, job, due_at=until)
        return Tally(notes={"waiting_for_company": len(order_ids)} if order_ids else {})

    def _answer(self, page: SearchPage, held: dict[str, Job]) -> Tally:
        shown = {order.order_id: order for order in page.orders}
        jobs = [held.pop(order_id) for order_id in [*held] if order_id in shown]

        items = ListedItems(self.work.orders, self.work.database, self.work.account_id, page.pieces)

        def handle(job: Job, seconds: float) -> str:
            return self.keep_shown(job, shown[job.order_id], items, seconds) or self._listed.ask_by_id(job)

        return self._listed.store(handle, jobs) + items.as_tally()


def _waiting(tx: AccountTransaction) -> Sequence[AnyRow]:
    """The orders whose packages are to be verified now or soon, in the order of their jobs."""
    values = {
        "account_id": tx.account_id,
        "queue": Queue.VERIFY,
        "accepted": PackageState.ACCEPTED,
        "to_verify": [str(state) for state in TO_VERIFY],
        "soon": DUE_SOON,
        "limit": MOST_LOOKED_AT,
    }
    return tx.execute(_WAITING, values).all()
