"""Ask Amazon whether the packages have arrived, with quota that nobody else wants.

Only version 2026-01-01 of the Orders API shows packages; with v0 the clock counts from the delivery window.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from orders_pipeline.channels.amazon.errors import AmazonAuthError, AmazonError, LimitNotBefore
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderParts, OrdersPort, Package, Priority
from orders_pipeline.privacy.retention.delivery_rows import (
    note_on_its_way,
    save_delivered_at,
    undelivered,
    undelivered_without_job,
)
from orders_pipeline.work.jobs import AMAZON, AMAZON_DELIVERIES, Job, Queue
from orders_pipeline.work.queue import complete, enqueue
from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import NotBefore, Refused, Retry, run_queue
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import error_location, is_infrastructure_error

# Once a day is as exact as a clock of days needs.
FETCH_EVERY = timedelta(hours=20)
DELIVERY_POLICY = Policy(first=FETCH_EVERY, longest=FETCH_EVERY, attempts=None)
DELIVERY_LEASE = timedelta(minutes=2)
ENQUEUED_A_BATCH = 1_000
# Only what is free right now: the question can wait for tomorrow.
QUOTA_PATIENCE_SECONDS = 2.0
DELIVERED = "DELIVERED"
_TRAVELLING = frozenset({"PENDING", "SHIPPED", "IN_TRANSIT"})
_WILL_NOT_ARRIVE = frozenset({"CANCELLED", "UNDELIVERABLE"})


def fetch_deliveries(
    orders: OrdersPort,
    database: Database,
    *,
    account_id: str,
    deadline_seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Find out the delivery of shipped orders whose details are retained, until the quota or the deadline ends it.

    Outcomes: `delivered`, `travelling` (asked again tomorrow), `not_needed`. With v0 nothing is asked.
    """
    if orders.api_version == "v0":
        return Tally()
    ends_at = clock() + deadline_seconds
    _enqueue_undelivered(database, account_id)

    def fetch(job: Job, seconds: float) -> str:
        return _fetch(orders, database, account_id, job, min(seconds, QUOTA_PATIENCE_SECONDS))

    return run_queue(
        database,
        account_id,
        Queue.DELIVERY,
        fetch,
        workers=1,
        lease=DELIVERY_LEASE,
        policy=DELIVERY_POLICY,
        deadline_seconds=ends_at - clock(),
        proves=lambda word: () if word == "not_needed" else (AMAZON, AMAZON_DELIVERIES),
        clock=clock,
    )


def delivered_at(packages: Sequence[Package], on_its_way_at: datetime | None) -> datetime | None:
    """The last moment at which not all of it had arrived; None while something is on its way, or nothing is known.

    Amazon shows that a package has arrived, not when: it left before that, and was on its way when it was last seen so.
    """
    travelling = [package for package in packages if package.status not in _WILL_NOT_ARRIVE]
    if not travelling or any(package.status != DELIVERED for package in travelling):
        return None
    left = [package.shipped_at for package in travelling if package.shipped_at is not None]
    known = [*left, *([on_its_way_at] if on_its_way_at is not None else [])]
    return max(known, default=None)


def is_on_its_way(packages: Sequence[Package]) -> bool:
    """Whether Amazon says of a package that it is still travelling. Silence and unknown words say nothing."""
    return any(package.status in _TRAVELLING for package in packages)


def _enqueue_undelivered(database: Database, account_id: str) -> None:
    while True:
        with database.transaction(account_id) as tx:
            found = undelivered_without_job(tx, limit=ENQUEUED_A_BATCH)
            enqueue(tx, Queue.DELIVERY, found)
        if len(found) < ENQUEUED_A_BATCH:
            return


def _fetch(orders: OrdersPort, database: Database, account_id: str, job: Job, seconds: float) -> str:
    with database.transaction(account_id) as tx:
        known = undelivered(tx, job.order_id)
    if known is None:
        return "not_needed"
    try:
        answer = orders.get_order(
            job.order_id, OrderParts.PACKAGES, priority=Priority.BACKFILL, deadline_seconds=seconds
        )
        packages = answer.order.packages or ()
        arrived = delivered_at(packages, known.seen_on_its_way_at)
    except LimitNotBefore as error:
        raise NotBefore(error.not_before) from error
    except AmazonAuthError as error:
        raise Refused(AMAZON_DELIVERIES, error) from error
    except AmazonError as error:
        raise Retry(error) from error
    except Exception as error:
        if is_infrastructure_error(error):
            raise
        # Asked again tomorrow, and never parked: until it is known the limit counts from the delivery window.
        raise Retry(f"a defect of this program: {error_location(error)}") from error
    with database.transaction(account_id) as tx:
        if arrived is not None:
            save_delivered_at(tx, job.order_id, arrived)
        elif is_on_its_way(packages):
            note_on_its_way(tx, job.order_id)
        if complete(tx, job) and arrived is None:
            enqueue(tx, Queue.DELIVERY, [job.order_id], due_in=FETCH_EVERY)
    return "travelling" if arrived is None else "delivered"
