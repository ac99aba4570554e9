"""Which package takes the place at Amazon of one that will not travel.

A place is a `package_reference_id`: telling Amazon of another package under the same one edits what Amazon shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from orders_pipeline.alerts.rows import close_alert
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import PackageState
from orders_pipeline.shipments.edits import edit_of
from orders_pipeline.shipments.quantities import same_lines, share_an_item
from orders_pipeline.shipments.rows import Confirmation, update_confirmation


def voided_twin(lines: Sequence[Mapping[str, Any]], packages: Sequence[Confirmation]) -> Confirmation | None:
    """The voided package, known to Amazon, whose place one with these lines can take: the same items, or one of them.

    Packed otherwise than before, a replacement must take the place as well: beside the voided package, which Amazon
    still counts, it would be refused.
    """
    voided = [other for other in packages if other.state == PackageState.VOIDED and other.sends]
    same = next((other for other in voided if same_lines(other.lines, lines)), None)
    return same or next((other for other in voided if share_an_item(other.lines, lines)), None)


def take_over(tx: AccountTransaction, replacement: Confirmation, voided: Confirmation) -> None:
    """Give a package the reference id of a voided one: telling Amazon of it edits what Amazon has."""
    mark_replaced(tx, voided)
    held = replacement.state == PackageState.NEEDS_CORRECTION
    update_confirmation(
        tx,
        order_id=replacement.order_id,
        package_id=replacement.package_id,
        due_in=None if held else timedelta(),
        state=PackageState.NEEDS_CORRECTION.value if held else PackageState.PENDING.value,
        package_reference_id=voided.package_reference_id,
        sends=voided.sends,
        edited=edit_of(
            voided,
            tracking_number=replacement.tracking_number,
            carrier=replacement.carrier,
            service=replacement.service,
            lines=replacement.lines,
        ),
        reads=0,
        **({} if held else {"last_error": None}),
    )
    if not held:
        key = f"package.refused:{replacement.order_id}:{replacement.package_id}"
        close_alert(tx, key=key)


def mark_replaced(tx: AccountTransaction, package: Confirmation) -> None:
    update_confirmation(
        tx, order_id=package.order_id, package_id=package.package_id, due_in=None, state=PackageState.REPLACED.value
    )
    close_alert(tx, key=f"package.voided:{package.order_id}:{package.package_id}")


def next_reference(packages: Sequence[Confirmation]) -> int:
    """A place that no package of the order has or had."""
    return max((package.package_reference_id or 0 for package in packages), default=0) + 1
