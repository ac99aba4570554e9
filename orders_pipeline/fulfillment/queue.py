"""Derive what the warehouse should do next from the state of the orders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from orders_pipeline.alerts.rows import close_alerts, raise_alert
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
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
    claim_stale_orders,
    hasten_action,
    insert_fulfillment_order,
    lock_fulfillment_order,
    mark_derived,
    schedule_action,
    set_ship_by,
    update_fulfillment_order,
    warehouse_report,
)
from orders_pipeline.fulfillment.states import ACTIONABLE, ENDED, Event, IllegalTransition, next_state
from orders_pipeline.model.order import AMAZON
from orders_pipeline.model.states import NOT_AT_THE_WAREHOUSE, FulfillmentState
from orders_pipeline.orders.account_starts import awaits_adoption
from orders_pipeline.orders.erasures import erasure_requested
from orders_pipeline.orders.other_marketplaces import set_other_marketplace
from orders_pipeline.orders.rows import item_rows
from orders_pipeline.work.workers import apart, error_location

ORDERS_A_BATCH = 100
# Followed by the order.
DEFECT_ALERT = "order.defect:"
# Alerts that are about an order on its way; nobody needs them once it has ended.
_ALERTS_OF_THE_LIVING = ("too_late", "refused", "warehouse_cancelled", "short", "fewer_pieces", "impossible")
# These are about an order that need not be in the queue.
_ALERTS_UNTIL_IT_IS_OVER = ("erased", "answer_older", "no_fulfiller", "verification")
_EVENTS = {
    Wanted.SHIP: Event.SHIP,
    Wanted.HOLD: Event.HOLD,
    Wanted.CANCEL: Event.CANCEL,
    Wanted.CLOSE: Event.CLOSE,
    Wanted.ERASE: Event.ERASE,
}


@dataclass(slots=True)
class QueueTotals:
    """How many orders were looked at, and how many changed state, by the state that they came to."""

    orders: int = 0
    changed: dict[str, int] = field(default_factory=dict)


def derive_queue(
    database: Database, audit: AuditLog, *, account_id: str, marketplace_ids: Collection[str]
) -> QueueTotals:
    """Bring the queue in line with every order that changed. Safe beside other processes doing the same.

    Orders of other marketplaces than these are never queued.
    """
    totals = QueueTotals()
    while True:
        with database.transaction(account_id) as tx:
            rows = claim_stale_orders(tx, ORDERS_A_BATCH)
            if not rows:
                return totals
            entries: list[AuditEntry] = []
            decided: list[str] = []
            for row in rows:
                totals.orders += 1
                outcome = apart(tx.connection, partial(_derive_or_alert, tx, row, marketplace_ids))
                if isinstance(outcome, Exception):
                    _alert_defect(tx, row.order_id, outcome)
                    continue
                state, own_entries = outcome
                decided.append(row.order_id)
                entries += own_entries
                if state is not None:
                    totals.changed[state] = totals.changed.get(state, 0) + 1
            close_alerts(tx, keys=[f"{DEFECT_ALERT}{order_id}" for order_id in decided])
            # Those with a defect too: the next change of theirs, or a replay, has them decided again.
            mark_derived(tx, [row.order_id for row in rows])
            # Last: the audit chain's lock is held until the commit.
            audit.record_many(tx.connection, entries)


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
    action_in: timedelta | None = None,
) -> FulfillmentState:
    """Take one event into a locked fulfillment order; collect the audit entry of a change in `entries`.

    Raises IllegalTransition. The caller writes `entries` as the transaction's last act.
    """
    before = FulfillmentState(entry.state)
    after = next_state(before, event)
    if after is not before or set(reasons) != set(entry.hold_reasons):
        values: dict[str, object] = {"state": after.value, "hold_reasons": list(reasons)}
        if after is not before:
            values.update(attempts=0, last_error=None, parked_at=None)
        update_fulfillment_order(tx, order_id=entry.order_id, **values)
    if after is not before:
        due = (action_in or timedelta()) if after in ACTIONABLE else None
        schedule_action(tx, order_id=entry.order_id, delay=due)
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
        alert_state(tx, entry.order_id, before, after)
    return after


def alert_state(tx: AccountTransaction, order_id: str, before: FulfillmentState, after: FulfillmentState) -> None:
    """Raise the alert that goes with a state in which a person must act; close those that it makes pointless."""
    if after is FulfillmentState.TOO_LATE:
        raise_alert(
            tx,
            key=f"order.too_late:{order_id}",
            severity="error",
            message=f"Order {order_id} is cancelled or held at Amazon, but the warehouse could not stop it.",
            what_to_do="Ask the carrier to return the package, or let it go and refund on its return. Do not confirm "
            "the shipment of a cancelled order.",
        )
    over = [f"push.parked:{order_id}"]
    if before is FulfillmentState.TOO_LATE:
        over.append(f"order.too_late:{order_id}")
    if before is FulfillmentState.REFUSED:
        over += [f"order.refused:{order_id}", f"order.warehouse_cancelled:{order_id}"]
    if after in ENDED:
        over += [f"order.{kind}:{order_id}" for kind in _ALERTS_OF_THE_LIVING]
    close_alerts(tx, keys=over)


def _derive_or_alert(
    tx: AccountTransaction, row: AnyRow, marketplace_ids: Collection[str]
) -> tuple[str | None, list[AuditEntry]]:
    entries: list[AuditEntry] = []
    try:
        return _derive(tx, row, entries, marketplace_ids), entries
    except IllegalTransition as error:
        _alert_illegal_transition(tx, row.order_id, error)
        return None, entries


def _alert_defect(tx: AccountTransaction, order_id: str, error: Exception) -> None:
    raise_alert(
        tx,
        key=f"{DEFECT_ALERT}{order_id}",
        severity="error",
        message=f"What the warehouse should do about order {order_id} could not be decided: a defect of this program, "
        f"{error_location(error)}.",
        what_to_do="Report it. Run the job `recover_order` for this order once it is mended; until then look after it "
        "by hand.",
    )


def _derive(
    tx: AccountTransaction, row: AnyRow, entries: list[AuditEntry], marketplace_ids: Collection[str]
) -> str | None:
    facts = order_facts(tx, row, marketplace_ids)
    decision = decide(facts)
    entry = lock_fulfillment_order(tx, row.order_id)
    if decision.wanted in (Wanted.CANCEL, Wanted.CLOSE):
        # It was given up here, or asked about, before it was over at Amazon; now it is.
        over = [f"order.{kind}:{row.order_id}" for kind in _ALERTS_UNTIL_IT_IS_OVER]
        close_alerts(tx, keys=over)
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
    set_ship_by(tx, order_id=row.order_id, ship_by=row.ship_by)
    before = entry.state
    after = change_state(tx, entry, _EVENTS[decision.wanted], entries, reasons=decision.reasons)
    if after.value == before:
        _wake(tx, entry, after, decision)
    entry = replace(entry, state=after.value, hold_reasons=decision.reasons)
    reported = _take_report(tx, entry, entries)
    return reported or (after.value if after.value != before else None)


def _no_longer_configured(facts: OrderFacts, entry: FulfillmentRow) -> Decision:
    """Orders at the warehouse go on; the others wait until their marketplace is configured."""
    if FulfillmentState(entry.state) in NOT_AT_THE_WAREHOUSE:
        return Decision(Wanted.HOLD, (MARKETPLACE_NOT_CONFIGURED,))
    return decide(replace(facts, configured=True))


def _wake(tx: AccountTransaction, entry: FulfillmentRow, state: FulfillmentState, decision: Decision) -> None:
    """What a fulfillment order that stays in its state must not sleep through."""
    if state is FulfillmentState.QUEUED and not entry.parked:
        # It may have been waiting for the very look at Amazon that has come.
        hasten_action(tx, order_id=entry.order_id)
    if entry.parked and state in ACTIONABLE and decision.wanted is Wanted.CANCEL:
        # Parked, because the warehouse could not be reached; but now it is to be stopped, and that cannot wait.
        schedule_action(tx, order_id=entry.order_id, delay=timedelta(), attempts=0, parked_at=None)


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
        return [Event.ALL_LEFT if all_left else Event.PACKAGE_LEFT]
    if report.cancelled_by_warehouse:
        return [Event.WAREHOUSE_CANCELLED]
    return [Event.NOTHING_LEFT] if FulfillmentState(entry.state) is FulfillmentState.SHIPPED else []


def _alert_illegal_transition(tx: AccountTransaction, order_id: str, error: IllegalTransition) -> None:
    raise_alert(
        tx,
        key=f"order.impossible:{order_id}",
        severity="error",
        message=f"Order {order_id} was left as it is. {error}.",
        what_to_do="Compare the order at Amazon and at the warehouse, and report this as a defect.",
    )


def _enter(tx: AccountTransaction, row: AnyRow, decision: Decision, entries: list[AuditEntry]) -> str | None:
    if decision.wanted not in (Wanted.SHIP, Wanted.HOLD):
        # Cancelled or shipped before it ever was in the queue: nothing for the warehouse.
        return None
    state = FulfillmentState.QUEUED if decision.wanted is Wanted.SHIP else FulfillmentState.HELD
    insert_fulfillment_order(
        tx, order_id=row.order_id, state=state.value, reasons=decision.reasons, ship_by=row.ship_by
    )
    if state is FulfillmentState.QUEUED:
        schedule_action(tx, order_id=row.order_id, delay=timedelta())
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
