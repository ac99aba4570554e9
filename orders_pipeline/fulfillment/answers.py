"""Store the warehouse's answer and the fulfillment order's next state.

Every transaction here locks the order before its fulfillment order, as every other one does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.fulfillment.decide import change_state
from orders_pipeline.fulfillment.rows import (
    FulfillmentRow,
    lock_fulfillment_order,
    record_acceptance,
    record_answer,
    wms_order,
)
from orders_pipeline.fulfillment.states import Event
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.orders.rows import lock_orders
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import PushResult, WarehouseError, WarehousePort
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue

# A sentence of ours with a warehouse's code in it.
LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Pushing:
    """What every action needs."""

    database: Database
    vault: Vault
    audit: AuditLog
    warehouse: WarehousePort
    account_id: str
    seller_id: str
    marketplace_ids: Collection[str]


def lock_order_and_fulfillment(tx: AccountTransaction, order_id: str) -> FulfillmentRow | None:
    """Lock both, the order first: `fulfillment/decide.py` does so too, and two orders of locking make a deadlock."""
    lock_orders(tx, [order_id])
    return lock_fulfillment_order(tx, order_id)


def finish_push(work: Pushing, order_id: str, result: PushResult) -> str:
    accepted = result.is_there
    result = _masked(work, order_id, result)
    with work.database.transaction(work.account_id) as tx:
        entry = lock_order_and_fulfillment(tx, order_id)
        assert entry is not None
        record = record_acceptance if accepted else record_answer
        record(tx, order_id=order_id, answer=result.answer, code=result.code, wms_id=result.wms_id)
        entries: list[AuditEntry] = []
        if FulfillmentState(entry.state) is FulfillmentState.PUSHING:
            event = Event.PUSH_ACCEPTED if accepted else Event.PUSH_REFUSED
            change_state(tx, entry, event, entries)
        # What Amazon wanted while the outcome was unknown is applied now.
        enqueue(tx, Queue.DECIDE, [order_id])
        entries.append(push_audit_entry(work.account_id, order_id, result.answer, result.code))
        work.audit.record_many(tx.connection, entries)
    return result.answer


def _masked(work: Pushing, order_id: str, result: PushResult) -> PushResult:
    """The warehouse's text, with the buyer's data masked."""
    if result.code is None and result.wms_id is None:
        return result
    mask = work.vault.buyer_mask(account_id=work.account_id, kind=SHIPPING_DETAILS, subject_ids=[order_id])
    return replace(result, code=mask.text(order_id, result.code), wms_id=mask.id(order_id, result.wms_id))


def masked_error(work: Pushing, order_id: str, error: WarehouseError) -> WarehouseError:
    """The error as it may be stored and shown: our sentence and the warehouse's code, with the buyer's data masked."""
    if error.code is None:
        return error
    mask = work.vault.buyer_mask(account_id=work.account_id, kind=SHIPPING_DETAILS, subject_ids=[order_id])
    return type(error)(mask.text(order_id, str(error), longest=LONGEST_ERROR) or "", status=error.status)


def apply_answer(
    work: Pushing, order_id: str, event: Event, answer: str, *, expected: tuple[FulfillmentState, ...]
) -> str:
    with work.database.transaction(work.account_id) as tx:
        entry = lock_fulfillment_order(tx, order_id)
        assert entry is not None
        record_answer(tx, order_id=order_id, answer=answer)
        entries: list[AuditEntry] = []
        after = FulfillmentState(entry.state)
        if after in expected:
            after = change_state(tx, entry, event, entries, reasons=_reasons_after(entry, event))
        entries.append(_audit_entry(work.account_id, order_id, f"warehouse_{event.name.lower()}", answer, None))
        work.audit.record_many(tx.connection, entries)
    return after.value


def note_by_hand(work: Pushing, order_id: str, answer: str, *, expected: FulfillmentState) -> None:
    """A person has to ask the warehouse for what the state asks; noted once."""
    with work.database.transaction(work.account_id) as tx:
        entry, sent = lock_fulfillment_order(tx, order_id), wms_order(tx, order_id)
        if entry is None or FulfillmentState(entry.state) is not expected or sent is None or sent.answer == answer:
            return
        record_answer(tx, order_id=order_id, answer=answer)
        work.audit.record_many(
            tx.connection, [_audit_entry(work.account_id, order_id, "warehouse_by_hand", answer, None)]
        )


def _reasons_after(entry: FulfillmentRow, event: Event) -> tuple[str, ...]:
    return entry.hold_reasons if event in (Event.HOLD_DONE, Event.HOLD_TOO_LATE, Event.NOT_FOUND) else ()


def push_audit_entry(account_id: str, order_id: str, outcome: str, code: str | None = None) -> AuditEntry:
    """The address of an order at the warehouse: `requested` before it leaves, then what came of it."""
    return _audit_entry(account_id, order_id, "warehouse_push", outcome, code)


def _audit_entry(account_id: str, order_id: str, action: str, outcome: str, code: str | None) -> AuditEntry:
    return AuditEntry(
        action=action,
        account_id=account_id,
        order_id=order_id,
        purpose="fulfillment",
        outcome=outcome,
        detail={"code": code} if code else {},
    )
