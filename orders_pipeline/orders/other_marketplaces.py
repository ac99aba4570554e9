"""Queries of orders of marketplaces that are not configured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select, text, update

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.orders.fetches import request_fetches
from orders_pipeline.orders.tables import orders
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue

_OVER = ("SHIPPED", "INVOICE_UNCONFIRMED", "CANCELLED")


def set_other_marketplace(tx: AccountTransaction, *, order_id: str) -> None:
    """Note that Amazon's answer names a marketplace that is not configured."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(other_marketplace=True)
    )


def take_in(tx: AccountTransaction, marketplace_ids: Collection[str]) -> int:
    """Orders that were of another marketplace until this one was configured: those that are not over are fetched.

    So are those that were queued before it was taken out, and are held since; as Amazon shows them by now.
    """
    ours = {"account_id": tx.account_id, "marketplace_ids": list(marketplace_ids), "over": list(_OVER)}
    # What is being decided already is not asked about again with every batch of events.
    held = tx.execute(
        text("""
            select o.order_id, o.ship_by, true as is_live
            from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id)
            where o.account_id = :account_id and 'marketplace_not_configured' = any(q.hold_reasons)
            and o.marketplace_id = any(:marketplace_ids)
            and not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = 'decide'
            and j.subject = o.order_id) order by o.order_id for update of o
        """),
        ours,
    ).all()
    taken = tx.execute(
        text("""
            update pipeline.orders set other_marketplace = false
            where account_id = :account_id and other_marketplace and marketplace_id = any(:marketplace_ids)
            returning order_id, ship_by, status <> all(:over) and fulfilled_by <> 'AMAZON' as is_live
        """),
        ours,
    ).all()
    found = [*held, *taken]
    enqueue(tx, Queue.DECIDE, [row.order_id for row in found])
    request_fetches(tx, {row.order_id: row.ship_by for row in found if row.is_live})
    return len(found)


def other_marketplace_orders(tx: AccountTransaction, limit: int = 50) -> Sequence[AnyRow]:
    """(marketplace_id, fulfilled_by, status, orders, newest) of all of them, most first."""
    statement = (
        select(
            orders.c.marketplace_id,
            orders.c.fulfilled_by,
            orders.c.status,
            func.count().label("orders"),
            func.max(orders.c.first_seen_at).label("newest"),
        )
        .where(orders.c.account_id == tx.account_id, orders.c.other_marketplace)
        .group_by(orders.c.marketplace_id, orders.c.fulfilled_by, orders.c.status)
        .order_by(text("orders desc"))
        .limit(limit)
    )
    return list(tx.execute(statement))
