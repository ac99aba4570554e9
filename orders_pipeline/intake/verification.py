"""Orders with regulated items: Amazon verifies them before they may be shipped, and tells so in a call of its own.

v0 says which orders these are. 2026-01-01 does not, so there it is the SKUs of AMAZON_REGULATED_SKUS: a call for each
order would cost every seller what few need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase

from orders_pipeline.channels.amazon.errors import AmazonAuthError, AmazonError, LimitNotBefore
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.rechecks import OrderBefore
from orders_pipeline.model.order import (
    AMAZON,
    REGULATED_PROGRAM,
    Order,
    OrderStatus,
    Priority,
    Verification,
    VerificationsPort,
)
from orders_pipeline.model.states import NOT_AT_THE_WAREHOUSE
from orders_pipeline.orders.fetches import request_fetch, save_verification, save_verification_problem
from orders_pipeline.orders.rows import order_row
from orders_pipeline.work.jobs import REGULATED_INFO
from orders_pipeline.work.pauses import note_refusal, note_success

APPROVED, PENDING = "Approved", "Pending"
# A pharmacist's review takes hours; what was decided against seldom changes.
PENDING_RETRY, DECIDED_RETRY = timedelta(minutes=15), timedelta(hours=2)
# An approval may be taken back while the order waits for something else: an older one is looked at again.
APPROVAL_STANDS = timedelta(hours=1)
# In these states of the fulfillment order the warehouse has surely not got it.
_WAITS_HERE = NOT_AT_THE_WAREHOUSE | {None}
_OPEN = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})
_WORDS = frozenset({APPROVED, PENDING, "Rejected", "Expired", "Cancelled"})


@dataclass(frozen=True, slots=True)
class Verifier:
    """Asks for verifications. `skus`: patterns of the SKUs that need one, beside what v0 says."""

    port: VerificationsPort
    skus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What was learned of one regulated order: its verification, or why there is none."""

    verification: Verification | None = None
    problem: str | None = None
    account_refused: bool = False


def mark_regulated(verifier: Verifier | None, order: Order) -> Order:
    """The order, marked as regulated where one of its SKUs is configured so."""
    if verifier is None or not any(
        fnmatchcase(item.sku, pattern) for item in order.items if item.sku for pattern in verifier.skus
    ):
        return order
    return replace(order, programs=order.programs | {REGULATED_PROGRAM})


def verify(
    verifier: Verifier | None, before: OrderBefore, order: Order, deadline_seconds: float, priority: Priority
) -> Verified | None:
    """Ask whether this order may be shipped, if that is a question. Never raises AmazonError: the order is held."""
    if verifier is None or REGULATED_PROGRAM not in order.programs or _stands(before):
        return None
    if order.status not in _OPEN or order.fulfilled_by == AMAZON:
        return None
    try:
        return Verified(
            verifier.port.get_verification(order.order_id, priority=priority, deadline_seconds=deadline_seconds)
        )
    except AmazonAuthError as error:
        return Verified(problem=str(error), account_refused=True)
    except LimitNotBefore:
        return Verified()
    except AmazonError as error:
        return Verified(problem=str(error))


def _stands(before: OrderBefore) -> bool:
    if before.verification != APPROVED:
        return False
    if before.queue_state not in _WAITS_HERE:
        return True
    age = before.read_at - before.verified_at if before.verified_at is not None else APPROVAL_STANDS
    # A time that is still to come is no proof.
    return timedelta() <= age < APPROVAL_STANDS


def keep_verification(tx: AccountTransaction, order_id: str, verified: Verified, priority: int) -> None:
    """Store it, or why there is none, and ask again with this priority while it is not approved."""
    answer = verified.verification
    row = order_row(tx, order_id)
    # A person has decided to ship it all the same: a fetch that is always due would hold the push up for ever.
    waived = row is not None and "regulated" in row.waived_holds
    if answer is None:
        if row is not None and row.verification == APPROVED:
            # It was too long ago, and cannot be seen now: held, and shown, until it can.
            save_verification(tx, order_id=order_id, status=None, dosage_label=row.dosage_label)
        _note_problem(tx, order_id, verified)
        if not waived:
            delay = DECIDED_RETRY if verified.problem else PENDING_RETRY
            request_fetch(tx, order_id=order_id, delay=delay, priority=priority)
        return
    note_success(tx, REGULATED_INFO)
    word = answer.status if answer.status in _WORDS else "unknown"
    save_verification(
        tx, order_id=order_id, status=word, dosage_label=answer.dosage_label, needs_review=answer.needs_merchant
    )
    if word != APPROVED and not waived:
        delay = PENDING_RETRY if word == PENDING else DECIDED_RETRY
        request_fetch(tx, order_id=order_id, delay=delay, priority=priority)


def _note_problem(tx: AccountTransaction, order_id: str, verified: Verified) -> None:
    if verified.problem is None:
        return
    if verified.account_refused:
        note_refusal(tx, REGULATED_INFO, None, verified.problem)
    else:
        save_verification_problem(tx, order_id=order_id, problem=verified.problem)
