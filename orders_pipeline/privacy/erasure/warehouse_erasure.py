"""Have the warehouse erase what it was sent, and account for it.

Until the warehouse has said so, the order counts as kept, and the checks say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import finish_erasures
from orders_pipeline.privacy.retention.rows import (
    claim_due_erasures,
    finish_warehouse_erasure,
    postpone_warehouse_erasure,
)
from orders_pipeline.wms.port import WarehouseError, WarehousePort, WarehouseUnauthorized
from orders_pipeline.work.workers import error_location, is_infrastructure_error, over_each

ERASE_WORKERS = 4
ERASE_LEASE = timedelta(minutes=2)
# 1 min, 2 min, 4 min … 6 h: for ever, since what must be erased does not stop to be so.
FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=6)
# "Within the day" leaves a person some hours.
ALERT_AFTER = timedelta(hours=2)
UNAUTHORIZED_ALERT = "erase.unauthorized"


@dataclass(slots=True)
class WarehouseErasureTotals:
    """What the warehouse answered. `failed` are tried again by a later call.

    `requests_finished`: requests to erase of which nothing is left to do.
    """

    erased: int = 0
    failed: int = 0
    requests_finished: int = 0
    unauthorized: bool = False


def erase_at_warehouse(
    database: Database,
    audit: AuditLog,
    warehouse: WarehousePort,
    *,
    account_id: str,
    deadline_seconds: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> WarehouseErasureTotals:
    """Ask for every erasure that is due, several at a time, until none is or the deadline has come."""
    totals = WarehouseErasureTotals()
    started = clock()
    stop = Event()

    def erase(due: tuple[str, datetime]) -> str:
        return "postponed" if stop.is_set() else _erase(database, audit, warehouse, account_id, *due, stop)

    with ThreadPoolExecutor(ERASE_WORKERS, thread_name_prefix="erase") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with database.transaction(account_id) as tx:
                due = claim_due_erasures(tx, limit=ERASE_WORKERS * 25, lease=ERASE_LEASE)
            if not due:
                break
            outcomes = over_each(pool, erase, due)
            totals.erased += outcomes.count("erased")
            totals.failed += len(outcomes) - outcomes.count("erased")
    totals.unauthorized = stop.is_set()
    with database.transaction(account_id) as tx:
        totals.requests_finished = finish_erasures(tx)
        if totals.erased:
            close_alert(tx, key=UNAUTHORIZED_ALERT)
    return totals


def _erase(
    database: Database,
    audit: AuditLog,
    warehouse: WarehousePort,
    account_id: str,
    order_id: str,
    asked_at: datetime,
    stop: Event,
) -> str:
    try:
        if not warehouse.erase_pii(order_id):
            return _failed(database, audit, account_id, order_id, "it was not erased")
        with database.transaction(account_id) as tx:
            finish_warehouse_erasure(tx, order_id, asked_at=asked_at)
            close_alert(tx, key=f"erase.failed:{order_id}")
            audit.record(
                tx.connection, action="warehouse_erase", account_id=account_id, order_id=order_id, purpose="retention",
                outcome="done",
            )  # fmt: skip
    except WarehouseUnauthorized as error:
        stop.set()
        with database.transaction(account_id) as tx:
            raise_alert(
                tx,
                key=UNAUTHORIZED_ALERT,
                severity="error",
                message=f"The warehouse cannot be told to erase buyers' data. {error}",
                what_to_do="Set WMS_TOKEN right; what is due stays due.",
            )
        return _failed(database, audit, account_id, order_id, "unauthorized")
    except WarehouseError as error:
        return _failed(database, audit, account_id, order_id, error.code or type(error).__name__)
    except Exception as error:
        # One order's defect is that order's alone.
        if is_infrastructure_error(error):
            raise
        return _failed(database, audit, account_id, order_id, f"a defect of this program: {error_location(error)}")
    return "erased"


def _failed(database: Database, audit: AuditLog, account_id: str, order_id: str, error: str) -> str:
    with database.transaction(account_id) as tx:
        attempts, asked_for = postpone_warehouse_erasure(
            tx, order_id, error=error, first=FIRST_RETRY, longest=LONGEST_RETRY
        )
        if asked_for >= ALERT_AFTER:
            raise_alert(
                tx,
                key=f"erase.failed:{order_id}",
                severity="error",
                message=f"The warehouse has not erased the buyer's data of order {order_id} ({error}); it is asked on.",
                what_to_do="Have it erased there by hand; the next answer of the warehouse closes this alert.",
            )
        audit.record(
            tx.connection, action="warehouse_erase", account_id=account_id, order_id=order_id, purpose="retention",
            outcome="failed", detail={"error": error[:100], "attempts": attempts},
        )  # fmt: skip
    return "failed"
