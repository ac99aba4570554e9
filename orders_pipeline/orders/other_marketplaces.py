"""Queries of orders of marketplaces that are not configured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import and_, case, func, select, text, update

from orders_pipeline.database.engine import AccountTransaction, AnyRow
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
    live = and_(orders.c.status.not_in(_OVER), orders.c.fulfilled_by != "AMAZON")
    statement = (
        update(orders)
        .where(
            orders.c.account_id == tx.account_id,
            orders.c.other_marketplace,
            orders.c.marketplace_id.in_(list(marketplace_ids)),
        )
        .values(
            other_marketplace=False,
            fetch_due_at=case((live, func.clock_timestamp()), else_=orders.c.fetch_due_at),
            fetch_requests=orders.c.fetch_requests + 1,
        )
        .returning(orders.c.order_id)
    )
    # What is being decided already is not asked about again with every batch of events.
    held = tx.execute(
        text(
            "update pipeline.orders o set fetch_due_at = clock_timestamp(), "
            "fetch_requests = o.fetch_requests + 1 "
            "from pipeline.fulfillment_queue q where q.account_id = :account_id "
            "and 'marketplace_not_configured' = any(q.hold_reasons) and o.account_id = q.account_id "
            "and o.order_id = q.order_id and o.marketplace_id = any(:marketplace_ids) "
            "and not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = 'decide' "
            "and j.subject = o.order_id) returning o.order_id"
        ),
        {"account_id": tx.account_id, "marketplace_ids": list(marketplace_ids)},
    ).scalars()
    found = [*held, *tx.execute(statement).scalars()]
    enqueue(tx, Queue.DECIDE, found)
    return len(found)


def open_by_marketplace(tx: AccountTransaction, marketplace_ids: Collection[str]) -> Sequence[AnyRow]:
    """(marketplace_id, orders) that a merchant is to ship, in marketplaces that are not among these."""
    # In the words of the partial indexes: this is asked after every batch of events, also in a shop of many years.
    return tx.execute(
        text(
            "select marketplace_id, count(*) as orders from ("
            " select marketplace_id from pipeline.orders where account_id = :account_id and other_marketplace "
            " and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and fulfilled_by <> 'AMAZON' "
            " union all "
            " select o.marketplace_id from pipeline.fulfillment_queue q join pipeline.orders o using "
            " (account_id, order_id) where q.account_id = :account_id and q.state = 'held' "
            " and 'marketplace_not_configured' = any(q.hold_reasons) and not o.marketplace_id = any(:marketplace_ids)"
            ") as found where marketplace_id is not null group by marketplace_id order by marketplace_id"
        ),
        {"account_id": tx.account_id, "marketplace_ids": list(marketplace_ids)},
    ).all()


def held_without_marketplace(tx: AccountTransaction) -> Sequence[str]:
    """The orders that are held because neither Amazon nor a message names their marketplace."""
    return list(
        tx.execute(
            text(
                "select q.order_id from pipeline.fulfillment_queue q where q.account_id = :account_id "
                "and q.state = 'held' and 'unknown_marketplace' = any(q.hold_reasons) order by q.order_id"
            ),
            {"account_id": tx.account_id},
        ).scalars()
    )


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
