"""Fetches: asking Amazon about an order is a job of the queue FETCH, with the order as its subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select, text, update

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.tables import orders
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import ZERO, enqueue

# Whether to stop an order cannot wait for the others.
STOP_FIRST = 1


def request_fetch(
    tx: AccountTransaction,
    *,
    order_id: str,
    delay: timedelta = ZERO,
    told_at: datetime | None = None,
    marketplace_id: str | None = None,
) -> None:
    """Have Amazon asked about a known order. One that was parked gets another chance: something about it has changed.

    A fetch that is due earlier stays so. `told_at`: the change that the answer has to show; `marketplace_id`: as a
    message has it, for an order that Amazon was never asked about.
    """
    values: dict[str, Any] = {} if told_at is None else {"told_at": func.greatest(orders.c.told_at, told_at)}
    if marketplace_id is not None:
        values["marketplace_id"] = case((orders.c.fetched_at.is_(None), marketplace_id), else_=orders.c.marketplace_id)
    is_it = (orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
    if values:
        tx.execute(update(orders).where(*is_it).values(**values))
    # The order's row is locked before its job, as everywhere.
    known = select(orders.c.ship_by, orders.c.cancellation_told_at).where(*is_it).with_for_update()
    row = tx.execute(known).one_or_none()
    if row is not None:
        priority = STOP_FIRST if row.cancellation_told_at is not None else None
        enqueue(tx, Queue.FETCH, [order_id], due_in=delay, priority=priority, ship_by=row.ship_by)


def request_fetches(tx: AccountTransaction, ship_by: Mapping[str, datetime | None]) -> None:
    """Have Amazon asked about these orders, whose rows the caller has locked, by their ship-by times."""
    enqueue(tx, Queue.FETCH, ship_by, ship_by=ship_by)


def awaiting_fetch(tx: AccountTransaction, order_ids: Sequence[str]) -> set[str]:
    """Those of the orders that Amazon is to be asked about, or is being asked about; not those that are parked."""
    rows = tx.execute(
        text("""
            select subject from pipeline.jobs where account_id = :account_id and queue = :queue
            and subject = any(:order_ids) and parked_at is null
        """),
        {"account_id": tx.account_id, "queue": Queue.FETCH, "order_ids": list(order_ids)},
    )
    return set(rows.scalars())
