"""When Amazon's answer is in doubt (older than a message, or without who ships): ask again, or accept it.

An answer can be older than the change that an event announced, and can leave out who ships the order. Both usually
correct themselves within minutes. After four rechecks Amazon's answer is accepted, and a person is told. Each answer is
compared with what was stored when its fetch began (`OrderBefore`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.order import AMAZON, MERCHANT, Order, OrderStatus
from orders_pipeline.orders.answers import is_older
from orders_pipeline.orders.fetches import finish_rechecks, request_recheck
from orders_pipeline.orders.rows import order_row, queue_states
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.queue import find

# Counted from the first doubtful answer. Then Amazon's answer is accepted, whatever messages say: forged messages can
# delay an order by eleven minutes in all.
RECHECK_DELAYS = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=3), timedelta(minutes=5))
LONGEST_DELAY = sum(RECHECK_DELAYS, timedelta())
_OPEN = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})


@dataclass(frozen=True, slots=True)
class OrderBefore:
    """`job` is the fetch; `read_at` the database's time of this reading (UTC); the rest as the tables have it."""

    job: Job
    read_at: datetime
    status: str
    fulfilled_by: str
    programs: frozenset[str]
    deliver_by: datetime | None
    queue_state: str | None
    marketplace_id: str | None
    verification: str | None
    verified_at: datetime | None
    last_updated_at: datetime | None
    told_at: datetime | None


def order_before(tx: AccountTransaction, job: Job) -> OrderBefore | None:
    """None for an order that is not known (any more)."""
    row = order_row(tx, job.order_id)
    if row is None:
        return None
    return OrderBefore(
        job=job,
        read_at=database_now(tx.connection),
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        programs=frozenset(row.programs),
        deliver_by=row.deliver_by,
        queue_state=queue_states(tx, [job.order_id]).get(job.order_id),
        marketplace_id=row.marketplace_id,
        verification=row.verification,
        verified_at=row.verified_at,
        last_updated_at=row.last_updated_at,
        told_at=row.told_at,
    )


def review_answer(tx: AccountTransaction, before: OrderBefore, order: Order) -> None:
    """Accept the answer or request a recheck; mark an older one after the last. The fetch's job is completed."""
    row = order_row(tx, order.order_id)
    if row is None or find(tx, Queue.FETCH, order.order_id) is not None:
        # An event came during the fetch, so the next fetch is due already.
        return
    older = is_older(order.last_updated_at, row.told_at)
    nobody_ships = row.status in _OPEN and row.fulfilled_by not in (MERCHANT, AMAZON)
    doubtful = older or nobody_ships
    if doubtful:
        since = row.questioned_since
        delay = next_recheck(database_now(tx.connection) - since if since is not None else timedelta())
        if delay is not None:
            request_recheck(tx, order_id=order.order_id, delay=delay, priority=before.job.base_priority)
            return
    answered = not doubtful and _answers(order.last_updated_at, row, before)
    # A message announced a cancellation that Amazon never confirmed: Amazon's status counts.
    status = order.status if older and row.status == OrderStatus.CANCELLED else None
    finish_rechecks(tx, order_id=order.order_id, older=older, answered=answered, status=status)


def next_recheck(asked_for: timedelta) -> timedelta | None:
    """The time until the next recheck, given the time since the first; None after the last."""
    asked_for, at = max(asked_for, timedelta()), timedelta()
    for delay in RECHECK_DELAYS:
        at += delay
        if at > asked_for:
            return at - asked_for
    return None


def _answers(answered: datetime, row: AnyRow, before: OrderBefore) -> bool:
    """Whether an undoubted answer ends the rechecks: a recheck was pending, or the order has changed at Amazon.

    A message without a time cannot be confirmed by an answer, so its answer does not end the rechecks of others.
    """
    if row.questioned_since is None:
        return True
    return row.rechecks > 0 or before.last_updated_at is None or answered > before.last_updated_at
