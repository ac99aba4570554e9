"""Whether anything waits to be done: sensors ask it at every tick.

Pending work is in the store and nowhere else: not in a cursor, a run key or a run. A run that is lost is asked for
again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import Queue

SYNC_QUEUES = (Queue.FETCH, Queue.DECIDE, Queue.PUSH)
CONFIRM_QUEUES = (Queue.CONFIRM, Queue.VERIFY)
_LOGS = text("""
select exists (select from pipeline.order_events
    where account_id = :account_id and processed_at is null and parked_at is null) as has_events,
  exists (select from pipeline.wms_shipments
    where account_id = :account_id and processed_at is null) as has_shipments
""")


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Whether the jobs `sync_orders` and `confirm_shipments` would find anything to do now."""

    for_sync: bool
    for_confirm: bool


def pending_work(tx: AccountTransaction) -> PendingWork:
    """What is due now and waits for no pause."""
    logs = tx.execute(_LOGS, {"account_id": tx.account_id}).one()
    return PendingWork(
        for_sync=logs.has_events or has_due_jobs(tx, SYNC_QUEUES),
        for_confirm=logs.has_shipments or has_due_jobs(tx, CONFIRM_QUEUES),
    )


def has_due_jobs(tx: AccountTransaction, queues: Collection[Queue]) -> bool:
    """Whether a job of these queues could be claimed now."""
    next_at = next_due(tx, queues)
    return next_at is not None and next_at <= database_now(tx.connection)
