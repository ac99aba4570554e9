"""Queries of orders of marketplaces that are not configured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, and_, case, func, select, text, update

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.orders.tables import orders

_OVER = ("SHIPPED", "INVOICE_UNCONFIRMED", "CANCELLED")


def set_other_marketplace(connection: Connection, *, seller_id: str, order_id: str) -> None:
    """Note that Amazon's answer names a marketplace that is not configured."""
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(other_marketplace=True)
    )


def take_in(connection: Connection, seller_id: str, marketplace_ids: Collection[str]) -> int:
    """Orders that were of another marketplace until this one was configured: those that are not over are fetched."""
    live = and_(orders.c.status.not_in(_OVER), orders.c.fulfilled_by != "AMAZON")
    statement = (
        update(orders)
        .where(
            orders.c.seller_id == seller_id,
            orders.c.other_marketplace,
            orders.c.marketplace_id.in_(list(marketplace_ids)),
        )
        .values(
            other_marketplace=False,
            queue_stale=True,
            fetch_due_at=case((live, func.clock_timestamp()), else_=orders.c.fetch_due_at),
            fetch_requests=orders.c.fetch_requests + 1,
        )
    )
    return connection.execute(statement).rowcount


def open_by_marketplace(connection: Connection, seller_id: str) -> Sequence[AnyRow]:
    """(marketplace_id, orders) that a merchant is to ship, in marketplaces that are not configured."""
    statement = (
        select(orders.c.marketplace_id, func.count().label("orders"))
        .where(
            orders.c.seller_id == seller_id,
            orders.c.other_marketplace,
            orders.c.status.in_(["UNSHIPPED", "PARTIALLY_SHIPPED"]),
            orders.c.fulfilled_by != "AMAZON",
        )
        .group_by(orders.c.marketplace_id)
        .order_by(orders.c.marketplace_id)
    )
    return list(connection.execute(statement))


def other_marketplace_orders(connection: Connection, seller_id: str, limit: int = 50) -> Sequence[AnyRow]:
    """(marketplace_id, fulfilled_by, status, orders, newest) of all of them, most first."""
    statement = (
        select(
            orders.c.marketplace_id,
            orders.c.fulfilled_by,
            orders.c.status,
            func.count().label("orders"),
            func.max(orders.c.first_seen_at).label("newest"),
        )
        .where(orders.c.seller_id == seller_id, orders.c.other_marketplace)
        .group_by(orders.c.marketplace_id, orders.c.fulfilled_by, orders.c.status)
        .order_by(text("orders desc"))
        .limit(limit)
    )
    return list(connection.execute(statement))
