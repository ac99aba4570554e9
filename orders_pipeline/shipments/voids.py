"""A package will not travel; or it was voided and leaves after all, under a new label.

The warehouse's word is taken as it comes, also out of order: a void is about the label that it names, and the report of
a package that was voided before it was reported is no new label.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from orders_pipeline.alerts.rows import close_alerts, raise_alert
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.shipments.confirmable import alert_held, why_not
from orders_pipeline.shipments.edits import edit_of
from orders_pipeline.shipments.pieces import same_lines, share_an_item
from orders_pipeline.shipments.replacements import mark_replaced, next_reference, take_over, voided_twin
from orders_pipeline.shipments.rows import (
    Confirmation,
    insert_confirmation,
    label_was_reported,
    update_confirmation,
)
from orders_pipeline.shipments.states import SUPERSEDED, PackageState


def take_void(connection: Connection, seller_id: str, event: AnyRow, packages: Sequence[Confirmation]) -> str:
    """The package of this event will not travel; what came of that, in a word."""
    known = next((package for package in packages if package.package_id == event.package_id), None)
    if known is None:
        if event.package_id:
            # Should its report still come, it must not be confirmed.
            insert_confirmation(
                connection,
                due=False,
                values={
                    "seller_id": seller_id,
                    "order_id": event.order_id,
                    "package_id": event.package_id,
                    "state": PackageState.VOIDED.value,
                    # Tells its own report from that of a new label.
                    "tracking_number": event.tracking_number,
                    "lines": event.lines,
                },
            )
        _alert(
            connection,
            seller_id,
            f"package.unknown:{event.order_id}:{event.package_id}",
            f"The warehouse voided a package of order {event.order_id} that it had never reported.",
            "Ask the warehouse what left.",
        )
        return "unknown_package"
    if known.state in SUPERSEDED:
        return "duplicate"
    if event.tracking_number != known.tracking_number and label_was_reported(
        connection, seller_id, known.order_id, known.package_id, event.tracking_number
    ):
        # The box has a new label by now; the void is the old one's.
        return "voided_old_label"
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=known.order_id,
        package_id=known.package_id,
        due_in=None,
        state=PackageState.VOIDED.value,
    )
    close_alerts(
        connection,
        seller_id=seller_id,
        keys=[f"package.{kind}:{known.order_id}:{known.package_id}" for kind in ("held", "refused", "dropped")],
    )
    if not known.sends:
        return "voided_before_confirmation"
    waiting = [
        package
        for package in packages
        if package.package_id != known.package_id
        and package.state in (PackageState.PENDING, PackageState.HELD, PackageState.REFUSED)
        and not package.confirmed_at
    ]
    replacement = next((package for package in waiting if same_lines(package.lines, known.lines)), None)
    if replacement is None:
        # Refused for its place being taken, most likely.
        refused = (package for package in waiting if package.state == PackageState.REFUSED)
        replacement = next((package for package in refused if share_an_item(package.lines, known.lines)), None)
    if replacement is None:
        _alert(
            connection,
            seller_id,
            f"package.voided:{known.order_id}:{known.package_id}",
            f"Amazon was told of a package of order {known.order_id} that will not travel.",
            "The package that replaces it takes its place at Amazon by itself. If none comes, correct the order in "
            "Seller Central.",
        )
        return "voided_after_confirmation"
    take_over(connection, seller_id, replacement, known)
    return "replaced"


def take_new_label(
    connection: Connection, seller_id: str, event: AnyRow, known: Confirmation, packages: Sequence[Confirmation]
) -> str:
    """A package that was voided leaves after all, mostly under a new label: it counts from the beginning again.

    If Amazon was told of it, it keeps its place there, and telling Amazon edits that. Events that were delivered before
    don't come here: they are recognised by their id.
    """
    if known.package_reference_id is None and known.tracking_number in (None, event.tracking_number):
        # The void came first, and this is the report of what it voided.
        update_confirmation(
            connection,
            seller_id=seller_id,
            order_id=known.order_id,
            package_id=known.package_id,
            due_in=None,
            package_reference_id=next_reference(packages),
        )
        return "voided_before_report"
    lines = event.lines or known.lines
    # Another package has the place of one that was replaced.
    place = None if known.state == PackageState.REPLACED else known
    if place is None or not place.sends:
        voided = voided_twin(lines, [one for one in packages if one is not known])
        if voided is not None:
            mark_replaced(connection, seller_id, voided)
            place = voided
    carrier, service = event.carrier or known.carrier, event.service or known.service
    reference = place.package_reference_id if place is not None else None
    reason = why_not(connection, seller_id, event.order_id, lines, event.tracking_number)
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=known.order_id,
        package_id=known.package_id,
        due_in=timedelta() if reason is None else None,
        state=(PackageState.PENDING if reason is None else PackageState.HELD).value,
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
    close_alerts(
        connection,
        seller_id=seller_id,
        keys=[f"package.{kind}:{known.order_id}:{known.package_id}" for kind in ("voided", "unknown")],
    )
    if reason is not None:
        alert_held(connection, seller_id, known.order_id, known.package_id, reason)
        return "held"
    return "relabelled"


def _alert(connection: Connection, seller_id: str, key: str, message: str, what_to_do: str) -> None:
    raise_alert(connection, seller_id=seller_id, key=key, severity="error", message=message, what_to_do=what_to_do)
