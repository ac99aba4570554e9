"""Whether Amazon can be told of a package as it was reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
