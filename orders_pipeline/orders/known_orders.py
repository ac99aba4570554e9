"""Queries of what a listing of Amazon's is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.fetches import awaiting_fetch


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """What the store has of one order. `quantities`: ordered of each item, none of a cancelled one."""

    status: str
    fulfilled_by: str
    last_updated_at: datetime | None
    fetched: bool
    fetch_is_due: bool
    other_marketplace: bool
    cancellation_requested: bool
    ship_by: datetime | None
    quantities: dict[str, int]


def known_orders(tx: AccountTransaction, order_ids: Sequence[str]) -> dict[str, KnownOrder]:
    """Those of these orders that are known, by id."""
    awaiting = awaiting_fetch(tx, order_ids)
    rows = tx.execute(
        text("""
            select o.*, (select jsonb_object_agg(i.order_item_id,
            case when i.cancelled then 0 else i.quantity_ordered end) from pipeline.order_items i
            where i.account_id = o.account_id and i.order_id = o.order_id) as quantities
            from pipeline.orders o where o.account_id = :account_id and o.order_id = any(:order_ids)
        """),
        {"account_id": tx.account_id, "order_ids": list(order_ids)},
    )
    return {
        row.order_id: KnownOrder(
            status=row.status,
            fulfilled_by=row.fulfilled_by,
            last_updated_at=row.last_updated_at,
            fetched=row.fetched_at is not None,
            fetch_is_due=row.order_id in awaiting,
            other_marketplace=row.other_marketplace,
            cancellation_requested=row.cancellation_requested,
            ship_by=row.ship_by,
            quantities=row.quantities or {},
        )
        for row in rows
    }
