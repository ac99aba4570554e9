"""Apply the warehouse's events to packages: which left, which will not travel, which replaces which."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.model.states import SUPERSEDED, PackageState
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START, awaits_adoption, shipped_before_start
from orders_pipeline.orders.rows import lock_orders, order_row
from orders_pipeline.shipments.event_rows import (
    claim_shipment_events,
    lock_shipment_events,
    mark_shipment_event,
    package_events,
    reopen_events_of_known_orders,
    reopen_failed_events,
)
from orders_pipeline.shipments.labels import read_labels
from orders_pipeline.shipments.replacements import correction_needed, edit_of, next_reference, voided_twin
from orders_pipeline.shipments.rows import Package, change_package, insert_package, lock_packages
from orders_pipeline.shipments.states import PackageEvent
from orders_pipeline.shipments.voids import take_new_label, take_void
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import apart, error_location

EVENTS_A_BATCH = 100
# With other facts it is another confirmation: what Amazon drops of it is counted anew.
_NOT_TRIED = {"confirmations": 0, "verifications": 0}

logger = logging.getLogger(__name__)


def apply_shipments(database: Database, audit: AuditLog, *, account_id: str, deadline_seconds: float = 45.0) -> Tally:
    """Apply every pending event, in the warehouse's order. Safe beside other processes doing the same.

    After the deadline no further batch is begun.
    """
    results: Counter[str] = Counter()
    ends_at = time.monotonic() + deadline_seconds
    with database.transaction(account_id) as tx:
        reopen_events_of_known_orders(tx)
        reopen_failed_events(tx)
    while True:
        with database.transaction(account_id) as tx:
            lock_shipment_events(tx)
            events = claim_shipment_events(tx, EVENTS_A_BATCH)
            if not events:
                return Tally(results)
            # All at once, in order of id: whoever else locks several orders does so too.
            lock_orders(tx, sorted({event.order_id for event in events}))
            entries: list[AuditEntry] = []
            for event in events:
                result, error = apart(tx.connection, partial(_apply, tx, event)), None
                if isinstance(result, Exception):
                    result, error = "defect", error_location(result)
                    logger.error("An event of order %s met a defect: %s", event.order_id, error)
                mark_shipment_event(tx, event.event_id, result, error)
                results[result] += 1
                entries.append(
                    AuditEntry(
                        action="package_event",
                        account_id=account_id,
                        order_id=event.order_id,
                        purpose="report of the warehouse",
                        outcome=result,
                    )
                )
            audit.record_many(tx.connection, entries)
        if time.monotonic() >= ends_at:
            return Tally(results)


def _apply(tx: AccountTransaction, event: AnyRow) -> str:
    """Returns the result's word, which the alerts read."""
    order = order_row(tx, event.order_id)
    if order is None and shipped_before_start(tx, event.shipped_at):
        # The warehouse's first events are of packages that an old process confirmed.
        return PURCHASED_BEFORE_START
    if order is None:
        return "unknown_order"
    if awaits_adoption(tx, order):
        # Whoever pushed it confirms it; two would show Amazon two packages. `adopt` takes this event up again.
        return PURCHASED_BEFORE_START
    packages = lock_packages(tx, event.order_id)
    match event.kind:
        case "shipped":
            result = _shipped(tx, event, order, packages)
        case "voided":
            result = take_void(tx, event, packages)
        case "short" | "cancelled":
            result = event.kind
        case _:
            return "unknown_kind"
    # What left, or will not come, may move the fulfillment order.
    enqueue(tx, Queue.DECIDE, [event.order_id])
    return result


def _shipped(tx: AccountTransaction, event: AnyRow, order: AnyRow, packages: Sequence[Package]) -> str:
    package_id = event.package_id or event.event_id
    known = next((package for package in packages if package.package_id == package_id), None)
    if known is not None and known.state in SUPERSEDED:
        return take_new_label(tx, event, known, packages)
    if known is not None:
        return _reported_again(tx, event, known)
    voided = voided_twin(event.lines, packages)
    if voided is not None:
        change_package(tx, voided, PackageEvent.PLACE_TAKEN)
    reason = correction_needed(tx, event.order_id, event.lines, event.tracking_number)
    insert_package(
        tx,
        PackageState.PENDING if reason is None else PackageState.NEEDS_CORRECTION,
        order_id=event.order_id,
        package_id=package_id,
        package_reference_id=voided.package_reference_id if voided is not None else next_reference(packages),
        carrier=event.carrier,
        service=event.service,
        tracking_number=event.tracking_number,
        shipped_at=event.shipped_at,
        lines=event.lines,
        ship_by=order.ship_by,
        reason=reason,
        # A replacement edits a package that Amazon knows.
        known_to_amazon=voided is not None,
        edited=_edit_by(event, voided) if voided is not None else None,
    )
    if reason is not None:
        return "needs_correction"
    return "replacement" if voided is not None else "shipped"


def _edit_by(event: AnyRow, sent: Package) -> str | None:
    return edit_of(
        sent,
        tracking_number=event.tracking_number or sent.tracking_number,
        carrier=event.carrier or sent.carrier,
        service=event.service or sent.service,
        lines=event.lines or sent.lines,
    )


def _reported_again(tx: AccountTransaction, event: AnyRow, known: Package) -> str:
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
    reason = correction_needed(
        tx, known.order_id, changed.get("lines", known.lines), changed.get("tracking_number", known.tracking_number)
    )
    # The same package with other facts: Amazon is told again under the same reference id, which edits it.
    happened = PackageEvent.REPORTED if reason is None else PackageEvent.REPORTED_INCOMPLETE
    change_package(tx, known, happened, reason=reason, edited=_edit_by(event, known), **_NOT_TRIED, **changed)
    return "corrected" if reason is None else "needs_correction"
