"""A package will not travel; or it was voided and leaves after all, under a new label.

The warehouse's word is taken as it comes, also out of order: a void is about the label that it names, and the report of
a package that was voided before it was reported is no new label.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from orders_pipeline.alerts.rows import close_alert, close_alerts, raise_alert
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.states import SUPERSEDED, PackageState
from orders_pipeline.shipments.confirmable import alert_needs_correction, correction_needed
from orders_pipeline.shipments.edits import edit_of
from orders_pipeline.shipments.labels import label_to_go_back_to, read_labels
from orders_pipeline.shipments.quantities import same_lines, share_an_item
from orders_pipeline.shipments.replacements import mark_replaced, next_reference, take_over, voided_twin
from orders_pipeline.shipments.rows import (
    Confirmation,
    insert_confirmation,
    package_events,
    update_confirmation,
)

_ALERTS_OF_A_LABEL = ("held", "refused", "dropped", "blocked", "by_hand", "earlier_label")
_ALERTS_OF_A_VOID = ("voided", "unknown", "void_unclear", "earlier_label")


def take_void(tx: AccountTransaction, event: AnyRow, packages: Sequence[Confirmation]) -> str:
    """Void the event's package. Returns the result's name."""
    known = next((package for package in packages if package.package_id == event.package_id), None)
    if known is None:
        if event.package_id:
            # Should its report still come, it must not be confirmed.
            insert_confirmation(
                tx.connection,
                due=False,
                values={
                    "account_id": tx.account_id,
                    "order_id": event.order_id,
                    "package_id": event.package_id,
                    "state": PackageState.VOIDED.value,
                    # Tells its own report from that of a new label.
                    "tracking_number": event.tracking_number,
                    "lines": event.lines,
                },
            )
        _alert(
            tx,
            f"package.unknown:{event.order_id}:{event.package_id}",
            f"The warehouse voided a package of order {event.order_id} that it had never reported.",
            "Ask the warehouse what left.",
        )
        return "unknown_package"
    if known.state in SUPERSEDED:
        return "duplicate"
    labels = read_labels(package_events(tx.connection, event))
    if labels.unclear:
        _alert(
            tx,
            f"package.void_unclear:{known.order_id}:{known.package_id}",
            f"The warehouse voided a label of a package of order {known.order_id} without its tracking number, and it "
            "has reported several. The one that it reported last stays.",
            "Ask the warehouse which label travels. If none does, have it void that one by its number, before the "
            "package is confirmed.",
        )
        return "voided_label_unknown"
    close_alert(tx, key=f"package.void_unclear:{known.order_id}:{known.package_id}")
    if event.tracking_number not in (None, known.tracking_number) and event.tracking_number in labels.reported:
        # The box has a new label by now; the void is the old one's.
        return "voided_old_label"
    label = label_to_go_back_to(labels)
    if label is not None:
        # The old label's report came after that of the new one.
        return _go_back(tx, label, known, packages)
    update_confirmation(
        tx, order_id=known.order_id, package_id=known.package_id, due_in=None, state=PackageState.VOIDED.value
    )
    close_alerts(tx, keys=[f"package.{kind}:{known.order_id}:{known.package_id}" for kind in _ALERTS_OF_A_LABEL])
    if not known.sends:
        return "voided_before_confirmation"
    waiting = [
        package
        for package in packages
        if package.package_id != known.package_id
        and package.state in (PackageState.PENDING, PackageState.NEEDS_CORRECTION, PackageState.REFUSED)
        and not package.confirmed_at
    ]
    replacement = next((package for package in waiting if same_lines(package.lines, known.lines)), None)
    if replacement is None:
        # Refused for its place being taken, most likely.
        refused = (package for package in waiting if package.state == PackageState.REFUSED)
        replacement = next((package for package in refused if share_an_item(package.lines, known.lines)), None)
    if replacement is None:
        _alert(
            tx,
            f"package.voided:{known.order_id}:{known.package_id}",
            f"Amazon was told of a package of order {known.order_id} that will not travel.",
            "The package that replaces it takes its place at Amazon by itself. If none comes, correct the order in "
            "Seller Central.",
        )
        return "voided_after_confirmation"
    take_over(tx, replacement, known)
    return "replaced"


def take_new_label(tx: AccountTransaction, event: AnyRow, known: Confirmation, packages: Sequence[Confirmation]) -> str:
    """A package that was voided leaves after all, mostly under a new label: it counts from the beginning again.

    If Amazon was told of it, it keeps its place there, and telling Amazon edits that. Events that were delivered before
    don't come here: they are recognised by their id.
    """
    labels = read_labels(package_events(tx.connection, event))
    if labels.dead_on_arrival:
        # The void came first, and this is the report of what it voided.
        label = label_to_go_back_to(labels) if known.state == PackageState.VOIDED else None
        if label is not None:
            return _go_back(tx, label, known, packages)
        update_confirmation(
            tx,
            order_id=known.order_id,
            package_id=known.package_id,
            due_in=None,
            package_reference_id=known.package_reference_id or next_reference(packages),
            lines=known.lines or event.lines,
        )
        close_alert(tx, key=f"package.unknown:{known.order_id}:{known.package_id}")
        return "voided_before_report"
    return _travels(tx, event, known, packages)


def _go_back(tx: AccountTransaction, label: AnyRow, known: Confirmation, packages: Sequence[Confirmation]) -> str:
    """The label that was reported last is voided, and an earlier one is not: the package travels with that."""
    outcome = _travels(tx, label, known, packages)
    if label.shipped_at is not None and known.shipped_at is not None and label.shipped_at < known.shipped_at:
        raise_alert(
            tx,
            key=f"package.earlier_label:{known.order_id}:{known.package_id}",
            severity="warning",
            message=f"A package of order {known.order_id} goes out under a label of before: the newer one was voided, "
            "and that one never was.",
            what_to_do="Ask the warehouse whether the package travels with it. If not, have the warehouse void it.",
        )
    return "earlier_label" if outcome == "relabelled" else outcome


def _travels(tx: AccountTransaction, event: AnyRow, known: Confirmation, packages: Sequence[Confirmation]) -> str:
    lines = event.lines or known.lines
    # Another package has the place of one that was replaced.
    place = None if known.state == PackageState.REPLACED else known
    if place is None or not place.sends:
        voided = voided_twin(lines, [one for one in packages if one is not known])
        if voided is not None:
            mark_replaced(tx, voided)
            place = voided
    carrier, service = event.carrier or known.carrier, event.service or known.service
    reference = place.package_reference_id if place is not None else None
    reason = correction_needed(tx, event.order_id, lines, event.tracking_number)
    update_confirmation(
        tx,
        order_id=known.order_id,
        package_id=known.package_id,
        due_in=timedelta() if reason is None else None,
        state=(PackageState.PENDING if reason is None else PackageState.NEEDS_CORRECTION).value,
        package_reference_id=reference or next_reference(packages),
        carrier=carrier,
        service=service,
        # The old label's number is dead: better none than that one.
        tracking_number=event.tracking_number,
        shipped_at=event.shipped_at or event.received_at,
        lines=lines,
        sends=place.sends if place is not None else 0,
        edited=edit_of(place, tracking_number=event.tracking_number, carrier=carrier, service=service, lines=lines)
        if place is not None
        else None,
        reads=0,
        attempts=0,
        confirmed_at=None,
        last_error=reason,
    )
    close_alerts(tx, keys=[f"package.{kind}:{known.order_id}:{known.package_id}" for kind in _ALERTS_OF_A_VOID])
    if reason is not None:
        alert_needs_correction(tx, known.order_id, known.package_id, reason)
        return "held"
    return "relabelled"


def _alert(tx: AccountTransaction, key: str, message: str, what_to_do: str) -> None:
    raise_alert(tx, key=key, severity="error", message=message, what_to_do=what_to_do)
