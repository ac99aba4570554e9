"""Take the warehouse's events into packages: which left, which will not travel, which replaces which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from orders_pipeline.alerts.rows import close_alert, close_alerts, raise_alert
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.model.states import SUPERSEDED, PackageState
from orders_pipeline.orders.account_starts import PURCHASED_BEFORE_START, awaits_adoption, shipped_before_start
from orders_pipeline.orders.rows import lock_orders, order_row
from orders_pipeline.shipments.confirmable import alert_needs_correction, correction_needed
from orders_pipeline.shipments.edits import edit_of
from orders_pipeline.shipments.labels import read_labels
from orders_pipeline.shipments.replacements import mark_replaced, next_reference, voided_twin
from orders_pipeline.shipments.rows import (
    Confirmation,
    claim_shipment_events,
    insert_confirmation,
    lock_confirmations,
    lock_shipment_events,
    mark_shipment_event,
    package_events,
    reopen_events_of_known_orders,
    reopen_failed_events,
    update_confirmation,
)
from orders_pipeline.shipments.voids import take_new_label, take_void
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue
from orders_pipeline.work.workers import apart, error_location

EVENTS_A_BATCH = 100
# Followed by the order.
DEFECT_ALERT = "package.event_defect:"
UNKNOWN_ORDER_ALERT = "package.unknown_order:"


@dataclass(slots=True)
class PackageTotals:
    """What became of the events, by outcome."""

    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def apply_shipments(database: Database, audit: AuditLog, *, account_id: str) -> PackageTotals:
    """Absorb every pending event, in the warehouse's order. Safe beside other processes doing the same."""
    totals = PackageTotals()
    with database.transaction(account_id) as tx:
        reopen_events_of_known_orders(tx)
        reopen_failed_events(tx)
    while True:
        with database.transaction(account_id) as tx:
            lock_shipment_events(tx)
            events = claim_shipment_events(tx, EVENTS_A_BATCH)
            if not events:
                return totals
            # All at once, in order of id: whoever else locks several orders does so too.
            lock_orders(tx, sorted({event.order_id for event in events}))
            entries: list[AuditEntry] = []
            applied: set[str] = set()
            known: set[str] = set()
            for event in events:
                outcome = apart(tx.connection, partial(_apply, tx, event))
                if isinstance(outcome, Exception):
                    _alert_defect(tx, event.order_id, outcome)
                    outcome = "defect"
                else:
                    applied.add(event.order_id)
                    if outcome != "unknown_order":
                        known.add(event.order_id)
                mark_shipment_event(tx, event.event_id, outcome)
                totals.count(outcome)
                entries.append(
                    AuditEntry(
                        action="package_event",
                        account_id=account_id,
                        order_id=event.order_id,
                        purpose="report of the warehouse",
                        outcome=outcome,
                    )
                )
            over = [f"{DEFECT_ALERT}{order_id}" for order_id in sorted(applied)]
            over += [f"{UNKNOWN_ORDER_ALERT}{order_id}" for order_id in sorted(known)]
            close_alerts(tx, keys=over)
            audit.record_many(tx.connection, entries)


def _apply(tx: AccountTransaction, event: AnyRow) -> str:
    order = order_row(tx, event.order_id)
    if order is None and shipped_before_start(tx, event.shipped_at):
        # The warehouse's first events are of packages that an old process confirmed.
        return PURCHASED_BEFORE_START
    if order is None:
        _alert(tx, f"{UNKNOWN_ORDER_ALERT}{event.order_id}", "The warehouse reported a package of "
               f"order {event.order_id}, which this pipeline does not know.", "Look whose order it is; run "
               "`recover_order` if it is ours.")  # fmt: skip
        return "unknown_order"
    if awaits_adoption(tx, order):
        # Whoever pushed it confirms it; two would show Amazon two packages. `adopt` takes this event up again.
        return PURCHASED_BEFORE_START
    packages = lock_confirmations(tx, event.order_id)
    match event.kind:
        case "shipped":
            outcome = _shipped(tx, event, order, packages)
        case "voided":
            outcome = take_void(tx, event, packages)
        case "short":
            _alert(tx, f"order.short:{event.order_id}",
                   f"The warehouse cannot ship some items of order {event.order_id}.",
                   "Cancel these items at Amazon (only the seller can), or have the warehouse restock.")  # fmt: skip
            outcome = "short"
        case "cancelled":
            if order.status != "CANCELLED":
                _alert(tx, f"order.warehouse_cancelled:{event.order_id}",
                       f"The warehouse cancelled order {event.order_id}, which Amazon still expects.",
                       "Enter it at the warehouse again (replay), or cancel it at Amazon.")  # fmt: skip
            outcome = "cancelled"
        case _:
            _alert(tx, "package.unknown_kind",
                   "The warehouse reported an event of a kind that is not in the contract.",
                   "Look at pipeline.wms_shipments; the event is kept.")  # fmt: skip
            return "unknown_kind"
    # What left, or will not come, may move the fulfillment order.
    enqueue(tx, Queue.DECIDE, [event.order_id])
    return outcome


def _alert_defect(tx: AccountTransaction, order_id: str, error: Exception) -> None:
    _alert(tx, f"{DEFECT_ALERT}{order_id}",
           f"What the warehouse reported of a package of order {order_id} met a defect of this program: "
           f"{error_location(error)}.",
           "Report it; it is tried again for a day. Confirm the package by hand if the ship-by time is "
           "near.")  # fmt: skip


def _shipped(tx: AccountTransaction, event: AnyRow, order: AnyRow, packages: Sequence[Confirmation]) -> str:
    package_id = event.package_id or event.event_id
    known = next((package for package in packages if package.package_id == package_id), None)
    if known is not None and known.state in SUPERSEDED:
        return take_new_label(tx, event, known, packages)
    if known is not None:
        return _reported_again(tx, event, known)
    voided = voided_twin(event.lines, packages)
    if voided is not None:
        mark_replaced(tx, voided)
    reference = voided.package_reference_id if voided is not None else next_reference(packages)
    reason = correction_needed(tx, event.order_id, event.lines, event.tracking_number)
    state = PackageState.PENDING if reason is None else PackageState.NEEDS_CORRECTION
    insert_confirmation(
        tx.connection,
        due=reason is None,
        values={
            "account_id": tx.account_id,
            "order_id": event.order_id,
            "package_id": package_id,
            "package_reference_id": reference,
            "state": state.value,
            "carrier": event.carrier,
            "service": event.service,
            "tracking_number": event.tracking_number,
            "shipped_at": event.shipped_at,
            "lines": event.lines,
            "ship_by": order.ship_by,
            "last_error": reason,
            # A replacement edits a package that Amazon knows: it counts as sent before.
            "sends": voided.sends if voided is not None else 0,
            "edited": _edit_by(event, voided) if voided is not None else None,
        },
    )
    if reason is not None:
        alert_needs_correction(tx, event.order_id, package_id, reason)
        return "held"
    return "replacement" if voided is not None else "shipped"


def _edit_by(event: AnyRow, sent: Confirmation) -> str | None:
    return edit_of(
        sent,
        tracking_number=event.tracking_number or sent.tracking_number,
        carrier=event.carrier or sent.carrier,
        service=event.service or sent.service,
        lines=event.lines or sent.lines,
    )


def _reported_again(tx: AccountTransaction, event: AnyRow, known: Confirmation) -> str:
    changed = {
        name: getattr(event, name)
        for name in ("carrier", "service", "tracking_number", "shipped_at", "lines")
        if getattr(event, name) not in (None, [], getattr(known, name))
    }
    if not changed:
        return "duplicate"
    if read_labels(package_events(tx.connection, event)).dead_on_arrival:
        # The void of this label came first; the box has another by now.
        return "voided_before_report"
    edited = _edit_by(event, known)
    reason = correction_needed(
        tx, known.order_id, changed.get("lines", known.lines), changed.get("tracking_number", known.tracking_number)
    )
    if reason is not None:
        update_confirmation(
            tx,
            order_id=known.order_id,
            package_id=known.package_id,
            due_in=None,
            state=PackageState.NEEDS_CORRECTION.value,
            last_error=reason,
            edited=edited,
            **changed,
        )
        alert_needs_correction(tx, known.order_id, known.package_id, reason)
        return "held"
    # The same package with other facts: Amazon is told again under the same reference id, which edits it.
    update_confirmation(
        tx,
        order_id=known.order_id,
        package_id=known.package_id,
        due_in=timedelta(),
        state=PackageState.PENDING.value,
        last_error=None,
        edited=edited,
        reads=0,
        **changed,
    )
    close_alert(tx, key=f"package.held:{known.order_id}:{known.package_id}")
    return "corrected"


def _alert(tx: AccountTransaction, key: str, message: str, what_to_do: str) -> None:
    raise_alert(tx, key=key, severity="error", message=message, what_to_do=what_to_do)
