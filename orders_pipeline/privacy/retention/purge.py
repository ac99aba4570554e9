"""Deleting what identifies nobody, once it is old enough: at most so many rows a call."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.erasures import NOT_ERASED
from orders_pipeline.work.queue import withdraw_orders

# Everything that is kept of an order, the order itself last; its items go with it.
OF_AN_ORDER = (
    "shipment_confirmations", "wms_shipments", "wms_orders", "fulfillment_orders", "fba_shipments", "order_events",
    "orders",
)  # fmt: skip
# What goes by its own age, whether or not its order is known here; and which time tells it.
BY_AGE = {
    "order_events": "received_at",
    "wms_shipments": "received_at",
    "fba_shipments": "received_at",
    "parked_messages": "parked_at",
    "search_windows": "started_at",
    "report_requests": "requested_at",
    "alerts": "last_seen_at",
    "erasures": "finished_at",
}

_OLD_ORDERS = (
    "from pipeline.orders o where o.account_id = :account_id "  # noqa: S608  # our own constant
    "and (coalesce(o.purchased_at, o.first_seen_at) < :cutoff or o.first_seen_at <= :left_at) "
    # Never before the buyer's data: here, and at the warehouse.
    "and not exists (select from vault.records r where r.account_id = o.account_id and r.subject_id = o.order_id) "
    "and not exists (select from pipeline.wms_orders w where w.account_id = o.account_id and w.order_id = o.order_id "
    f"and {NOT_ERASED}) "
)


def purge_orders(
    tx: AccountTransaction, cutoff: datetime, limit: int, *, left_at: datetime | None = None
) -> dict[str, int]:
    """Delete orders bought before the cutoff with all that belongs to them; rows deleted by table, {} when none.

    Their pending work goes with them, of every queue: jobs have no foreign key.

    `left_at`: when the seller left, if it did; all that was known by then goes, however young.
    """
    order_ids = list(
        tx.execute(
            text(f"select o.order_id {_OLD_ORDERS} order by o.order_id limit :limit for update skip locked"),
            {"account_id": tx.account_id, "cutoff": cutoff, "left_at": left_at, "limit": limit},
        ).scalars()
    )
    if not order_ids:
        return {}
    withdraw_orders(tx, order_ids)
    gone: dict[str, int] = {}
    for table in OF_AN_ORDER:
        statement = f"delete from pipeline.{table} where account_id = :account_id and order_id = any(:ids)"  # noqa: S608
        gone[table] = tx.execute(text(statement), {"account_id": tx.account_id, "ids": order_ids}).rowcount
    return gone


def purge_by_age(tx: AccountTransaction, table: str, cutoff: datetime, limit: int) -> int:
    """Delete rows of one of the tables BY_AGE that are older than the cutoff; how many."""
    return tx.execute(
        text(f"""
            delete from pipeline.{table} where ctid = any(array(select ctid from pipeline.{table}
            where account_id = :account_id and {BY_AGE[table]} < :cutoff limit :limit))
        """),  # noqa: S608  # our own constants
        {"account_id": tx.account_id, "cutoff": cutoff, "limit": limit},
    ).rowcount


def count_old(tx: AccountTransaction, cutoff: datetime, *, left_at: datetime | None = None) -> dict[str, int]:
    """What a purge would delete, by table. Orders count once, without what belongs to them."""
    values = {"account_id": tx.account_id, "cutoff": cutoff, "left_at": left_at}
    old = {"orders": int(tx.execute(text(f"select count(*) {_OLD_ORDERS}"), values).scalar_one())}
    for table, column in BY_AGE.items():
        statement = f"select count(*) from pipeline.{table} where account_id = :account_id and {column} < :cutoff"  # noqa: S608
        old[table] = int(tx.execute(text(statement), values).scalar_one())
    return {table: rows for table, rows in old.items() if rows}
