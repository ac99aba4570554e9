"""Asking Amazon about an order, and asking again while its answer does not show what a message announced.

A fetch is a job of the queue FETCH, with the order as its subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select, text, update

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.order import OrderStatus
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.orders.tables import orders
from orders_pipeline.work.jobs import STOP_FIRST, Queue
from orders_pipeline.work.queue import ZERO, enqueue


def request_fetch(
    tx: AccountTransaction,
    *,
    order_id: str,
    delay: timedelta = ZERO,
    told_at: datetime | None = None,
    marketplace_id: str | None = None,
    priority: int = 0,
) -> None:
    """Have Amazon asked about a known order. One that was parked gets another chance: something about it has changed.

    A fetch that is due earlier stays so. `told_at`: the change that the answer has to show; `marketplace_id`: as a
    message has it, for an order that Amazon was never asked about; `priority`: BACKFILLED, or the usual.
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
        priority = STOP_FIRST if row.cancellation_told_at is not None else priority
        enqueue(tx, Queue.FETCH, [order_id], due_in=delay, priority=priority, ship_by=row.ship_by)


def request_fetches(tx: AccountTransaction, ship_by: Mapping[str, datetime | None]) -> None:
    """Have Amazon asked about these orders, whose rows the caller has locked, by their ship-by times."""
    enqueue(tx, Queue.FETCH, ship_by, priority=0, ship_by=ship_by)


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


def record_announced_cancellation(
    tx: AccountTransaction, *, order_id: str, told_at: datetime | None, over: bool
) -> None:
    """Record an announced cancellation: the order does not ship until Amazon's answer denies it.

    `over`: there is nothing to stop yet, so the order counts as cancelled without a call.
    """
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            cancellation_told_at=func.clock_timestamp(),
            told_at=func.greatest(orders.c.told_at, told_at),
            **({"status": OrderStatus.CANCELLED} if over else {}),
        )
    )
    enqueue(tx, Queue.DECIDE, [order_id], priority=STOP_FIRST)


def request_recheck(tx: AccountTransaction, *, order_id: str, delay: timedelta, priority: int) -> None:
    """Request another fetch, because the answer was doubtful, and count it. `priority`: that of the first."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            rechecks=orders.c.rechecks + 1,
            # Not later than now: a clock that was ahead must not hold the order.
            questioned_since=func.least(orders.c.questioned_since, func.clock_timestamp()),
        )
    )
    request_fetch(tx, order_id=order_id, delay=delay, priority=priority)


def finish_rechecks(
    tx: AccountTransaction, *, order_id: str, older: bool, answered: bool, status: str | None = None
) -> None:
    """Accept Amazon's answer and clear what earlier messages announced. `status`: as the answer has it.

    `older`: the answer is older than what was announced, which a person sees until one is `answered`: until it shows
    what was asked for. After the last recheck the time is not reset: otherwise endless
    messages would delay the order for ever.
    """
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            told_at=None,
            cancellation_told_at=None,
            rechecks=0,
            **({"answer_older_at": func.clock_timestamp()} if older else {}),
            **({"questioned_since": None, "answer_older_at": None} if answered else {}),
            **({"status": status} if status is not None else {}),
        )
    )
    enqueue(tx, Queue.DECIDE, [order_id])


def believe_amazon(tx: AccountTransaction, *, order_id: str) -> None:
    """A person recovers this order: the next answer of Amazon's is accepted, whatever messages announced."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(told_at=None, cancellation_told_at=None, last_updated_at=None, rechecks=0, questioned_since=None)
    )


def save_verification(
    tx: AccountTransaction, *, order_id: str, status: str | None, dosage_label: bool, needs_review: bool = False
) -> None:
    """Store the verification of a regulated order; a `status` of None clears it."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            verification=status,
            verified_at=func.clock_timestamp(),
            dosage_label=dosage_label,
            needs_review=needs_review,
            verification_problem=None,
        )
    )
    enqueue(tx, Queue.DECIDE, [order_id])


def save_verification_problem(tx: AccountTransaction, *, order_id: str, problem: str) -> None:
    """Store why Amazon gave no verification of this order; the one that it gave before stays."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(verification_problem=bounded_text(problem, LONGEST_ERROR) or "no reason given")
    )
