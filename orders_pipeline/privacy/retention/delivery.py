"""Ask Amazon whether the packages have arrived, with quota that nobody else wants.

Only version 2026-01-01 of the Orders API shows packages; with v0 the clock counts from the delivery window.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.channels.amazon.errors import AmazonAuthError, LimitNotBefore
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderParts, OrdersPort, Package, Priority
from orders_pipeline.privacy.retention.rows import (
    claim_undelivered,
    note_on_its_way,
    release_delivery_fetch,
    save_delivered_at,
)
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.workers import error_location, is_infrastructure_error

log = logging.getLogger(__name__)

# Looking daily is as exact as a clock of days needs.
FETCH_EVERY = timedelta(hours=20)
FETCHES_A_BATCH = 20
# Only what is free right now: a look can wait for tomorrow.
QUOTA_PATIENCE_SECONDS = 2.0
DELIVERED = "DELIVERED"
_TRAVELLING = frozenset({"PENDING", "SHIPPED", "IN_TRANSIT"})
_WILL_NOT_ARRIVE = frozenset({"CANCELLED", "UNDELIVERABLE"})


@dataclass(slots=True)
class DeliveryTotals:
    """How many orders were looked at, delivered, and not answered for. `out_of_quota`: the next call goes on."""

    examined: int = 0
    delivered: int = 0
    failed: int = 0
    out_of_quota: bool = False
    supported: bool = True

    def as_metadata(self) -> dict[str, int | bool]:
        return {
            "examined": self.examined,
            "delivered": self.delivered,
            "failed": self.failed,
            "out_of_quota": self.out_of_quota,
            "supported": self.supported,
        }


def fetch_deliveries(
    orders: OrdersPort,
    database: Database,
    *,
    account_id: str,
    deadline_seconds: float = 45.0,
    clock: Callable[[], float] = time.monotonic,
) -> DeliveryTotals:
    """Fetch the delivery of shipped orders whose details are retained, until the quota or the deadline ends it."""
    totals = DeliveryTotals()
    if orders.api_version == "v0":
        totals.supported = False
        return totals
    ends = clock() + deadline_seconds
    while clock() < ends and not totals.out_of_quota:
        with database.transaction(account_id) as tx:
            claimed = list(claim_undelivered(tx, kind=SHIPPING_DETAILS, every=FETCH_EVERY, limit=FETCHES_A_BATCH))
        if not claimed:
            break
        while claimed and clock() < ends and not totals.out_of_quota:
            row = claimed.pop(0)
            try:
                _fetch(orders, database, account_id, row.order_id, row.seen_on_its_way_at, totals)
            except (LimitNotBefore, AmazonAuthError):
                totals.out_of_quota = True
                claimed.append(row)
        with database.transaction(account_id) as tx:
            for row in claimed:
                release_delivery_fetch(tx, row.order_id, row.checked_at)
    return totals


def delivered_at(packages: Sequence[Package], on_its_way_at: datetime | None) -> datetime | None:
    """The last moment at which not all of it had arrived; None while something is on its way, or nothing is known.

    Amazon tells that a package has arrived, not when: it left before that, and was on its way when it was last seen so.
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


def _fetch(
    orders: OrdersPort,
    database: Database,
    account_id: str,
    order_id: str,
    on_its_way_at: datetime | None,
    totals: DeliveryTotals,
) -> None:
    try:
        answer = orders.get_order(
            order_id,
            OrderParts.PACKAGES,
            priority=Priority.BACKFILL,
            deadline_seconds=QUOTA_PATIENCE_SECONDS,
        )
        packages = answer.order.packages or ()
        arrived = delivered_at(packages, on_its_way_at)
        with database.transaction(account_id) as tx:
            if arrived is not None:
                save_delivered_at(tx, order_id, arrived)
            elif is_on_its_way(packages):
                note_on_its_way(tx, order_id)
    except (LimitNotBefore, AmazonAuthError):
        raise
    except Exception as error:
        if is_infrastructure_error(error):
            raise
        # One order's; it was noted as looked at, and tomorrow it is again.
        log.warning("The delivery of one order was not looked up (%s)", error_location(error))
        totals.failed += 1
        return
    totals.examined += 1
    totals.delivered += arrived is not None
