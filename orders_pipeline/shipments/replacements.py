"""Which package takes the place at Amazon of one that will not travel.

A place is a `package_reference_id`: telling Amazon of another package under the same one edits what Amazon shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import PackageState
from orders_pipeline.shipments.edits import edit_of
from orders_pipeline.shipments.quantities import same_lines, share_an_item
from orders_pipeline.shipments.rows import Package, change_package
from orders_pipeline.shipments.states import PackageEvent


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
        confirmations=voided.confirmations,
        verifications=0,
        edited=edited,
        reason=replacement.reason if keeps_reason else None,
    )


def next_reference(packages: Sequence[Package]) -> int:
    """A place that no package of the order has or had."""
    return max((package.package_reference_id or 0 for package in packages), default=0) + 1
