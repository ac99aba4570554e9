"""Push orders to the warehouse, and do what else is due there (hold, release, cancel: `fulfillment/stop.py`).

Jobs of the queue PUSH; the claim is in `work/queue.py`; what each failure means: `wms/failures.py`.

Before a push is sent, it is noted that it begins; where its outcome is not known, the order is looked for at the
warehouse before anything is repeated. The decision to ship is made again right before, from the newest that is known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from orders_pipeline.audit.log import AuditEntry, current_actor
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.fulfillment.answers import (
    Pushing,
    finish_push,
    lock_order_and_fulfillment,
    masked_error,
    push_audit_entry,
)
from orders_pipeline.fulfillment.decide import change_state, order_facts
from orders_pipeline.fulfillment.eligibility import Wanted, decide
from orders_pipeline.fulfillment.fulfillment_order import fulfillment_order
from orders_pipeline.fulfillment.rows import begin_push, lock_fulfillment_order, record_answer, wms_order
from orders_pipeline.fulfillment.states import ACTIONABLE, Event
from orders_pipeline.fulfillment.stop import NEEDED, ask_warehouse
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.orders.event_rows import pending_event
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.orders.rows import clear_address, item_rows, order_row
from orders_pipeline.vault.errors import KeyProviderUnavailable, VaultError
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes
from orders_pipeline.wms.failures import PUSH_POLICY, WAREHOUSE_FAILURES
from orders_pipeline.wms.port import FulfillmentOrder, PushResult, WarehouseError, WarehouseRefused
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import KEYS, WAREHOUSE, Job, Queue
from orders_pipeline.work.queue import enqueue, find, release, renew
from orders_pipeline.work.runner import LEASE_LOST, Refused, run_queue
from orders_pipeline.work.tally import Tally

PUSH_WORKERS = 8
# Longer than any one operation of an adapter's (REST 25 s, Tryton 40 s): `find` and `push` each have a lease of their
# own, for it is renewed before the address leaves.
PUSH_LEASE = timedelta(minutes=1)
# An order whose state at Amazon was read longer ago is read again before it is pushed.
FRESH_FOR = timedelta(minutes=10)
# A push whose answer never came may still be on its way; only after this is "not there" believed.
LATE_ARRIVAL = timedelta(minutes=1)
# Most running fetches end within two seconds.
RECHECK_DELAY, LONGEST_RECHECK_DELAY = timedelta(seconds=2), timedelta(minutes=10)
POSTPONED, NOTHING, GONE, FOUND = "postponed", "nothing", "gone", "found"
# Outcomes for which the warehouse was not called.
_NOT_CALLED = frozenset({POSTPONED, NOTHING, GONE, LEASE_LOST})
# Outcomes for which an address was opened with the keys.
_OPENED = frozenset({"accepted", "duplicate", "refused", "conflict"})


def push_orders(work: Pushing, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic) -> Tally:
    """Do every action that is due at the warehouse, several at a time, until none is or the deadline has come.

    Outcomes: the warehouse's answer to a push, or the state that an order came to, or why nothing was asked.
    """
    return run_queue(
        work.database,
        work.account_id,
        Queue.PUSH,
        partial(_handle, work),
        workers=PUSH_WORKERS,
        lease=PUSH_LEASE,
        policy=PUSH_POLICY,
        deadline_seconds=deadline_seconds,
        proves=_proves,
        clock=clock,
    )


def _proves(outcome: str) -> tuple[str, ...]:
    if outcome in _NOT_CALLED:
        return ()
    return (WAREHOUSE, KEYS) if outcome in _OPENED else (WAREHOUSE,)


def _handle(work: Pushing, job: Job, _seconds: float) -> str:
    # The warehouse's client bounds each call, and the lease outlasts them.
    with work.database.transaction(work.account_id) as tx:
        entry = lock_fulfillment_order(tx, job.order_id)
    if entry is None:
        return GONE
    state = FulfillmentState(entry.state)
    if state not in ACTIONABLE:
        return NOTHING
    try:
        return _act(work, job, state, entry.hold_reasons)
    except WarehouseError as error:
        raise WAREHOUSE_FAILURES.answer(masked_error(work, job.order_id, error)) from None
    except KeyProviderUnavailable as error:
        # Nothing was sent: addresses cannot be opened. Holds, releases and cancellations need none, and go on.
        raise Refused(KEYS, error, whole=True) from None


def _act(work: Pushing, job: Job, state: FulfillmentState, reasons: tuple[str, ...]) -> str:
    if state in NEEDED:
        return ask_warehouse(work, job, state, reasons)
    return _push_again(work, job) if state is FulfillmentState.PUSHING else _push(work, job)


def _push(work: Pushing, job: Job) -> str:
    with work.database.transaction(work.account_id) as tx:
        wait = _wait_before_push(tx, work, job.order_id)
        if wait is not None:
            return _postpone(tx, job, wait)
    return _send(work, job, FulfillmentState.QUEUED)


def _push_again(work: Pushing, job: Job) -> str:
    """A push was begun and its outcome is unknown: find first. What Amazon wants by now is applied afterwards."""
    order_id = job.order_id
    found = work.warehouse.find(order_id)
    if found is not None:
        answer = "cancelled" if found.status == "cancelled" else "accepted"
        finish_push(work, order_id, PushResult(answer, wms_id=found.wms_id))
        # No address was opened: this proves nothing of the keys.
        return FOUND
    with work.database.transaction(work.account_id) as tx:
        wait = _wait_before_push(tx, work, order_id)
    if wait is None:
        return _send(work, job, FulfillmentState.PUSHING)
    with work.database.transaction(work.account_id) as tx:
        entry = lock_order_and_fulfillment(tx, order_id)
        if entry is None or FulfillmentState(entry.state) is not FulfillmentState.PUSHING:
            return NOTHING
        if (wait := _may_still_arrive(tx, order_id)) is not None:
            return _postpone(tx, job, wait)
        record_answer(tx, order_id=order_id, answer="not_there")
        entries: list[AuditEntry] = []
        change_state(tx, entry, Event.PUSH_ABANDONED, entries)
        enqueue(tx, Queue.DECIDE, [order_id])
        work.audit.record_many(tx.connection, entries)
    return "abandoned"


def _send(work: Pushing, job: Job, state: FulfillmentState) -> str:
    order_id = job.order_id
    try:
        order, seen_at = _open_order(work, order_id)
    except KeyProviderUnavailable:
        raise
    except VaultError:
        # Never stored, shredded, or not to be trusted: Amazon is asked for it anew.
        with work.database.transaction(work.account_id) as tx:
            clear_address(tx, order_id=order_id)
            request_fetch(tx, order_id=order_id)
            return _postpone(tx, job, RECHECK_DELAY)
    content = json.dumps(order.wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    content_hash = work.vault.fingerprint(content)
    with work.database.transaction(work.account_id) as tx:
        entry = lock_order_and_fulfillment(tx, order_id)
        # Decided again under the lock: a cancellation applied since then wins.
        if entry is None or FulfillmentState(entry.state) is not state:
            return NOTHING
        wait = _wait_before_push(tx, work, order_id, seen_at)
        if wait is not None:
            return _postpone(tx, job, wait)
        sent_before = wms_order(tx, order_id)
        changed = (
            state is FulfillmentState.PUSHING and sent_before is not None and sent_before.content_hash != content_hash
        )
        if changed and (wait := _may_still_arrive(tx, order_id)) is not None:
            # The first content may still arrive: a second one must not race it.
            return _postpone(tx, job, wait)
        if not renew(tx, job, lease=PUSH_LEASE):
            # Another worker may be about to push it.
            return LEASE_LOST
        begin_push(tx, order_id=order_id, content_hash=content_hash)
        entries: list[AuditEntry] = []
        change_state(tx, entry, Event.PUSH_BEGUN, entries)
        entries.append(push_audit_entry(work.account_id, order_id, "requested"))
        work.audit.record_many(tx.connection, entries)
    try:
        result = work.warehouse.push(order)
    except WarehouseRefused as error:
        if error.status is None or not 400 <= error.status < 500:
            raise
        # Not one of the contract's answers, but a refusal all the same: it is not there.
        result = PushResult("refused", code=error.code or f"http_{error.status}")
    except WarehouseError:
        with work.database.transaction(work.account_id) as tx:
            work.audit.record_many(tx.connection, [push_audit_entry(work.account_id, order_id, "unknown")])
        raise
    return finish_push(work, order_id, result)


def _wait_before_push(
    tx: AccountTransaction, work: Pushing, order_id: str, seen_at: datetime | None = None
) -> timedelta | None:
    """How long the push has to wait, for a fetch or a decision that is under way by now; None if it may go out.

    `seen_at`: the order that is about to be sent was read from Amazon then; a newer reading means another order.
    """
    row = order_row(tx, order_id)
    assert row is not None
    fetch, undecided = find(tx, Queue.FETCH, order_id), find(tx, Queue.DECIDE, order_id)
    if fetch is not None and fetch.parked_at is None:
        # The push comes after the fetch; the decision about its answer makes the push due at once.
        due_at = max(fetch.due_at, next_due(tx, [Queue.FETCH]) or fetch.due_at)
        return min(max(due_at - database_now(tx.connection) + RECHECK_DELAY, RECHECK_DELAY), LONGEST_RECHECK_DELAY)
    event = pending_event(tx, order_id)
    if any(waits is not None and waits.parked_at is None for waits in (event, undecided)):
        return RECHECK_DELAY
    if any(waits is not None for waits in (fetch, undecided, event)):
        # Set aside until a person has acted.
        return LONGEST_RECHECK_DELAY
    wanted = decide(order_facts(tx, row, work.marketplace_ids)).wanted
    if wanted is Wanted.NOTHING:
        # Deciding again changes nothing. A change at Amazon is decided about, and makes the push due at once.
        return LONGEST_RECHECK_DELAY
    if wanted is not Wanted.SHIP:
        enqueue(tx, Queue.DECIDE, [order_id])
        return RECHECK_DELAY
    if row.fetched_at is None or database_now(tx.connection) - row.fetched_at > FRESH_FOR:
        request_fetch(tx, order_id=order_id)
        return RECHECK_DELAY
    return None if seen_at is None or row.fetched_at == seen_at else RECHECK_DELAY


def _may_still_arrive(tx: AccountTransaction, order_id: str) -> timedelta | None:
    """How long what was sent last may still be on its way to the warehouse; None once it cannot be."""
    sent = wms_order(tx, order_id)
    if sent is None:
        return None
    wait = sent.changed_at + LATE_ARRIVAL - database_now(tx.connection)
    return max(wait, RECHECK_DELAY) if wait > timedelta() else None


def _open_order(work: Pushing, order_id: str) -> tuple[FulfillmentOrder, datetime | None]:
    """What is to be sent, and when its state was read from Amazon."""
    content = work.vault.reveal(
        account_id=work.account_id,
        kind=SHIPPING_DETAILS,
        subject_id=order_id,
        actor=current_actor(),
        purpose="push to the warehouse",
    )
    with work.database.transaction(work.account_id) as tx:
        row = order_row(tx, order_id)
        items = item_rows(tx, order_id)
    assert row is not None
    return fulfillment_order(work.seller_id, row, items, shipping_details_from_bytes(content)), row.fetched_at


def _postpone(tx: AccountTransaction, job: Job, wait: timedelta) -> str:
    """Give the job back for so long; a decision that comes before makes it due at once."""
    release(tx, job, due_at=database_now(tx.connection) + wait)
    return POSTPONED
