"""Whether Amazon can be told of a package as it was reported, and the alert where it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orders_pipeline.alerts.rows import raise_alert
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.rows import item_rows


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


def alert_needs_correction(tx: AccountTransaction, order_id: str, package_id: str, reason: str) -> None:
    """A person has to get what is missing from the warehouse."""
    raise_alert(
        tx,
        key=f"package.held:{order_id}:{package_id}",
        severity="error",
        message=f"A package of order {order_id} cannot be confirmed: {reason}.",
        what_to_do="Have the warehouse report it again with what is missing; confirm it by hand if the ship-by time is "
        "near.",
    )
