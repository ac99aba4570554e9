"""Tell the warehouse: ship this, wait, go on, stop.

Belongs here: one action at the warehouse for each fulfillment order that is due, and what each answer means. Elsewhere:
which orders are due and why (queue), the warehouse's language (wms).

The rules (promises 2 and 4): a push is noted before its first byte leaves; after an unknown outcome the order is looked
for before anything is repeated; the decision to ship is made again right before, from the newest that is known; one
order's failure is that order's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event as StopFlag

from sqlalchemy import Connection

from orders_pipeline.amazon.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes
from orders_pipeline.fulfillment.eligibility import Wanted, decide
from orders_pipeline.fulfillment.fulfillment_order import fulfillment_order
from orders_pipeline.fulfillment.queue import change_state, order_facts
from orders_pipeline.fulfillment.states import Event, State
from orders_pipeline.store.alerts import close_alert, raise_alert
from orders_pipeline.store.database import Database, database_now
from orders_pipeline.store.fulfillment import (
    QueueEntry,
    begin_push,
    claim_due_actions,
    lock_queue_entry,
    record_answer,
    schedule_action,
    update_queue_entry,
    wms_order,
)
from orders_pipeline.store.order_events import has_pending_event
from orders_pipeline.store.orders import item_rows, lose_address, mark_queue_stale, order_row, request_fetch
from orders_pipeline.store.workers import over_each
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.audit import AuditEntry, AuditLog, current_actor
from orders_pipeline.vault.errors import VaultRecordMissing
from orders_pipeline.wms.warehouse import (
    FulfillmentOrder,
    PushResult,
    WarehouseError,
    WarehousePort,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)

PUSH_WORKERS = 8
# Longer than a push can take with its time-outs; a process that died gives its orders back after this.
ACTION_LEASE = timedelta(minutes=2)
# An order whose state at Amazon was read longer ago is read again before it is pushed.
FRESH_FOR = timedelta(minutes=10)
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=5), timedelta(minutes=10)
# With that backoff some eight hours of a warehouse that is down; then a person decides, and replays.
ACTION_ATTEMPTS = 50
# A push whose answer never came may still be on its way; only after this is "not there" believed.
LATE_ARRIVAL = timedelta(minutes=1)
PENDING_CANCEL_RETRY = timedelta(seconds=30)


@dataclass(slots=True)
class PushTotals:
    """What was done, by outcome (`accepted`, `refused`, `held`, `cancelled`, `too_late`, `retry`, `postponed` …)."""

    outcomes: dict[str, int] = field(default_factory=dict)
    account_error: str | None = None

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


@dataclass(frozen=True, slots=True)
class Pushing:
    """What every action needs."""

    database: Database
    vault: Vault
    audit: AuditLog
    warehouse: WarehousePort
    seller_id: str


def act_on_due_orders(
    work: Pushing, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> PushTotals:
    """Do every action that is due, several at a time, until none is or the deadline has come."""
    totals = PushTotals()
    started = clock()
    stop = StopFlag()
    with ThreadPoolExecutor(PUSH_WORKERS, thread_name_prefix="push") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with work.database.transaction() as connection:
                due = claim_due_actions(connection, work.seller_id, limit=PUSH_WORKERS * 4, lease=ACTION_LEASE)
            if not due:
                break

            def act(order_id: str) -> tuple[str, str | None]:
                return _act_safely(work, order_id, stop)

            for outcome, account_error in over_each(pool, act, due):
                totals.count(outcome)
                totals.account_error = account_error or totals.account_error
    return totals


def _act_safely(work: Pushing, order_id: str, stop: StopFlag) -> tuple[str, str | None]:
    if stop.is_set():
        _postpone(work, order_id, timedelta())
        return "postponed", None
    try:
        return _act(work, order_id), None
    except WarehouseUnauthorized as error:
        stop.set()
        _postpone(work, order_id, timedelta(minutes=1))
        with work.database.transaction() as connection:
            raise_alert(
                connection,
                seller_id=work.seller_id,
                key="warehouse.unauthorized",
                severity="error",
                message=str(error),
                what_to_do="Nothing can be pushed until WMS_TOKEN is set right; the queue is kept.",
            )
        return "unauthorized", str(error)
    except WarehouseError as error:
        return _failed(work, order_id, error), None


def _act(work: Pushing, order_id: str) -> str:
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
    if entry is None:
        return "gone"
    match State(entry.state):
        case State.QUEUED | State.PUSHING:
            return _push(work, order_id, State(entry.state))
        case State.HOLD_ASKED:
            answer = work.warehouse.hold(order_id, ", ".join(entry.hold_reasons) or "held by the seller")
            event = Event.HOLD_TOO_LATE if answer == "too_late" else Event.HOLD_DONE
            return _settle(work, order_id, event, f"hold_{answer}", expected=(State.HOLD_ASKED,))
        case State.RELEASE:
            answer = work.warehouse.release(order_id, "the reason to wait is gone")
            return _settle(work, order_id, Event.RELEASE_DONE, f"release_{answer}", expected=(State.RELEASE,))
        case State.CANCEL_ASKED:
            return _cancel(work, order_id)
        case _:
            # Settled by another process between the claim and now.
            _postpone(work, order_id, None)
            return "nothing"


def _cancel(work: Pushing, order_id: str) -> str:
    answer = work.warehouse.cancel(order_id, "cancelled at Amazon")
    event = {
        "cancelled": Event.CANCEL_DONE,
        "not_found": Event.CANCEL_DONE,
        "pending": Event.CANCEL_PENDING,
        # Some of it goes out although all of it is cancelled: for Amazon that is as late as too late.
        "partial": Event.CANCEL_TOO_LATE,
        "too_late": Event.CANCEL_TOO_LATE,
    }[answer]
    outcome = _settle(work, order_id, event, answer, expected=(State.CANCEL_ASKED,))
    if answer == "pending":
        _postpone(work, order_id, PENDING_CANCEL_RETRY)
    return outcome


def _push(work: Pushing, order_id: str, state: State) -> str:
    with work.database.transaction() as connection:
        verdict = _look_again(connection, work, order_id)
    if state is State.QUEUED and verdict is not None:
        return verdict
    unknown_outcome = state is State.PUSHING
    if unknown_outcome and verdict is not None:
        return _find_unwanted(work, order_id)
    try:
        order = _open_order(work, order_id)
    except VaultRecordMissing:
        with work.database.transaction() as connection:
            lose_address(connection, seller_id=work.seller_id, order_id=order_id)
            request_fetch(connection, seller_id=work.seller_id, order_id=order_id)
        _postpone(work, order_id, timedelta(seconds=5))
        return "postponed"
    content = json.dumps(order.wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    content_hash = work.vault.fingerprint(content)
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
        # Looked at again under the lock: a cancellation absorbed since then wins.
        if entry is None or State(entry.state) is not state or _look_again(connection, work, order_id) is not None:
            schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=timedelta(seconds=1))
            return "postponed"
        sent_before = wms_order(connection, work.seller_id, order_id)
        begin_push(connection, seller_id=work.seller_id, order_id=order_id, content_hash=content_hash)
        entries: list[AuditEntry] = []
        change_state(connection, work.seller_id, entry, Event.PUSH_BEGUN, entries)
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=ACTION_LEASE)
        work.audit.record_many(connection, entries)
    if unknown_outcome and sent_before is not None and sent_before.content_hash == content_hash:
        found = work.warehouse.find(order_id)
        if found is not None:
            return _settle_push(work, order_id, PushResult("accepted", wms_id=found.wms_id))
    return _settle_push(work, order_id, work.warehouse.push(order))


def _look_again(connection: Connection, work: Pushing, order_id: str) -> str | None:
    """Whether the order may be pushed now: None if so, else what was done instead."""
    row = order_row(connection, work.seller_id, order_id)
    if row is None:
        return "gone"
    if has_pending_event(connection, work.seller_id, order_id) or row.fetch_due_at is not None or row.queue_stale:
        # Something about it has changed and is being looked at; the push comes after.
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=timedelta(seconds=2))
        return "postponed"
    if row.parked_at is not None:
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=LONGEST_RETRY)
        return "postponed"
    if decide(order_facts(connection, work.seller_id, row)).wanted is not Wanted.SHIP:
        mark_queue_stale(connection, seller_id=work.seller_id, order_id=order_id)
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=timedelta(seconds=2))
        return "postponed"
    if row.fetched_at is None or database_now(connection) - row.fetched_at > FRESH_FOR:
        request_fetch(connection, seller_id=work.seller_id, order_id=order_id)
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=timedelta(seconds=2))
        return "postponed"
    return None


def _open_order(work: Pushing, order_id: str) -> FulfillmentOrder:
    content = work.vault.reveal(
        seller_id=work.seller_id,
        kind=SHIPPING_DETAILS,
        subject_id=order_id,
        actor=current_actor(),
        purpose="push to the warehouse",
    )
    with work.database.transaction() as connection:
        row = order_row(connection, work.seller_id, order_id)
        items = item_rows(connection, work.seller_id, order_id)
    assert row is not None
    return fulfillment_order(work.seller_id, row, items, shipping_details_from_bytes(content))


def _find_unwanted(work: Pushing, order_id: str) -> str:
    """A push was begun, its outcome is unknown, and by now it is not wanted (or not decided): did it arrive?"""
    found = work.warehouse.find(order_id)
    if found is not None:
        return _settle_push(work, order_id, PushResult("accepted", wms_id=found.wms_id))
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
        if entry is None or State(entry.state) is not State.PUSHING:
            return "nothing"
        if database_now(connection) - entry.changed_at < LATE_ARRIVAL:
            schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=LATE_ARRIVAL)
            return "postponed"
        record_answer(connection, seller_id=work.seller_id, order_id=order_id, answer="not_there")
        entries: list[AuditEntry] = []
        change_state(connection, work.seller_id, entry, Event.PUSH_ABANDONED, entries)
        mark_queue_stale(connection, seller_id=work.seller_id, order_id=order_id)
        work.audit.record_many(connection, entries)
    return "abandoned"


_REFUSALS = {
    "conflict": "The warehouse has this order with other content. Compare both; cancel it there or ship it by hand.",
    "shipped": "The warehouse says that it shipped this order already. Look for its parcel and confirm it.",
    "cancelled": "The warehouse cancelled this order. Enter it there again, or cancel it at Amazon.",
    "refused": "Correct what the warehouse refuses (address, SKU), then replay the order; or cancel it at Amazon.",
}


def _settle_push(work: Pushing, order_id: str, result: PushResult) -> str:
    accepted = result.answer == "accepted"
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
        assert entry is not None
        record_answer(
            connection,
            seller_id=work.seller_id,
            order_id=order_id,
            answer=result.answer,
            code=result.code,
            wms_id=result.wms_id,
            accepted=accepted,
        )
        entries: list[AuditEntry] = []
        if State(entry.state) is State.PUSHING:
            event = Event.PUSH_ACCEPTED if accepted else Event.PUSH_REFUSED
            change_state(connection, work.seller_id, entry, event, entries)
        # What Amazon wanted while the outcome was unknown is applied now.
        mark_queue_stale(connection, seller_id=work.seller_id, order_id=order_id)
        key = f"order.refused:{order_id}"
        if accepted:
            close_alert(connection, seller_id=work.seller_id, key=key)
        else:
            raise_alert(
                connection,
                seller_id=work.seller_id,
                key=key,
                severity="error",
                message=f"The warehouse does not take order {order_id}: {result.code or result.answer}.",
                what_to_do=_REFUSALS[result.answer],
            )
        entries.append(_audit_entry(work.seller_id, order_id, "warehouse_push", result.answer, result.code))
        work.audit.record_many(connection, entries)
    return result.answer


def _settle(work: Pushing, order_id: str, event: Event, answer: str, *, expected: tuple[State, ...]) -> str:
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
        assert entry is not None
        record_answer(connection, seller_id=work.seller_id, order_id=order_id, answer=answer)
        entries: list[AuditEntry] = []
        after = State(entry.state)
        if after in expected:
            after = change_state(
                connection, work.seller_id, entry, event, entries, reasons=_reasons_after(entry, event)
            )
        entries.append(_audit_entry(work.seller_id, order_id, f"warehouse_{event.name.lower()}", answer, None))
        work.audit.record_many(connection, entries)
    return after.value


def _reasons_after(entry: QueueEntry, event: Event) -> tuple[str, ...]:
    return entry.hold_reasons if event in (Event.HOLD_DONE, Event.HOLD_TOO_LATE) else ()


def _failed(work: Pushing, order_id: str, error: WarehouseError) -> str:
    with work.database.transaction() as connection:
        entry = lock_queue_entry(connection, work.seller_id, order_id)
        assert entry is not None
        attempts = entry.attempts + 1
        give_up = not isinstance(error, WarehouseUnavailable) or attempts >= ACTION_ATTEMPTS
        delay = None if give_up else min(FIRST_RETRY * 2 ** min(entry.attempts, 10), LONGEST_RETRY)
        schedule_action(
            connection,
            seller_id=work.seller_id,
            order_id=order_id,
            delay=delay,
            attempts=attempts,
            last_error=str(error),
        )
        if give_up:
            _park(connection, work.seller_id, order_id, error)
        elif attempts == 5:
            raise_alert(
                connection,
                seller_id=work.seller_id,
                key="warehouse.unavailable",
                severity="warning",
                message="The warehouse has failed five times in a row for one order; it is tried on.",
                what_to_do="Check the warehouse's status; nothing is lost meanwhile.",
            )
    return "parked" if give_up else "retry"


def _park(connection: Connection, seller_id: str, order_id: str, error: WarehouseError) -> None:
    update_queue_entry(
        connection, seller_id=seller_id, order_id=order_id, parked_at=database_now(connection), last_error=str(error)
    )
    raise_alert(
        connection,
        seller_id=seller_id,
        key=f"order.parked:{order_id}",
        severity="error",
        message=f"Order {order_id} could not be handed to the warehouse: {error}",
        what_to_do="Mend the cause, then run the job `replay_parked` in the Dagster UI.",
    )


def _postpone(work: Pushing, order_id: str, delay: timedelta | None) -> None:
    with work.database.transaction() as connection:
        schedule_action(connection, seller_id=work.seller_id, order_id=order_id, delay=delay)


def _audit_entry(seller_id: str, order_id: str, action: str, outcome: str, code: str | None) -> AuditEntry:
    return AuditEntry(
        action=action,
        seller_id=seller_id,
        order_id=order_id,
        purpose="fulfillment",
        outcome=outcome,
        detail={"code": code} if code else {},
    )
