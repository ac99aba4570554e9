"""Take the warehouse's events into packages: which left, which will not travel, which replaces which.

Belongs here: one package a row, and its `package_reference_id`, stored before Amazon hears of it. Elsewhere: reading
the events (poll), telling Amazon (confirm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from orders_pipeline.shipments.states import PackageState
from orders_pipeline.store.account_starts import PURCHASED_BEFORE_START, awaits_adoption, shipped_before_start
from orders_pipeline.store.alerts import close_alert, close_alerts, raise_alert
from orders_pipeline.store.database import AnyRow, Database
from orders_pipeline.store.orders import item_rows, lock_orders, mark_queue_stale, order_row
from orders_pipeline.store.shipments import (
    Confirmation,
    claim_shipment_events,
    hold_absorption,
    insert_confirmation,
    lock_confirmations,
    mark_shipment_event,
    reopen_events_of_known_orders,
    reopen_failed_events,
    update_confirmation,
)
from orders_pipeline.store.workers import apart, where_from
from orders_pipeline.vault.audit import AuditEntry, AuditLog

EVENTS_A_BATCH = 100
# Followed by the order.
DEFECT_ALERT = "package.event_defect:"
_SUPERSEDED = (PackageState.VOIDED, PackageState.REPLACED)


@dataclass(slots=True)
class PackageTotals:
    """What became of the events, by outcome."""

    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def absorb_shipments(database: Database, audit: AuditLog, *, seller_id: str) -> PackageTotals:
    """Absorb every pending event, in the warehouse's order. Safe beside other processes doing the same."""
    totals = PackageTotals()
    with database.transaction() as connection:
        reopen_events_of_known_orders(connection, seller_id)
        reopen_failed_events(connection, seller_id)
    while True:
        with database.transaction() as connection:
            hold_absorption(connection, seller_id)
            events = claim_shipment_events(connection, seller_id, EVENTS_A_BATCH)
            if not events:
                return totals
            # All at once, in order of id: whoever else locks several orders does so too.
            lock_orders(connection, seller_id, sorted({event.order_id for event in events}))
            entries: list[AuditEntry] = []
            absorbed: set[str] = set()
            for event in events:
                outcome = apart(connection, partial(_absorb, connection, seller_id, event))
                if isinstance(outcome, Exception):
                    _alert_defect(connection, seller_id, event.order_id, outcome)
                    outcome = "defect"
                else:
                    absorbed.add(event.order_id)
                mark_shipment_event(connection, seller_id, event.event_id, outcome)
                totals.count(outcome)
                entries.append(
                    AuditEntry(
                        action="package_event",
                        seller_id=seller_id,
                        order_id=event.order_id,
                        purpose="what the warehouse reported",
                        outcome=outcome,
                    )
                )
            close_alerts(
                connection, seller_id=seller_id, keys=[f"{DEFECT_ALERT}{order_id}" for order_id in sorted(absorbed)]
            )
            audit.record_many(connection, entries)


def same_lines(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold the same pieces of the same items."""
    return pieces_by_line(one) == pieces_by_line(other)


def pieces_by_line(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pieces of each item; a warehouse may list one item twice."""
    pieces: dict[str, int] = {}
    for line in lines:
        pieces[line["line_ref"]] = pieces.get(line["line_ref"], 0) + int(line["quantity"])
    return pieces


def _absorb(connection: Connection, seller_id: str, event: AnyRow) -> str:
    order = order_row(connection, seller_id, event.order_id)
    if order is None and shipped_before_start(connection, seller_id, event.shipped_at):
        # The warehouse's list begins with what an old process had it ship, and told Amazon of.
        return PURCHASED_BEFORE_START
    if order is None:
        _alert(connection, seller_id, f"package.unknown_order:{event.order_id}", "The warehouse reported a package of "
               f"order {event.order_id}, which this pipeline does not know.", "Look whose order it is; run "
               "`recover_order` if it is ours.")  # fmt: skip
        return "unknown_order"
    if awaits_adoption(connection, seller_id, order):
        # Whoever pushed it confirms it; two would show Amazon two packages. `adopt` takes this event up again.
        return PURCHASED_BEFORE_START
    packages = lock_confirmations(connection, seller_id, event.order_id)
    match event.kind:
        case "shipped":
            outcome = _shipped(connection, seller_id, event, order, packages)
        case "voided":
            outcome = _voided(connection, seller_id, event, packages)
        case "short":
            _alert(connection, seller_id, f"order.short:{event.order_id}",
                   f"The warehouse cannot ship some items of order {event.order_id}.",
                   "Cancel these items at Amazon (only the seller can), or have the warehouse restock.")  # fmt: skip
            outcome = "short"
        case "cancelled":
            if order.status != "CANCELLED":
                _alert(connection, seller_id, f"order.warehouse_cancelled:{event.order_id}",
                       f"The warehouse cancelled order {event.order_id}, which Amazon still expects.",
                       "Enter it at the warehouse again (replay), or cancel it at Amazon.")  # fmt: skip
            outcome = "cancelled"
        case _:
            _alert(connection, seller_id, "package.unknown_kind",
                   "The warehouse reported an event of a kind that is not in the contract.",
                   "Look at pipeline.wms_shipments; the event is kept.")  # fmt: skip
            return "unknown_kind"
    # What left, or will not come, may move the fulfillment order.
    mark_queue_stale(connection, seller_id=seller_id, order_id=event.order_id)
    return outcome


def _alert_defect(connection: Connection, seller_id: str, order_id: str, error: Exception) -> None:
    _alert(connection, seller_id, f"{DEFECT_ALERT}{order_id}",
           f"What the warehouse reported of a package of order {order_id} met a defect of this program: "
           f"{where_from(error)}.",
           "Report it; it is tried again for a day. Confirm the package by hand if the ship-by time is "
           "near.")  # fmt: skip


def _shipped(
    connection: Connection, seller_id: str, event: AnyRow, order: AnyRow, packages: Sequence[Confirmation]
) -> str:
    package_id = event.package_id or event.event_id
    known = next((package for package in packages if package.package_id == package_id), None)
    if known is not None:
        return _reported_again(connection, seller_id, event, known)
    voided = voided_twin(event, packages)
    if voided is not None:
        _mark_replaced(connection, seller_id, voided)
    reference = (
        voided.package_reference_id
        if voided is not None
        else max((package.package_reference_id or 0 for package in packages), default=0) + 1
    )
    reason = _why_not(connection, seller_id, event.order_id, event.lines, event.tracking_number)
    state = PackageState.PENDING if reason is None else PackageState.HELD
    insert_confirmation(
        connection,
        due=reason is None,
        values={
            "seller_id": seller_id,
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
        },
    )
    if reason is not None:
        _tell_of_held(connection, seller_id, event.order_id, package_id, reason)
        return "held"
    return "replacement" if voided is not None else "shipped"


def _why_not(
    connection: Connection,
    seller_id: str,
    order_id: str,
    lines: Sequence[Mapping[str, Any]],
    tracking_number: str | None,
) -> str | None:
    """Why Amazon cannot be told of such a package; None if it can."""
    items = {item.order_item_id for item in item_rows(connection, seller_id, order_id)}
    if not lines or not {line["line_ref"] for line in lines} <= items:
        return "it names items that are not in the order"
    if not (tracking_number or "").strip():
        return "it has no tracking number, which Amazon requires"
    return None


def _tell_of_held(connection: Connection, seller_id: str, order_id: str, package_id: str, reason: str) -> None:
    _alert(connection, seller_id, f"package.held:{order_id}:{package_id}",
           f"A package of order {order_id} cannot be confirmed: {reason}.",
           "Have the warehouse report it again with what is missing; confirm it by hand if the ship-by time is "
           "near.")  # fmt: skip


def _reported_again(connection: Connection, seller_id: str, event: AnyRow, known: Confirmation) -> str:
    changed = {
        name: getattr(event, name)
        for name in ("carrier", "service", "tracking_number", "shipped_at", "lines")
        if getattr(event, name) not in (None, [], getattr(known, name))
    }
    if not changed or known.state in _SUPERSEDED:
        return "duplicate"
    reason = _why_not(
        connection,
        seller_id,
        known.order_id,
        changed.get("lines", known.lines),
        changed.get("tracking_number", known.tracking_number),
    )
    if reason is not None:
        update_confirmation(
            connection,
            seller_id=seller_id,
            order_id=known.order_id,
            package_id=known.package_id,
            due_in=None,
            state=PackageState.HELD.value,
            last_error=reason,
            **changed,
        )
        _tell_of_held(connection, seller_id, known.order_id, known.package_id, reason)
        return "held"
    # The same package with other facts: Amazon is told again under the same reference id, which edits it.
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=known.order_id,
        package_id=known.package_id,
        due_in=timedelta(),
        state=PackageState.PENDING.value,
        last_error=None,
        reads=0,
        **changed,
    )
    close_alert(connection, seller_id=seller_id, key=f"package.held:{known.order_id}:{known.package_id}")
    return "corrected"


def _voided(connection: Connection, seller_id: str, event: AnyRow, packages: Sequence[Confirmation]) -> str:
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
                    "lines": event.lines,
                },
            )
        _alert(connection, seller_id, f"package.unknown:{event.order_id}:{event.package_id}",
               f"The warehouse voided a package of order {event.order_id} that it had never reported.",
               "Ask the warehouse what left.")  # fmt: skip
        return "unknown_package"
    if known.state in _SUPERSEDED:
        return "duplicate"
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
        replacement = next((package for package in refused if _share_an_item(package.lines, known.lines)), None)
    if replacement is None:
        _alert(connection, seller_id, f"package.voided:{known.order_id}:{known.package_id}",
               f"Amazon was told of a package of order {known.order_id} that will not travel.",
               "The package that replaces it takes its place at Amazon by itself. If none comes, correct the order in "
               "Seller Central.")  # fmt: skip
        return "voided_after_confirmation"
    take_over(connection, seller_id, replacement, known)
    return "replaced"


def voided_twin(package: AnyRow, packages: Sequence[Confirmation]) -> Confirmation | None:
    """The voided package, known to Amazon, whose place this one can take: the same items, or else one of them.

    Packed otherwise than before, a replacement must take the place as well: beside the voided package, which Amazon
    still counts, it would be refused.
    """
    voided = [other for other in packages if other.state == PackageState.VOIDED and other.sends]
    same = next((other for other in voided if same_lines(other.lines, package.lines)), None)
    return same or next((other for other in voided if _share_an_item(other.lines, package.lines)), None)


def _share_an_item(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    return bool(pieces_by_line(one).keys() & pieces_by_line(other).keys())


def take_over(connection: Connection, seller_id: str, replacement: Confirmation, voided: Confirmation) -> None:
    """Give a package the reference id of a voided one: telling Amazon of it edits what Amazon has."""
    _mark_replaced(connection, seller_id, voided)
    held = replacement.state == PackageState.HELD
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=replacement.order_id,
        package_id=replacement.package_id,
        due_in=None if held else timedelta(),
        state=PackageState.HELD.value if held else PackageState.PENDING.value,
        package_reference_id=voided.package_reference_id,
        sends=voided.sends,
        reads=0,
        **({} if held else {"last_error": None}),
    )
    if not held:
        key = f"package.refused:{replacement.order_id}:{replacement.package_id}"
        close_alert(connection, seller_id=seller_id, key=key)


def _mark_replaced(connection: Connection, seller_id: str, package: Confirmation) -> None:
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=package.order_id,
        package_id=package.package_id,
        due_in=None,
        state=PackageState.REPLACED.value,
    )
    close_alert(connection, seller_id=seller_id, key=f"package.voided:{package.order_id}:{package.package_id}")


def _alert(connection: Connection, seller_id: str, key: str, message: str, what_to_do: str) -> None:
    raise_alert(connection, seller_id=seller_id, key=key, severity="error", message=message, what_to_do=what_to_do)
