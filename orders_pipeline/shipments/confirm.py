"""Tell Amazon which package left, once, before the ship-by time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.counters.rows import Counted, observe
from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.order import LABEL_PROGRAMS, SHIPPED_STATUSES, OrderStatus
from orders_pipeline.model.shipment import ConfirmedItem, ShipmentConfirmation
from orders_pipeline.model.states import PackageState
from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.orders.rows import order_row
from orders_pipeline.orders.told_shipments import ToldShipment, told_shipments
from orders_pipeline.shipments.carrier_watch import (
    CARRIER_RECHECK,
    choose_carrier,
    edit_if_mapped,
    enqueue_mapped,
)
from orders_pipeline.shipments.confirming import LEASE, WORKERS, Confirming
from orders_pipeline.shipments.failures import CONFIRM_FAILURES, CONFIRM_POLICY, event_of
from orders_pipeline.shipments.replacements import quantity_by_line
from orders_pipeline.shipments.rows import Package, change_package, lock_packages
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.shipments.verify import VERIFY_AFTER, verify_order
from orders_pipeline.work.jobs import AMAZON, Job, Queue, quota_of
from orders_pipeline.work.queue import complete, renew
from orders_pipeline.work.runner import LEASE_LOST, NotBefore, run_queue
from orders_pipeline.work.tally import Tally

# Amazon answered: the account is not refused.
_ANSWERED = frozenset({PackageState.ACCEPTED, PackageState.REFUSED_UNVERIFIED})


@dataclass(frozen=True, slots=True)
class _Call:
    confirmation: ShipmentConfirmation
    # Whether an earlier call may have told Amazon of the package.
    was_known: bool


def confirm_due_packages(
    work: Confirming, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> Tally:
    """Tell Amazon of every package that is due, nearest ship-by first, until none is or time or quota ends it."""
    mapped = enqueue_mapped(work)
    tally = run_queue(
        work.database,
        work.account_id,
        Queue.CONFIRM,
        partial(_confirm, work),
        workers=WORKERS,
        lease=LEASE,
        policy=CONFIRM_POLICY,
        deadline_seconds=deadline_seconds,
        proves=lambda word: {AMAZON} if word in _ANSWERED else (),
        clock=clock,
    )
    return tally + Tally({"mapped": mapped} if mapped else {})


def _confirm(work: Confirming, job: Job, seconds: float) -> str:
    ends = time.monotonic() + seconds
    prepared = _prepare(work, job)
    if prepared is PackageState.SENDING:
        # A call of before was begun, and what came of it is not known.
        try:
            verify_order(work, job.order_id, seconds, only=job.package_id)
        except NotBefore as wait:
            # The quota of reading is spent: packages that need no reading are confirmed all the same.
            raise NotBefore(wait.at, quota_of(Queue.VERIFY)) from wait
        prepared = _prepare(work, job)
    if not isinstance(prepared, _Call):
        return prepared
    try:
        work.shipments.confirm_shipment(prepared.confirmation, deadline_seconds=max(ends - time.monotonic(), 1.0))
    except AmazonError as error:
        event = event_of(error)
        word = _save_result(work, job, prepared, event, str(error))
        if event is not PackageEvent.CALL_REFUSED:
            raise CONFIRM_FAILURES.answer(error) from error
        return word
    return _save_result(work, job, prepared, PackageEvent.CALL_ACCEPTED)


def _prepare(work: Confirming, job: Job) -> _Call | PackageState | str:
    """Under the order's lock, build the confirmation and store that a call begins; or say why none is made.

    The answer is `sending` where an earlier call has to be verified first.
    """
    with work.database.transaction(work.account_id) as tx:
        package = _locked(tx, job)
        order = order_row(tx, job.order_id)
        if package is None or order is None:
            return "nothing"
        if not renew(tx, job, lease=LEASE):
            # Lost, or withdrawn by what was verified: no call is begun that no job would bring to its end.
            return LEASE_LOST
        if package.state == PackageState.CONFIRMED and package.carrier_mapped is False:
            if not edit_if_mapped(tx, work, package, order):
                return "watched"
            package = _locked(tx, job)
            assert package is not None, "its order is locked"
        if package.state not in (PackageState.PENDING, PackageState.AWAITS_CARRIER):
            return PackageState.SENDING if package.state == PackageState.SENDING else "nothing"
        return _begin_call(tx, work, package, order)


def _begin_call(tx: AccountTransaction, work: Confirming, package: Package, order: AnyRow) -> _Call | str:
    event = event_before_call(order, package, told=told_shipments(tx, [package.order_id]).get(package.order_id))
    if event is not None:
        state = change_package(tx, package, event, reason=None)
        work.audit.record_many(tx.connection, [work.state_entry(package, state)])
        return state
    choice = choose_carrier(work, package, order.marketplace_id)
    if choice.needs_correction:
        event = PackageEvent.CARRIER_UNKNOWN
        return change_package(tx, package, event, due_in=CARRIER_RECHECK, carrier_mapped=False)
    now = database_now(tx.connection)
    state = change_package(
        tx,
        package,
        PackageEvent.CALL_BEGUN,
        carrier_code=choice.code,
        carrier_name=choice.name,
        shipping_method=choice.shipping_method,
        carrier_mapped=choice.known,
        known_to_amazon=True,
        confirmations=package.confirmations + 1,
        verifications=0,
        sent_at=now,
    )
    work.audit.record_many(tx.connection, [work.state_entry(package, state)])
    confirmation = ShipmentConfirmation(
        order_id=package.order_id,
        marketplace_id=order.marketplace_id or work.default_marketplace_id,
        package_reference_id=package.package_reference_id,
        carrier_code=choice.code,
        carrier_name=choice.name,
        shipping_method=choice.shipping_method,
        tracking_number=bounded_text(package.tracking_number) or "",
        shipped_at=_ship_date(package, order, now),
        purchased_at=order.purchased_at,
        # Amazon refuses an item that is listed twice.
        items=tuple(
            ConfirmedItem(line_ref, quantity) for line_ref, quantity in quantity_by_line(package.lines).items()
        ),
    )
    return _Call(confirmation, package.known_to_amazon)


def event_before_call(order: AnyRow, package: Package, *, told: ToldShipment | None) -> PackageEvent | None:
    """What the order's state makes of a package that is to be confirmed; None: confirm it.

    `told`: what Amazon was told of the order's other packages.
    """
    if order.status == OrderStatus.CANCELLED:
        return PackageEvent.ORDER_CANCELLED
    if LABEL_PROGRAMS.intersection(order.programs):
        return PackageEvent.LABEL_BOUGHT
    by_us = told is not None and told.whole
    if order.status in SHIPPED_STATUSES and not by_us and not package.known_to_amazon and not package.verifications:
        # Amazon shows more as shipped than we told it: verify before confirming.
        return PackageEvent.ORDER_SHIPPED
    return None


def _ship_date(package: Package, order: AnyRow, now: datetime) -> datetime:
    """Amazon refuses a ship date before the purchase or in the future; a warehouse's clock may be off either way."""
    shipped_at = min(package.shipped_at or package.reported_at, now)
    return max(shipped_at, order.purchased_at) if order.purchased_at else shipped_at


def _save_result(work: Confirming, job: Job, call: _Call, event: PackageEvent, reason: str | None = None) -> str:
    """Store what came of the call; the outcome's word."""
    is_done = event in (PackageEvent.CALL_ACCEPTED, PackageEvent.CALL_REFUSED)
    with work.database.transaction(work.account_id) as tx:
        package = _locked(tx, job)
        # The lease may be lost, or another label reported meanwhile: then another call tells, and this one is over.
        is_ours = complete(tx, job) if is_done else renew(tx, job, lease=LEASE)
        if package is None or not is_ours:
            return LEASE_LOST
        word = str(event)
        if package.state == PackageState.SENDING:
            values: dict[str, object] = {"reason": reason if event is PackageEvent.CALL_REFUSED else None}
            if event is PackageEvent.CALL_NOT_MADE:
                values |= {"confirmations": package.confirmations - 1, "known_to_amazon": call.was_known}
            due_in = VERIFY_AFTER[0] if event is PackageEvent.CALL_ACCEPTED else timedelta()
            word = str(change_package(tx, package, event, due_in=due_in, **values))
            if event is PackageEvent.CALL_ACCEPTED and package.confirmations == 1:
                # The warehouse's clock is not believed where it is ahead of ours.
                left_at = min(package.shipped_at or package.reported_at, package.reported_at)
                observe(tx, Counted.SHIPPED_TO_CONFIRMED, left_at)
        # "call accepted" is no word for the log; "call_accepted" is.
        entry = work.entry(package, "shipment_confirmation", "confirm a package to Amazon", event.replace(" ", "_"))
        work.audit.record_many(tx.connection, [entry])
    return word


def _locked(tx: AccountTransaction, job: Job) -> Package | None:
    """The job's package, under its order's lock."""
    return next((one for one in lock_packages(tx, job.order_id) if one.package_id == job.package_id), None)
