"""Edits and replacements: Amazon is told of other facts, or of another package, under a reference id that it knows.

What Amazon showed before an edit, it shows after one that it refused or never got. So neither quantities shipped (all
that v0 shows) nor, where the number is the same, the package itself prove an edit: only Amazon's 204 does, or the new
tracking number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import PackageState
from orders_pipeline.orders.rows import item_rows
from orders_pipeline.shipments.rows import Package, change_package
from orders_pipeline.shipments.states import PackageEvent


class Edited(StrEnum):
    """What an edit changes under this reference id. The values are stored."""

    LABEL = "label"  # the tracking number, and perhaps more
    FACTS = "facts"  # not the tracking number: the carrier, the service or the items


def quantity_by_line(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pieces of each item; a warehouse may list one item twice."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line["line_ref"]] = quantities.get(line["line_ref"], 0) + int(line["quantity"])
    return quantities


def same_lines(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold the same pieces of the same items."""
    return quantity_by_line(one) == quantity_by_line(other)


def share_an_item(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold pieces of one item."""
    return bool(quantity_by_line(one).keys() & quantity_by_line(other).keys())


def correction_needed(
    tx: AccountTransaction, order_id: str, lines: Sequence[Mapping[str, Any]], tracking_number: str | None
) -> str | None:
    """Why Amazon cannot be told of such a package; None if it can."""
    items = {item.order_item_id for item in item_rows(tx, order_id)}
    if not lines or not {line["line_ref"] for line in lines} <= items:
        return "it names items that are not in the order"
    if not (tracking_number or "").strip():
        return "it has no tracking number, which Amazon requires"
    return None


def edit_of(
    sent: Package,
    *,
    tracking_number: str | None,
    carrier: str | None,
    service: str | None,
    lines: Sequence[Mapping[str, Any]],
) -> str | None:
    """Which kind of edit these facts are for the package as last sent; None if Amazon was never told of it."""
    if not sent.known_to_amazon:
        return None
    if tracking_number != sent.tracking_number:
        return Edited.LABEL.value
    if (carrier, service) == (sent.carrier, sent.service) and same_lines(lines, sent.lines):
        return sent.edited
    return Edited.FACTS.value


def is_accepted(package: Package) -> bool:
    """Whether Amazon answered the last call with 204."""
    return package.state == PackageState.ACCEPTED


def quantities_may_prove(package: Package) -> bool:
    """Whether a quantity shipped can be this package's, and not that of what it replaces."""
    return package.edited is None or is_accepted(package)


def number_may_prove(package: Package) -> bool:
    """Whether a package under this tracking number shows that Amazon has the facts as they are now."""
    return package.edited != Edited.FACTS or is_accepted(package)


def voided_twin(lines: Sequence[Mapping[str, Any]], packages: Sequence[Package]) -> Package | None:
    """The voided package, known to Amazon, whose place one with these lines can take: the same items, or one of them.

    Packed otherwise than before, a replacement must take the place as well: beside the voided package, which Amazon
    still counts, it would be refused.
    """
    voided = [other for other in packages if other.state == PackageState.AWAITS_REPLACEMENT]
    same = next((other for other in voided if same_lines(other.lines, lines)), None)
    return same or next((other for other in voided if share_an_item(other.lines, lines)), None)


def waiting_twin(voided: Package, packages: Sequence[Package]) -> Package | None:
    """The package that was reported before the void of the one that it replaces; None if it is still to come."""
    states = (PackageState.PENDING, PackageState.AWAITS_CARRIER, PackageState.NEEDS_CORRECTION, PackageState.REFUSED)
    waiting = [
        package
        for package in packages
        if package.package_id != voided.package_id and package.state in states and not package.confirmed_at
    ]
    same = next((package for package in waiting if same_lines(package.lines, voided.lines)), None)
    # Refused for its place being taken, most likely.
    refused = (package for package in waiting if package.state == PackageState.REFUSED)
    return same or next((package for package in refused if share_an_item(package.lines, voided.lines)), None)


def take_over(tx: AccountTransaction, replacement: Package, voided: Package) -> PackageState:
    """Give a package the reference id of a voided one: telling Amazon of it edits what Amazon has."""
    change_package(tx, voided, PackageEvent.PLACE_TAKEN)
    edited = edit_of(
        voided,
        tracking_number=replacement.tracking_number,
        carrier=replacement.carrier,
        service=replacement.service,
        lines=replacement.lines,
    )
    keeps_reason = replacement.state == PackageState.NEEDS_CORRECTION
    return change_package(
        tx,
        replacement,
        PackageEvent.TAKES_PLACE,
        package_reference_id=voided.package_reference_id,
        known_to_amazon=True,
        # What Amazon drops is counted anew for each package.
        confirmations=0,
        verifications=0,
        edited=edited,
        reason=replacement.reason if keeps_reason else None,
    )


def next_reference(packages: Sequence[Package]) -> int:
    """A place that no package of the order has or had."""
    return max((package.package_reference_id or 0 for package in packages), default=0) + 1
