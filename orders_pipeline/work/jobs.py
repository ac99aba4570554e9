"""The queues, what each can do nothing without, and one job as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from orders_pipeline.database.engine import AnyRow


class Queue(StrEnum):
    """What is to be done with a subject: an order id; in CONFIRM `<order id>:<package id>`, in REPORT a request's."""

    FETCH = "fetch"
    DECIDE = "decide"
    PUSH = "push"
    CONFIRM = "confirm"
    VERIFY = "verify"
    ERASE = "erase"
    DELIVERY = "delivery"
    REPORT = "report"


AMAZON, WAREHOUSE = "amazon", "warehouse"
# Of the vault: a job that needs them waits by itself, the rest of its queue goes on.
KEYS = "keys"
# Pages of many orders: while they are refused, orders are asked for one by one.
AMAZON_LISTINGS = "amazon.listings"
# The queue that Amazon writes to: no job needs it, and what it refuses is noted for those who look.
NOTIFICATIONS = "notifications"
# What one role shows of regulated orders: these alone wait, each by itself.
REGULATED_INFO = "amazon.regulated_info"
# What one role or one endpoint refuses must not hold up orders: these pause by themselves.
WAREHOUSE_ERASURES, AMAZON_DELIVERIES = "warehouse.erasures", "amazon.deliveries"
AMAZON_REPORTS = "amazon.reports"

# Of a job that may have to stop an order: it goes before those that ship, whatever their ship-by time.
STOP_FIRST = 100
# Of a job that only a backfill asks for: after everything that happens now. What happens now asks with 0.
BACKFILLED = -100

# What a queue can do nothing without. Its own quota (`quota_of`) joins them.
DEPENDENCIES: Mapping[Queue, frozenset[str]] = {
    Queue.FETCH: frozenset({AMAZON}),
    Queue.DECIDE: frozenset(),
    Queue.PUSH: frozenset({WAREHOUSE}),
    Queue.CONFIRM: frozenset({AMAZON}),
    Queue.VERIFY: frozenset({AMAZON}),
    Queue.ERASE: frozenset({WAREHOUSE, WAREHOUSE_ERASURES}),
    Queue.DELIVERY: frozenset({AMAZON, AMAZON_DELIVERIES}),
    Queue.REPORT: frozenset({AMAZON_REPORTS}),
}


def quota_of(queue: Queue) -> str:
    """The dependency that is paused while the quota of this queue's calls is spent; other queues go on."""
    return f"{queue}.quota"


def spare_quota_of(queue: Queue) -> str | None:
    """The dependency that is paused while no token is left but those that wait for live work: BACKFILLED jobs wait.

    None: the queue's BACKFILLED jobs cost no token that live work may need.
    """
    return f"{queue}.spare_quota" if queue is Queue.FETCH else None


def dependencies_of(queue: Queue, extra: Iterable[str] = ()) -> frozenset[str]:
    """Every dependency whose pause stops the queue."""
    return DEPENDENCIES[queue] | {quota_of(queue)} | set(extra)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of pending work. `due_at` is when it was due at its claim; `lease_id` is None unless it is leased."""

    queue: Queue
    subject: str
    version: int
    priority: int
    ship_by: datetime | None
    due_at: datetime
    enqueued_at: datetime
    lease_id: UUID | None
    leased_until: datetime | None
    attempts: int
    lost_leases: int
    last_error: str | None
    parked_at: datetime | None

    @property
    def is_backfilled(self) -> bool:
        """Whether nobody but a backfill asks for it: then it takes no token that live work may need."""
        return self.priority < 0

    @property
    def base_priority(self) -> int:
        """That of the same work when it is asked for anew: what a backfill asked for stays behind what happens now."""
        return BACKFILLED if self.is_backfilled else 0

    @property
    def order_id(self) -> str:
        return self.subject.partition(":")[0]

    @property
    def package_id(self) -> str | None:
        return self.subject.partition(":")[2] or None


def package_subject(order_id: str, package_id: str) -> str:
    """The subject of work on one package."""
    return f"{order_id}:{package_id}"


def job_of(row: AnyRow) -> Job:
    """A row of `jobs` as a value."""
    return Job(
        queue=Queue(row.queue),
        subject=row.subject,
        version=row.version,
        priority=row.priority,
        ship_by=row.ship_by,
        due_at=row.due_at,
        enqueued_at=row.enqueued_at,
        lease_id=row.lease_id,
        leased_until=row.leased_until,
        attempts=row.attempts,
        lost_leases=row.lost_leases,
        last_error=row.last_error,
        parked_at=row.parked_at,
    )
