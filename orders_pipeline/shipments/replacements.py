"""Which package takes the place at Amazon of one that will not travel.

A place is a `package_reference_id`: telling Amazon of another package under the same one edits what Amazon shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from orders_pipeline.alerts.rows import close_alert
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.shipments.rows import Confirmation, update_confirmation
from orders_pipeline.shipments.states import PackageState


def same_lines(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two packages hold the same pieces of the same items."""
    return pieces_by_line(one) == pieces_by_line(other)


def pieces_by_line(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many pieces of each item; a warehouse may list one item twice."""
    pieces: dict[str, int] = {}
    for line in lines:
        pieces[line["line_ref"]] = pieces.get(line["line_ref"], 0) + int(line["quantity"])
    return pieces


def voided_twin(package: AnyRow, packages: Sequence[Confirmation]) -> Confirmation | None:
    """The voided package, known to Amazon, whose place this one can take: the same items, or else one of them.

    Packed otherwise than before, a replacement must take the place as well: beside the voided package, which Amazon
    still counts, it would be refused.
    """
    voided = [other for other in packages if other.state == PackageState.VOIDED and other.sends]
    same = next((other for other in voided if same_lines(other.lines, package.lines)), None)
    return same or next((other for other in voided if share_an_item(other.lines, package.lines)), None)


def share_an_item(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    return bool(pieces_by_line(one).keys() & pieces_by_line(other).keys())


def take_over(connection: Connection, seller_id: str, replacement: Confirmation, voided: Confirmation) -> None:
    """Give a package the reference id of a voided one: telling Amazon of it edits what Amazon has."""
    mark_replaced(connection, seller_id, voided)
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


def mark_replaced(connection: Connection, seller_id: str, package: Confirmation) -> None:
    update_confirmation(
        connection,
        seller_id=seller_id,
        order_id=package.order_id,
        package_id=package.package_id,
        due_in=None,
        state=PackageState.REPLACED.value,
    )
    close_alert(connection, seller_id=seller_id, key=f"package.voided:{package.order_id}:{package.package_id}")


def next_reference(packages: Sequence[Confirmation]) -> int:
    """A place that no package of the order has or had."""
    return max((package.package_reference_id or 0 for package in packages), default=0) + 1
