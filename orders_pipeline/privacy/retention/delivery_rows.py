"""Queries of deliveries: which orders' delivery is still to be found out, and what Amazon showed of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.orders.erasures import NOT_ERASED
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.jobs import Queue

# Shipped by us, and not known to be delivered.
_UNDELIVERED = """
    o.account_id = :account_id and o.fulfilled_by = 'MERCHANT' and o.delivered_at is null
    and o.status in ('SHIPPED', 'INVOICE_UNCONFIRMED')"""
# Its details are retained here or at the warehouse.
_RETAINED = f"""
    select r.subject_id as order_id from vault.records r
    where r.account_id = :account_id and r.kind = '{SHIPPING_DETAILS}'
    union select w.order_id from pipeline.wms_orders w where w.account_id = :account_id and {NOT_ERASED}"""  # noqa: S608


def undelivered_without_job(tx: AccountTransaction, *, limit: int) -> list[str]:
    """Orders whose delivery is to be found out and that no job of DELIVERY is about yet."""
    # Begun with what is retained: the orders that were ever shipped are many times as many.
    statement = text(f"""
        select o.order_id from ({_RETAINED}) retained join pipeline.orders o using (order_id) where {_UNDELIVERED}
        and not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = :queue
        and j.subject = o.order_id) order by o.order_id limit :limit
    """)  # noqa: S608  # our own constants
    values = {"account_id": tx.account_id, "queue": Queue.DELIVERY, "limit": limit}
    return list(tx.execute(statement, values).scalars())


def undelivered(tx: AccountTransaction, order_id: str) -> AnyRow | None:
    """(seen_on_its_way_at) of this order; None if its delivery is known, or does not matter any more."""
    statement = text(f"""
        select o.seen_on_its_way_at from pipeline.orders o where {_UNDELIVERED} and o.order_id = :order_id
        and exists (select from ({_RETAINED}) retained where retained.order_id = :order_id)
    """)  # noqa: S608  # our own constants
    return tx.execute(statement, {"account_id": tx.account_id, "order_id": order_id}).one_or_none()


def note_on_its_way(tx: AccountTransaction, order_id: str) -> None:
    """Amazon has shown that not all of it has arrived by now."""
    tx.execute(
        text("""
            update pipeline.orders set seen_on_its_way_at = clock_timestamp()
            where account_id = :account_id and order_id = :order_id
        """),
        {"account_id": tx.account_id, "order_id": order_id},
    )


def save_delivered_at(tx: AccountTransaction, order_id: str, delivered_at: datetime) -> None:
    """Not later than now, whatever Amazon said."""
    tx.execute(
        text("""
            update pipeline.orders set delivered_at = least(:delivered_at, clock_timestamp())
            where account_id = :account_id and order_id = :order_id
        """),
        {"account_id": tx.account_id, "order_id": order_id, "delivered_at": delivered_at},
    )
