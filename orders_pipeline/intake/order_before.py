"""What is stored of an order when its fetch begins; the answer is compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.orders.rows import order_row, queue_states
from orders_pipeline.work.jobs import Job


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
    )
