"""Have the warehouse erase what it was sent, and account for it.

Until the warehouse has said so, the order counts as retained there, and the checks and an alert say so. Where its
adapter cannot ask for it, a person has it erased there, and says so (`note_erased_by_hand`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import finish_erasures
from orders_pipeline.privacy.erasure.rows import IS_A_PERSONS, erasure_owed_at, finish_warehouse_erasure
from orders_pipeline.wms.port import (
    Capability,
    WarehouseError,
    WarehouseForbidden,
    WarehousePort,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.work.jobs import WAREHOUSE, WAREHOUSE_ERASURES, Job, Queue
from orders_pipeline.work.queue import complete, withdraw
from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import Refused, Retry, run_queue
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import error_location, is_infrastructure_error

ERASE_WORKERS = 4
ERASE_LEASE = timedelta(minutes=2)
# For ever: the duty to erase does not end.
ERASE_POLICY = Policy(first=timedelta(minutes=1), longest=timedelta(hours=6), attempts=None)
Answer = TypeVar("Answer", Retry, Refused)
ERASED, NOT_OWED, REQUESTS_FINISHED = "erased", "not_owed", "requests_finished"
BY_HAND = "erased by hand"


def erase_at_warehouse(
    database: Database,
    audit: AuditLog,
    warehouse: WarehousePort,
    *,
    account_id: str,
    deadline_seconds: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Ask for every erasure that is due, several at a time, and finish the requests of which nothing is left to do.

    Outcomes: `erased`, `not_owed` (it is to be shipped after all), and `requests_finished`. What the warehouse refuses
    is asked for again, for ever. Its refusals pause erasures only, and hold up no order.
    """

    def erase(job: Job, seconds: float) -> str:
        return _erase(database, audit, warehouse, account_id, job)

    tally = run_queue(
        database,
        account_id,
        Queue.ERASE,
        erase,
        workers=ERASE_WORKERS,
        lease=ERASE_LEASE,
        policy=ERASE_POLICY,
        deadline_seconds=deadline_seconds,
        proves=lambda word: (WAREHOUSE, WAREHOUSE_ERASURES) if word == ERASED else (),
        clock=clock,
    )
    with database.transaction(account_id) as tx:
        return tally + Tally({REQUESTS_FINISHED: finish_erasures(tx)})


def _erase(database: Database, audit: AuditLog, warehouse: WarehousePort, account_id: str, job: Job) -> str:
    with database.transaction(account_id) as tx:
        asked_at = erasure_owed_at(tx, job.order_id)
    if asked_at is None:
        return NOT_OWED
    try:
        is_erased = _is_erased(warehouse, job.order_id)
    except (WarehouseUnauthorized, WarehouseForbidden, WarehouseUnavailable) as error:
        raise _failed(audit, account_id, job, Refused(WAREHOUSE_ERASURES, _in_our_words(error))) from error
    except WarehouseError as error:
        raise _failed(audit, account_id, job, Retry(_in_our_words(error))) from error
    except Exception as error:
        if is_infrastructure_error(error):
            raise
        # Not a failure like others, after which a job is parked.
        defect = f"a defect of this program: {error_location(error)}"
        raise _failed(audit, account_id, job, Retry(defect)) from error
    if not is_erased:
        by_hand = Capability.ERASE_PII not in warehouse.capabilities
        reason = IS_A_PERSONS if by_hand else "the warehouse answered that it was not erased"
        raise _failed(audit, account_id, job, Retry(reason))
    with database.transaction(account_id) as tx:
        finish_warehouse_erasure(tx, job.order_id, asked_at=asked_at)
        complete(tx, job)
        audit.record(
            tx.connection, action="warehouse_erase", account_id=account_id, order_id=job.order_id, purpose="retention",
            outcome="done",
        )  # fmt: skip
    return ERASED


def _is_erased(warehouse: WarehousePort, order_id: str) -> bool:
    """Erased now; or, where that cannot be asked for, whether there is no such order at the warehouse."""
    if Capability.ERASE_PII in warehouse.capabilities:
        return warehouse.erase_pii(order_id)
    return warehouse.find(order_id) is None


def note_erased_by_hand(database: Database, audit: AuditLog, *, account_id: str, order_id: str, reason: str) -> bool:
    """A person says that the warehouse has erased this order's buyer; whether it owed that. What is sent later counts
    anew.
    """
    with database.transaction(account_id) as tx:
        asked_at = erasure_owed_at(tx, order_id)
        if asked_at is None:
            return False
        finish_warehouse_erasure(tx, order_id, asked_at=asked_at)
        withdraw(tx, Queue.ERASE, [order_id])
        finish_erasures(tx)
        audit.record(
            tx.connection, action="warehouse_erase", account_id=account_id, order_id=order_id, purpose=reason,
            outcome="by_hand",
        )  # fmt: skip
    return True


def _failed(audit: AuditLog, account_id: str, job: Job, answer: Answer) -> Answer:
    audit.record(
        None, action="warehouse_erase", account_id=account_id, order_id=job.order_id, purpose="retention",
        outcome="failed", detail={"error": str(answer.error)[:100], "attempts": job.attempts + 1},
    )  # fmt: skip
    return answer


def _in_our_words(error: WarehouseError) -> WarehouseError:
    """The error without the warehouse's code, which may name the buyer: what would mask it is shredded by now."""
    answered = "without an answer" if error.status is None else f"HTTP {error.status}"
    return type(error)(f"The warehouse did not erase it ({type(error).__name__}, {answered}).", status=error.status)
