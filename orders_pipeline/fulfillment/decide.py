"""Decide what the warehouse should do next about every order that changed, and take it into its fulfillment order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database, database_now
from orders_pipeline.fulfillment.eligibility import (
    MARKETPLACE_NOT_CONFIGURED,
    Decision,
    ItemFacts,
    OrderFacts,
    Wanted,
    decide,
)
from orders_pipeline.fulfillment.rows import (
    FulfillmentRow,
    insert_fulfillment_order,
    lock_fulfillment_order,
    set_ship_by,
    update_fulfillment_order,
    warehouse_report,
    wms_order,
)
from orders_pipeline.fulfillment.states import ACTIONABLE, ORDER_STATES, STOPPING, Event
from orders_pipeline.model.order import AMAZON
from orders_pipeline.model.state_machine import IllegalTransition
from orders_pipeline.model.states import NOT_AT_THE_WAREHOUSE, FulfillmentState
from orders_pipeline.orders.erasures import erasure_requested
from orders_pipeline.orders.ownership import awaits_adoption, set_other_marketplace
from orders_pipeline.orders.rows import item_rows, lock_orders, order_row
from orders_pipeline.work.jobs import STOP_FIRST, Job, Queue
from orders_pipeline.work.queue import claim, complete, enqueue, find, park, release, withdraw
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import apart, error_location

ORDERS_A_BATCH = 100
# Within one transaction: nobody else ever sees it.
DECIDE_LEASE = timedelta(minutes=1)
# An order that another transaction holds is mostly free again by then.
LOCKED_RETRY = timedelta(seconds=1)
_EVENTS = {
    Wanted.SHIP: Event.SHIP,
    Wanted.HOLD: Event.HOLD,
    Wanted.CANCEL: Event.CANCEL,
    Wanted.CLOSE: Event.CLOSE,
    Wanted.ERASE: Event.ERASE,
}


def decide_orders(
    database: Database,
    audit: AuditLog,
    *,
    account_id: str,
    marketplace_ids: Collection[str],
    deadline_seconds: float = 45.0,
) -> Tally:
    """Decide about every order that changed; the outcomes are the states that orders came to, or `unchanged`.

    Safe beside other processes doing the same. Orders of other marketplaces than these are never queued. After the
    deadline no further batch is begun.
    """
    tally, ends_at = Tally(), time.monotonic() + deadline_seconds
    while True:
        with database.transaction(account_id) as tx:
            # Claimed and completed in one transaction: one that is rolled back has tried nothing.
            claimed = claim(tx, Queue.DECIDE, limit=ORDERS_A_BATCH, lease=DECIDE_LEASE)
            if not claimed:
                return tally
            entries: list[AuditEntry] = []
            tally += _decide_batch(tx, claimed, marketplace_ids, entries)
            # Last: the audit chain's lock is held until the commit.
            audit.record_many(tx.connection, entries)
        if time.monotonic() >= ends_at:
            return tally


def _decide_batch(
    tx: AccountTransaction, claimed: Sequence[Job], marketplace_ids: Collection[str], entries: list[AuditEntry]
) -> Tally:
    # Whoever enqueues holds the order and waits for its job, which is ours by now: waiting for the order as well would
    # be a deadlock.
    locked = lock_orders(tx, [job.order_id for job in claimed], skip_locked=True)
    outcomes: Counter[str] = Counter()
    for job in sorted(claimed, key=lambda job: job.order_id):
        row = locked.get(job.order_id)
        if row is None:
            if order_row(tx, job.order_id) is None:
                complete(tx, job)
            else:
                release(tx, job, due_at=database_now(tx.connection) + LOCKED_RETRY)
            continue
        own: list[AuditEntry] = []
        outcome = apart(tx.connection, partial(_decide, tx, row, own, marketplace_ids))
        if isinstance(outcome, Exception):
            park(tx, job, _defect(outcome))
            outcomes["parked"] += 1
            continue
        complete(tx, job)
        entries += own
        outcomes[outcome or "unchanged"] += 1
    return Tally(outcomes, parked=outcomes["parked"])


def _defect(error: Exception) -> str:
    if isinstance(error, IllegalTransition):
        return f"{error}. Compare the order at Amazon and at the warehouse, and report this as a defect"
    return f"a defect of this program: {error_location(error)}. Report it"


def order_facts(tx: AccountTransaction, row: AnyRow, marketplace_ids: Collection[str]) -> OrderFacts:
    """What the decision about one order is made from."""
    return OrderFacts(
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        fetched=row.fetched_at is not None,
        has_address=row.has_address,
        cancellation_requested=row.cancellation_requested,
        programs=frozenset(row.programs),
        erasure_requested=bool(erasure_requested(tx, [row.order_id])),
        waived=frozenset(row.waived_holds),
        awaits_adoption=awaits_adoption(tx, row),
        configured=None if row.marketplace_id is None else row.marketplace_id in marketplace_ids,
        cancellation_announced=row.cancellation_told_at is not None,
        verification=row.verification,
        dosage_label=row.dosage_label,
        items=tuple(
            ItemFacts(
                ordered=item.quantity_ordered,
                fulfilled=item.quantity_fulfilled,
                cancelled=item.cancelled,
                has_sku=bool(item.sku),
                programs=frozenset(item.programs),
            )
            for item in item_rows(tx, row.order_id)
        ),
    )


def change_state(
    tx: AccountTransaction,
    entry: FulfillmentRow,
    event: Event,
    entries: list[AuditEntry],
    *,
    reasons: Sequence[str] = (),
) -> FulfillmentState:
    """Take one event into a locked fulfillment order; collect the audit entry of a change in `entries`.

    What the new state asks of the warehouse is enqueued; what the old one asked is withdrawn. Raises IllegalTransition.
    The caller writes `entries` as the transaction's last act.
    """
    before = FulfillmentState(entry.state)
    after = ORDER_STATES.next_state(before, event)
    if after is not before or set(reasons) != set(entry.hold_reasons):
        update_fulfillment_order(tx, order_id=entry.order_id, state=after.value, hold_reasons=list(reasons))
    if after is not before:
        _enqueue_or_withdraw(tx, entry, after)
        entries.append(
            AuditEntry(
                action="fulfillment_state",
                account_id=tx.account_id,
                order_id=entry.order_id,
                purpose=event.value,
                outcome=after.value,
                detail={"before": before.value},
            )
        )
    return after


def _enqueue_or_withdraw(tx: AccountTransaction, entry: FulfillmentRow, state: FulfillmentState) -> None:
    if state is FulfillmentState.PUSHING:
        # The worker that begins the push has the job in hand; its lease brings the order back.
        return
    if state in ACTIONABLE:
        priority = STOP_FIRST if state in STOPPING else None
        enqueue(tx, Queue.PUSH, [entry.order_id], priority=priority, ship_by=entry.ship_by)
    elif FulfillmentState(entry.state) in ACTIONABLE:
        withdraw(tx, Queue.PUSH, [entry.order_id])


def _decide(
    tx: AccountTransaction, row: AnyRow, entries: list[AuditEntry], marketplace_ids: Collection[str]
) -> str | None:
    facts = order_facts(tx, row, marketplace_ids)
    decision = decide(facts)
    entry = lock_fulfillment_order(tx, row.order_id)
    if entry is None:
        if decision.wanted is Wanted.OUTSIDE:
            set_other_marketplace(tx, order_id=row.order_id)
        return _enter(tx, row, decision, entries)
    if decision.wanted is Wanted.OUTSIDE:
        decision = _no_longer_configured(facts, entry)
    elif facts.fulfilled_by == AMAZON and FulfillmentState(entry.state) in NOT_AT_THE_WAREHOUSE:
        # It was held until Amazon said who ships it: Amazon does.
        decision = Decision(Wanted.CLOSE)
    if decision.wanted is Wanted.NOTHING:
        # Nothing is asked for; what the warehouse reports still counts, and a package can leave all the same.
        return _take_report(tx, entry, entries)
    if row.ship_by != entry.ship_by:
        set_ship_by(tx, order_id=row.order_id, ship_by=row.ship_by)
        entry = replace(entry, ship_by=row.ship_by)
    before = entry.state
    after = change_state(tx, entry, _event(tx, entry, decision), entries, reasons=decision.reasons)
    if after.value == before:
        _wake(tx, entry, after, decision)
    entry = replace(entry, state=after.value, hold_reasons=decision.reasons)
    reported = _take_report(tx, entry, entries)
    if reported is not None:
        # What left may be what the decision speaks of: all of a cancelled order, while its push was in doubt.
        entry = replace(entry, state=reported)
        after = change_state(tx, entry, _event(tx, entry, decision), entries, reasons=decision.reasons)
    return after.value if after.value != before else None


def _event(tx: AccountTransaction, entry: FulfillmentRow, decision: Decision) -> Event:
    waits = FulfillmentState(entry.state) in (FulfillmentState.QUEUED, FulfillmentState.HELD)
    if decision.wanted is Wanted.CANCEL and waits and wms_order(tx, entry.order_id) is not None:
        return Event.CANCEL_BEGUN
    return _EVENTS[decision.wanted]


def _no_longer_configured(facts: OrderFacts, entry: FulfillmentRow) -> Decision:
    """Orders at the warehouse go on; the others wait until their marketplace is configured."""
    if FulfillmentState(entry.state) in NOT_AT_THE_WAREHOUSE:
        return Decision(Wanted.HOLD, (MARKETPLACE_NOT_CONFIGURED,))
    return decide(replace(facts, configured=True))


def _wake(tx: AccountTransaction, entry: FulfillmentRow, state: FulfillmentState, decision: Decision) -> None:
    """Make due what waited for this very decision; and what was set aside, where the order is to be stopped by now."""
    if state not in ACTIONABLE:
        return
    job = find(tx, Queue.PUSH, entry.order_id)
    if job is None:
        is_to_wake = True
    elif job.parked_at is not None:
        is_to_wake = decision.wanted is Wanted.CANCEL
    else:
        is_to_wake = state is FulfillmentState.QUEUED and job.leased_until is None
    if is_to_wake:
        enqueue(tx, Queue.PUSH, [entry.order_id], ship_by=entry.ship_by)


def _take_report(tx: AccountTransaction, entry: FulfillmentRow, entries: list[AuditEntry]) -> str | None:
    changed: str | None = None
    for event in _what_left(tx, entry):
        after = change_state(tx, entry, event, entries, reasons=entry.hold_reasons)
        if after.value != entry.state:
            changed = after.value
            entry = replace(entry, state=after.value)
    return changed


def _what_left(tx: AccountTransaction, entry: FulfillmentRow) -> list[Event]:
    """What the warehouse has reported of this order, as an event; taking it again changes nothing."""
    report = warehouse_report(tx, entry.order_id)
    if report.units_left:
        # A partly shipped order is not cancelled: its package is in transit.
        # v0 shows no quantities for a cancelled order: ask the warehouse what it can still stop.
        all_left = report.units_left >= report.units_ordered > 0
        return [Event.ALL_SHIPPED if all_left else Event.PARTLY_SHIPPED]
    if report.cancelled_by_warehouse:
        return [Event.WAREHOUSE_CANCELLED]
    return [Event.ALL_VOIDED] if FulfillmentState(entry.state) is FulfillmentState.SHIPPED else []


def _enter(tx: AccountTransaction, row: AnyRow, decision: Decision, entries: list[AuditEntry]) -> str | None:
    if decision.wanted not in (Wanted.SHIP, Wanted.HOLD):
        # Cancelled or shipped before it ever was a fulfillment order: nothing for the warehouse.
        return None
    state = FulfillmentState.QUEUED if decision.wanted is Wanted.SHIP else FulfillmentState.HELD
    insert_fulfillment_order(
        tx, order_id=row.order_id, state=state.value, reasons=decision.reasons, ship_by=row.ship_by
    )
    if state is FulfillmentState.QUEUED:
        enqueue(tx, Queue.PUSH, [row.order_id], ship_by=row.ship_by)
    entries.append(
        AuditEntry(
            action="fulfillment_state",
            account_id=tx.account_id,
            order_id=row.order_id,
            purpose=decision.wanted.value,
            outcome=state.value,
            detail={"before": None},
        )
    )
    return state.value
