"""What waits to be done, in one query: sensors ask it at every tick.

Pending work lives here and nowhere else: not in a cursor, a run key or a run. A run that is lost is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import Queue, dependencies_of


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Counts of what is due now."""

    events: int
    fetches: int
    stale_orders: int
    actions: int
    shipment_events: int
    confirmations: int

    @property
    def for_sync(self) -> int:
        """What the job `sync_orders` would find to do."""
        return self.events + self.fetches + self.stale_orders + self.actions

    @property
    def for_confirm(self) -> int:
        """What the job `confirm_shipments` would find to do."""
        return self.shipment_events + self.confirmations


def pending_work(tx: AccountTransaction) -> PendingWork:
    row = tx.execute(
        text(
            "select "
            "(select count(*) from pipeline.order_events "
            " where account_id = :account_id and processed_at is null and parked_at is null), "
            "(select count(*) from pipeline.jobs "
            " where account_id = :account_id and queue = 'fetch' and parked_at is null "
            " and coalesce(leased_until, due_at) <= clock_timestamp() "
            # While Amazon refuses, or the quota is spent, a run would do nothing.
            " and not exists (select from pipeline.paused_dependencies p where p.account_id = :account_id "
            " and p.dependency = any(:fetch_needs) and p.until > clock_timestamp())), "
            "(select count(*) from pipeline.jobs where account_id = :account_id and queue = 'decide' "
            " and parked_at is null and coalesce(leased_until, due_at) <= clock_timestamp()), "
            "(select count(*) from pipeline.jobs where account_id = :account_id and queue = 'push' "
            " and parked_at is null and coalesce(leased_until, due_at) <= clock_timestamp() "
            # While the warehouse refuses, a run would do nothing.
            " and not exists (select from pipeline.paused_dependencies p where p.account_id = :account_id "
            " and p.dependency = any(:push_needs) and p.until > clock_timestamp())), "
            "(select count(*) from pipeline.wms_shipments where account_id = :account_id and processed_at is null), "
            "(select count(*) from pipeline.jobs where account_id = :account_id and queue in ('confirm', 'verify') "
            " and parked_at is null and coalesce(leased_until, due_at) <= clock_timestamp())"
        ),
        {
            "account_id": tx.account_id,
            "fetch_needs": sorted(dependencies_of(Queue.FETCH)),
            "push_needs": sorted(dependencies_of(Queue.PUSH)),
        },
    ).one()
    # While all that is due waits for a pause, a run would find nothing to do.
    next_at = next_due(tx, (Queue.CONFIRM, Queue.VERIFY))
    found = PendingWork(*(int(value) for value in row))
    return found if next_at is not None and next_at <= database_now(tx.connection) else replace(found, confirmations=0)
