"""Whether anything waits to be done: sensors ask it at every tick.

Pending work is in the store and nowhere else: not in a cursor, a run key or a run. A run that is lost is asked for
again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.event_rows import ORDER_EVENTS
from orders_pipeline.shipments.event_rows import WMS_SHIPMENTS
from orders_pipeline.work.backlog import seconds_until_due
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
    return PendingWork(
        for_sync=any(seconds <= 0 for seconds in sync_due(tx).values()),
        for_confirm=any(seconds <= 0 for seconds in confirm_due(tx).values()),
    )


def sync_due(tx: AccountTransaction) -> dict[str, float]:
    """For each stage of `sync_orders` that has anything pending, in how many seconds it can be done."""
    logs = tx.execute(_LOGS, {"account_id": tx.account_id}).one()
    return ({ORDER_EVENTS: 0.0} if logs.has_events else {}) | seconds_until_due(tx, SYNC_QUEUES)


def confirm_due(tx: AccountTransaction) -> dict[str, float]:
    """As `sync_due`, for `confirm_shipments`."""
    logs = tx.execute(_LOGS, {"account_id": tx.account_id}).one()
    return ({WMS_SHIPMENTS: 0.0} if logs.has_shipments else {}) | seconds_until_due(tx, CONFIRM_QUEUES)


_WITH_WORK = text("""
select served.account_id from unnest(cast(:account_ids as text[])) as served (account_id)
where exists (select from pipeline.jobs j where j.account_id = served.account_id)
  or exists (select from pipeline.order_events e
    where e.account_id = served.account_id and e.processed_at is null and e.parked_at is null)
  or exists (select from pipeline.wms_shipments s where s.account_id = served.account_id and s.processed_at is null)
""")


def accounts_with_work(connection: Connection, account_ids: Collection[str]) -> list[str]:
    """Those of these accounts for which anything is recorded or pending, due or not: of many most have nothing."""
    return list(connection.execute(_WITH_WORK, {"account_ids": list(account_ids)}).scalars())


def has_due_jobs(tx: AccountTransaction, queues: Collection[Queue]) -> bool:
    """Whether a job of these queues could be claimed now."""
    return any(seconds <= 0 for seconds in seconds_until_due(tx, queues).values())
