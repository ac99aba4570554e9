"""Queries of the warehouse's erasures: what it was asked to erase, and what it still owes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.erasures import NOT_ERASED
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue

# The proof is the order's own row, whatever became of the job that asks: a job that is parked or lost is still owed.
# The job's `last_error` where the warehouse's adapter cannot erase.
IS_A_PERSONS = "the adapter cannot erase: a person has it done, and says so"
OWED = f"(w.erase_requested_at is not null and {NOT_ERASED})"


def ask_warehouse_to_erase(tx: AccountTransaction, order_ids: Sequence[str]) -> int:
    """Enqueue the erasure at the warehouse, for those of the orders that it was sent and is not asked about; how many.

    What is owed longer keeps the time at which it was first requested.
    """
    asked = list(
        tx.execute(
            text(f"""
                update pipeline.wms_orders w set erased_at = null, erase_requested_at = case
                when w.erased_at is null then coalesce(w.erase_requested_at, clock_timestamp())
                else clock_timestamp() end from (select order_id from pipeline.wms_orders w
                where account_id = :account_id and order_id = any(:order_ids) and {NOT_ERASED}
                and not exists (select from pipeline.jobs j where j.account_id = w.account_id and j.queue = :queue
                and j.subject = w.order_id and j.parked_at is null)
                order by order_id for update) as due
                where w.account_id = :account_id and w.order_id = due.order_id returning w.order_id
            """),  # noqa: S608  # our own constants
            {"account_id": tx.account_id, "order_ids": list(order_ids), "queue": Queue.ERASE},
        ).scalars()
    )
    enqueue(tx, Queue.ERASE, asked)
    return len(asked)


def erasure_owed_at(tx: AccountTransaction, order_id: str) -> datetime | None:
    """Now, if the warehouse still owes this order's erasure; what is sent after it is not what this erases."""
    statement = text(f"""
        select clock_timestamp() from pipeline.wms_orders w
        where account_id = :account_id and order_id = :order_id and {OWED}
    """)  # noqa: S608  # our own constants
    return tx.execute(statement, {"account_id": tx.account_id, "order_id": order_id}).scalar()


def finish_warehouse_erasure(tx: AccountTransaction, order_id: str, *, asked_at: datetime) -> None:
    """The warehouse holds nothing of the buyer that was there when it was asked."""
    tx.execute(
        text("""
            update pipeline.wms_orders set erased_at = :asked_at
            where account_id = :account_id and order_id = :order_id
        """),
        {"account_id": tx.account_id, "order_id": order_id, "asked_at": asked_at},
    )


def warehouse_erasures_waiting(tx: AccountTransaction, *, older_than: timedelta) -> tuple[int, int]:
    """How many erasures the warehouse still owes, and how many of them were requested longer ago than that."""
    row = tx.execute(
        text(f"""
            select count(*), count(*) filter (where erase_requested_at < clock_timestamp() - :age)
            from pipeline.wms_orders w where account_id = :account_id and {OWED}
        """),  # noqa: S608  # our own constants
        {"account_id": tx.account_id, "age": older_than},
    ).one()
    return int(row[0]), int(row[1])
