"""Queries of the changes that messages announced and Amazon has not confirmed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, not_, select, update

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.order import REGULATED_PROGRAM, OrderStatus
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.tables import orders
from orders_pipeline.work.jobs import STOP_FIRST, Queue
from orders_pipeline.work.queue import enqueue


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


def request_recheck(tx: AccountTransaction, *, order_id: str, delay: timedelta) -> None:
    """Request another fetch, because the answer was doubtful, and count it."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            rechecks=orders.c.rechecks + 1,
            # Not later than now: a clock that was ahead must not hold the order.
            questioned_since=func.least(orders.c.questioned_since, func.clock_timestamp()),
        )
    )
    request_fetch(tx, order_id=order_id, delay=delay)


def finish_rechecks(tx: AccountTransaction, *, order_id: str, answered: bool, status: str | None = None) -> None:
    """Accept Amazon's answer and clear what earlier messages announced. `status`: as the answer has it.

    `answered`: the answer shows what was asked for. After the last recheck the time is not reset: otherwise endless
    messages would delay the order for ever.
    """
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(
            told_at=None,
            cancellation_told_at=None,
            rechecks=0,
            **({"questioned_since": None} if answered else {}),
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


def save_verification(tx: AccountTransaction, *, order_id: str, status: str | None, dosage_label: bool) -> None:
    """Store the verification status of a regulated order; None clears it."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(verification=status, verified_at=func.clock_timestamp(), dosage_label=dosage_label)
    )
    enqueue(tx, Queue.DECIDE, [order_id])


def unverified_orders(tx: AccountTransaction) -> int:
    """How many orders with regulated items are to be shipped, are not approved, and nobody has waived that."""
    return tx.execute(
        select(func.count())
        .select_from(orders)
        .where(
            orders.c.account_id == tx.account_id,
            orders.c.status.in_(["UNSHIPPED", "PARTIALLY_SHIPPED"]),
            orders.c.fulfilled_by != "AMAZON",
            orders.c.programs.contains([REGULATED_PROGRAM]),
            func.coalesce(orders.c.verification, "") != "Approved",
            not_(orders.c.waived_holds.contains(["regulated"])),
        )
    ).scalar_one()
