"""Verify confirmed packages against Amazon's own answer: one call for all packages of an order.

A 204 can be a package that silently is not there, for instance under a carrier code that Amazon does not know
(amzn/selling-partner-api-models#5232). 2026-01-01 shows packages; v0 shows quantities shipped, which prove less, but
something. Of an edit they prove nothing (`replacements.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.failures import READ_FAILURES, READ_POLICY
from orders_pipeline.channels.amazon.listed_items import ListedItems
from orders_pipeline.channels.amazon.listed_jobs import NOT_LISTED
from orders_pipeline.channels.amazon.read_plan import is_urgent
from orders_pipeline.counters.rows import Counted, observe
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.model.order import SHIPPED_STATUSES, FetchedOrder, Order, OrderParts, OrderStatus, Priority
from orders_pipeline.model.order import Package as ShownPackage
from orders_pipeline.model.states import TO_VERIFY, PackageState
from orders_pipeline.orders.answers import refresh_order
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.shipments.carrier_watch import watch_carrier
from orders_pipeline.shipments.confirming import LEASE, WORKERS, Confirming
from orders_pipeline.shipments.replacements import (
    number_may_prove,
    quantities_may_prove,
    quantity_by_line,
    take_over,
    voided_twin,
)
from orders_pipeline.shipments.rows import Package, change_package, lock_packages
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.shipments.verify_pages import VerifyPages
from orders_pipeline.work.jobs import AMAZON, Job, Queue
from orders_pipeline.work.queue import complete
from orders_pipeline.work.runner import Handler, run_queue
from orders_pipeline.work.tally import Tally

# How long after the call Amazon is asked what it shows. Sooner often reads the state before; it may take minutes.
VERIFY_AFTER = (timedelta(seconds=15), timedelta(seconds=75), timedelta(seconds=315))
# A confirmation that was accepted and dropped this often will be dropped again.
CONFIRMATIONS_BEFORE_GIVING_UP = 4
# Amazon's quantities may hold packages in these states. Of two that were told it may have taken either: unless all are
# covered, none is proven. Telling both again does no harm.
_COUNTED = frozenset(
    {
        PackageState.SENDING,
        PackageState.ACCEPTED,
        PackageState.REFUSED_UNVERIFIED,
        PackageState.CONFIRMED,
        PackageState.BY_HAND,
        PackageState.AWAITS_REPLACEMENT,
    }
)
NOTHING_TO_VERIFY = "nothing"
# In any other, nothing of the order is shipped.
_SHOWS_SHIPMENTS = SHIPPED_STATUSES | {OrderStatus.PARTIALLY_SHIPPED}


def verify_due_packages(
    work: Confirming, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> Tally:
    """See what Amazon shows of every order that is due, until none is or time or quota ends it.

    A crowd is read by pages; what is urgent, or what no page shows, one by one.
    """
    ends_at = clock() + deadline_seconds

    def run(handle: Handler, seconds: float, claimed: Sequence[Job] | None = None) -> Tally:
        return run_queue(
            work.database,
            work.account_id,
            Queue.VERIFY,
            handle,
            workers=WORKERS,
            lease=LEASE,
            policy=READ_POLICY,
            deadline_seconds=seconds,
            proves=lambda word: () if word in (NOTHING_TO_VERIFY, NOT_LISTED) else {AMAZON},
            claimed=claimed,
            clock=clock,
        )

    listed = VerifyPages(work, run, partial(_keep_shown, work), ends_at, clock).read()
    return listed + run(partial(_verify, work), max(ends_at - clock(), 0.0))


def _verify(work: Confirming, job: Job, seconds: float) -> str:
    with work.database.transaction(work.account_id) as tx:
        if not any(package.state in TO_VERIFY for package in lock_packages(tx, job.order_id)):
            return NOTHING_TO_VERIFY
        now = database_now(tx.connection)
    # Near its ship-by time there is still time to tell Amazon again, if it is known that it does not show the package.
    priority = Priority.EVENT if is_urgent(job.ship_by, now) else Priority.SWEEP
    outcomes = verify_order(work, job.order_id, seconds, priority=priority, job=job)
    return _word(outcomes)


def verify_order(
    work: Confirming,
    order_id: str,
    seconds: float,
    *,
    only: str | None = None,
    priority: Priority = Priority.EVENT,
    job: Job | None = None,
) -> Counter[str]:
    """Ask Amazon for the order, and store what it shows of its packages that are to be verified.

    `only`: of this package, also while what came of its call is unknown. `job`: what this answers. Raises what the
    job's handler is to raise.
    """
    try:
        order = work.orders.get_order(order_id, OrderParts.PACKAGES, priority=priority, deadline_seconds=seconds).order
    except AmazonError as error:
        raise READ_FAILURES.answer(error) from error
    with work.database.transaction(work.account_id) as tx:
        packages = lock_packages(tx, order_id)
        chosen = [one for one in packages if (one.package_id == only if only is not None else one.state in TO_VERIFY)]
        return _keep(tx, work, order, packages, chosen, job)


def _keep_shown(work: Confirming, job: Job, listed: Order, items: ListedItems, seconds: float) -> str | None:
    """Store what a page shows, if it shows every package that is to be verified; None, and nothing stored, if not."""
    if listed.packages is None and listed.status not in _SHOWS_SHIPMENTS:
        return None
    order = items.complete(FetchedOrder(listed), OrderParts.PACKAGES, seconds, priority=Priority.SWEEP).order
    with work.database.transaction(work.account_id) as tx:
        packages = lock_packages(tx, job.order_id)
        chosen = [one for one in packages if one.state in TO_VERIFY]
        if not chosen:
            return NOTHING_TO_VERIFY
        now = database_now(tx.connection)
        if any(decide(one, packages, order, now).event is not PackageEvent.SHOWN for one in chosen):
            return None
        return _word(_keep(tx, work, order, packages, chosen, job))


def _keep(
    tx: AccountTransaction,
    work: Confirming,
    order: Order,
    packages: Sequence[Package],
    chosen: Sequence[Package],
    job: Job | None,
) -> Counter[str]:
    """Store what the answer shows of the chosen packages, whose order is locked; their new states."""
    if job is not None:
        # Before the next verification is enqueued: that one has not been asked for by its order's id, and may be paged.
        complete(tx, job)
    # What this answer shows of the order is not to be asked for once more.
    refresh_order(tx, order)
    now = database_now(tx.connection)
    outcomes: Counter[str] = Counter()
    entries = []
    for package in chosen:
        state = _apply(tx, package, packages, order, now)
        outcomes[str(state)] += 1
        entries.append(work.entry(package, "shipment_verification", "verify a package at Amazon", str(state)))
    work.audit.record_many(tx.connection, entries)
    return outcomes


def _word(outcomes: Counter[str]) -> str:
    return next(iter(outcomes)) if len(outcomes) == 1 else "several"


def _apply(
    tx: AccountTransaction, package: Package, packages: Sequence[Package], order: Order, now: datetime
) -> PackageState:
    if package.state not in (*TO_VERIFY, PackageState.SENDING):
        return PackageState(package.state)
    verified = decide(package, packages, order, now)
    if verified.voided is not None:
        return take_over(tx, package, verified.voided)
    values: dict[str, object] = {"verifications": package.verifications + 1}
    if verified.event is PackageEvent.SHOWN:
        values |= {"confirmed_at": now, "reason": None}
        if package.sent_at is not None and package.confirmed_at is None:
            observe(tx, Counted.CONFIRMED_TO_VERIFIED, package.sent_at)
    state = change_package(tx, package, verified.event, due_in=verified.due_in, **values)
    if state is PackageState.CONFIRMED and package.carrier_mapped is False and package.known_to_amazon:
        watch_carrier(tx, package)
    if package.state == PackageState.PRESUMED and state is PackageState.PENDING:
        # We assumed that somebody else had confirmed it, and nobody has.
        request_fetch(tx, order_id=package.order_id)
    return state


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Amazon's answer means for a package. `voided`: the package whose place it takes."""

    event: PackageEvent
    due_in: timedelta = timedelta()
    voided: Package | None = None


def decide(package: Package, packages: Sequence[Package], order: Order, now: datetime) -> Verdict:
    """What an answer of Amazon's means for one of the order's packages; `now` (aware, UTC) is the database's."""
    if _is_there(package, packages, order):
        return Verdict(PackageEvent.SHOWN)
    if order.status == OrderStatus.CANCELLED:
        return Verdict(PackageEvent.ORDER_CANCELLED)
    if package.state == PackageState.PRESUMED and order.status in SHIPPED_STATUSES:
        return Verdict(PackageEvent.CONFIRMED_ELSEWHERE)
    if package.state == PackageState.REFUSED_UNVERIFIED:
        # A replacement that came before the word that it replaces another is refused beside that one.
        voided = voided_twin(package.lines, packages)
        return Verdict(PackageEvent.NOT_SHOWN if voided is None else PackageEvent.TAKES_PLACE, voided=voided)
    if package.state != PackageState.ACCEPTED:
        return Verdict(PackageEvent.NOT_SHOWN)
    wait = wait_for_amazon(package.sent_at, now)
    if wait is not None:
        return Verdict(PackageEvent.NOT_SHOWN, due_in=wait)
    is_last = package.confirmations >= CONFIRMATIONS_BEFORE_GIVING_UP
    return Verdict(PackageEvent.NEVER_SHOWN if is_last else PackageEvent.NOT_SHOWN_IN_TIME)


def wait_for_amazon(sent_at: datetime | None, now: datetime) -> timedelta | None:
    """How long until an accepted package that is not shown is verified again; None: that was the last time."""
    passed = now - sent_at if sent_at is not None else VERIFY_AFTER[-1]
    return next((after - passed for after in VERIFY_AFTER if after > passed), None)


def _is_there(package: Package, packages: Sequence[Package], order: Order) -> bool:
    if order.packages is None:
        return quantities_may_prove(package) and _quantities_are_there(package, packages, order)
    return number_may_prove(package) and any(_shows(shown, package) for shown in order.packages)


def _shows(shown: ShownPackage, package: Package) -> bool:
    """Amazon may name a package otherwise than we did (facts §2); the tracking number is what the buyer sees."""
    if (shown.tracking_number or "").strip() != (package.tracking_number or "").strip():
        return False
    return not shown.items or dict(shown.items) == quantity_by_line(package.lines)


def _quantities_are_there(package: Package, packages: Sequence[Package], order: Order) -> bool:
    """v0: whether Amazon counts as shipped all that this package and the others that it may have taken hold."""
    shipped = {item.order_item_id: item.quantity_fulfilled for item in order.items}
    others = (one.lines for one in packages if one.state in _COUNTED and one.package_id != package.package_id)
    needed = quantity_by_line([line for lines in (package.lines, *others) for line in lines])
    return all(shipped.get(line["line_ref"], 0) >= needed[line["line_ref"]] for line in package.lines)
