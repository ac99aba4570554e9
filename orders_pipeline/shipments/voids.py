"""A package will not travel; or it was voided and leaves after all, under a new label.

The warehouse's word is taken as it comes, also out of order: a void is about the label that it names, and the report of
a package that was voided before it was reported is no new label.
"""

from __future__ import annotations

from collections.abc import Sequence

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.states import SUPERSEDED, PackageState
from orders_pipeline.shipments.event_rows import package_events
from orders_pipeline.shipments.labels import label_to_go_back_to, read_labels
from orders_pipeline.shipments.replacements import (
    correction_needed,
    edit_of,
    next_reference,
    take_over,
    voided_twin,
    waiting_twin,
)
from orders_pipeline.shipments.rows import Package, change_package, insert_package, lock_packages, update_package
from orders_pipeline.shipments.states import PackageEvent


def take_void(tx: AccountTransaction, event: AnyRow, packages: Sequence[Package]) -> str:
    """Void the event's package. Returns the result's word."""
    known = next((package for package in packages if package.package_id == event.package_id), None)
    if known is None:
        if event.package_id:
            # Should its report still come, it must not be confirmed. The number tells its report from a new label's.
            insert_package(
                tx,
                PackageState.VOIDED,
                order_id=event.order_id,
                package_id=event.package_id,
                tracking_number=event.tracking_number,
                lines=event.lines,
            )
        return "unknown_package"
    if known.state in SUPERSEDED:
        return "duplicate"
    labels = read_labels(package_events(tx.connection, event))
    if labels.unclear:
        # The label that was reported last stays.
        return "voided_label_unknown"
    if event.tracking_number not in (None, known.tracking_number) and event.tracking_number in labels.reported:
        # The box has a new label by now; the void is the old one's.
        return "voided_old_label"
    label = label_to_go_back_to(labels)
    if label is not None:
        # The old label's report came after that of the new one.
        return _go_back(tx, label, known, packages)
    if not known.known_to_amazon:
        change_package(tx, known, PackageEvent.VOIDED_UNTOLD)
        return "voided_before_confirmation"
    change_package(tx, known, PackageEvent.VOIDED_TOLD)
    replacement = waiting_twin(known, packages)
    if replacement is None:
        return "voided_after_confirmation"
    voided = next(one for one in lock_packages(tx, known.order_id) if one.package_id == known.package_id)
    take_over(tx, replacement, voided)
    return "replaced"


def take_new_label(tx: AccountTransaction, event: AnyRow, known: Package, packages: Sequence[Package]) -> str:
    """A package that was voided leaves after all, mostly under a new label: it counts from the beginning again.

    If Amazon was told of it, it keeps its place there, and telling Amazon edits that. Events that were delivered before
    don't come here: they are recognised by their id.
    """
    labels = read_labels(package_events(tx.connection, event))
    if labels.dead_on_arrival:
        # The void came first, and this is the report of what it voided.
        label = label_to_go_back_to(labels) if known.state != PackageState.REPLACED else None
        if label is not None:
            return _go_back(tx, label, known, packages)
        reference = known.package_reference_id or next_reference(packages)
        update_package(tx, known, package_reference_id=reference, lines=known.lines or event.lines)
        return "voided_before_report"
    return _travels(tx, event, known, packages)


def _go_back(tx: AccountTransaction, label: AnyRow, known: Package, packages: Sequence[Package]) -> str:
    """The label that was reported last is voided, and an earlier one is not: the package travels with that."""
    result = _travels(tx, label, known, packages)
    if result != "relabelled":
        return result
    is_earlier = label.shipped_at is not None and known.shipped_at is not None and label.shipped_at < known.shipped_at
    return "earlier_label" if is_earlier else "other_label"


def _travels(tx: AccountTransaction, event: AnyRow, known: Package, packages: Sequence[Package]) -> str:
    lines = event.lines or known.lines
    # Another package has the place of one that was replaced.
    place = None if known.state == PackageState.REPLACED else known
    if place is None or not place.known_to_amazon:
        voided = voided_twin(lines, [one for one in packages if one is not known])
        if voided is not None:
            change_package(tx, voided, PackageEvent.PLACE_TAKEN)
            place = voided
    carrier, service = event.carrier or known.carrier, event.service or known.service
    reference = place.package_reference_id if place is not None else None
    edited = (
        edit_of(place, tracking_number=event.tracking_number, carrier=carrier, service=service, lines=lines)
        if place is not None
        else None
    )
    reason = correction_needed(tx, event.order_id, lines, event.tracking_number)
    change_package(
        tx,
        known,
        PackageEvent.REPORTED if reason is None else PackageEvent.REPORTED_INCOMPLETE,
        package_reference_id=reference or next_reference(packages),
        carrier=carrier,
        service=service,
        # The old label's number is dead: better none than that one.
        tracking_number=event.tracking_number,
        shipped_at=event.shipped_at or event.received_at,
        lines=lines,
        known_to_amazon=place is not None and place.known_to_amazon,
        confirmations=0,
        verifications=0,
        edited=edited,
        confirmed_at=None,
        reason=reason,
    )
    return "relabelled" if reason is None else "needs_correction"
