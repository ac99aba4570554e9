"""Push, hold, release and cancel orders at the warehouse.

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
from datetime import datetime, timedelta
from threading import Event as StopFlag

from orders_pipeline.alerts.rows import close_alerts_about, raise_alert
from orders_pipeline.audit.log import AuditEntry, current_actor
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.fulfillment.answers import (
    ACTION_ATTEMPTS,
    LONGEST_RETRY,
    UNREACHABLE_ALERT,
    Pushing,
    apply_answer,
    failed,
    finish_push,
    lock_order_and_fulfillment,
    push_audit_entry,
    warehouse_error_text,
)
from orders_pipeline.fulfillment.decide import change_state, order_facts
from orders_pipeline.fulfillment.eligibility import Wanted, decide
from orders_pipeline.fulfillment.fulfillment_order import fulfillment_order
from orders_pipeline.fulfillment.rows import (
    begin_push,
    claim_due_actions,
    lock_fulfillment_order,
    postpone_due_actions,
    record_answer,
    schedule_action,
    wms_order,
)
from orders_pipeline.fulfillment.states import ACTIONABLE, Event
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.orders.event_rows import has_pending_event
from orders_pipeline.orders.rows import clear_address, item_rows, order_row, request_fetch
from orders_pipeline.vault.errors import KeyProviderUnavailable, VaultError
from orders_pipeline.vault.key_alerts import KEYS_RETRY, close_keys_alert, raise_keys_alert
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes
from orders_pipeline.wms.port import (
    FulfillmentOrder,
    PushResult,
    WarehouseError,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue, find
from orders_pipeline.work.workers import error_location, is_infrastructure_error, over_each

PUSH_WORKERS = 8
# Longer than a push can take with its time-outs (25 s), and renewed as it begins; a process that died gives its orders
# back after this.
ACTION_LEASE = timedelta(minutes=1)
# An order whose state at Amazon was read longer ago is read again before it is pushed.
FRESH_FOR = timedelta(minutes=10)
# A push whose answer never came may still be on its way; only after this is "not there" believed.
LATE_ARRIVAL = timedelta(minutes=1)
FIRST_PENDING_RETRY = timedelta(seconds=30)
# Until then something that is being looked at will mostly be known.
RECHECK_DELAY = timedelta(seconds=2)
# A token that is wrong is tried again every minute: a person sets it right, nothing else does.
UNAUTHORIZED_RETRY = timedelta(minutes=1)
# An error that nobody expected is tried a few times: it may be the order's state of the moment.
DEFECT_ATTEMPTS = 4


@dataclass(slots=True)
class PushTotals:
    """What was done, by outcome (`accepted`, `refused`, `held`, `cancelled`, `too_late`, `retry`, `postponed` …)."""

    outcomes: dict[str, int] = field(default_factory=dict)
    account_error: str | None = None

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def act_on_due_orders(
    work: Pushing, *, deadline_seconds: float = 45.0, clock: Callable[[], float] = time.monotonic
) -> PushTotals:
    """Do every action that is due, several at a time, until none is or the deadline has come."""
    totals = PushTotals()
    started = clock()
    stop, no_keys = StopFlag(), StopFlag()
    with ThreadPoolExecutor(PUSH_WORKERS, thread_name_prefix="push") as pool:
        while not stop.is_set() and clock() - started < deadline_seconds:
            with work.database.transaction(work.account_id) as tx:
                due = claim_due_actions(tx, limit=PUSH_WORKERS * 4, lease=ACTION_LEASE)
            if not due:
                break

            def act(order_id: str) -> tuple[str, str | None]:
                return _act_safely(work, order_id, stop, no_keys)

            for outcome, account_error in over_each(pool, act, due):
                totals.count(outcome)
                totals.account_error = account_error or totals.account_error
    with work.database.transaction(work.account_id) as tx:
        if totals.account_error is not None:
            postpone_due_actions(tx, delay=UNAUTHORIZED_RETRY)
        elif totals.outcomes.keys() - {"postponed", "no_keys", "nothing", "gone", "retry", "parked"}:
            close_alerts_about(tx.connection, account_id=work.account_id, prefix=UNREACHABLE_ALERT)
        if "accepted" in totals.outcomes and not no_keys.is_set():
            close_keys_alert(tx)
    return totals


def _act_safely(work: Pushing, order_id: str, stop: StopFlag, no_keys: StopFlag) -> tuple[str, str | None]:
    if stop.is_set():
        _postpone(work, order_id, timedelta())
        return "postponed", None
    with work.database.transaction(work.account_id) as tx:
        entry = lock_fulfillment_order(tx, order_id)
        if entry is None:
            return "gone", None
        state = FulfillmentState(entry.state)
        if state not in ACTIONABLE:
            # Settled by another process. Under the lock: an action that comes meanwhile must not be unscheduled.
            schedule_action(tx, order_id=order_id, delay=None)
            return "nothing", None
    if no_keys.is_set() and state is FulfillmentState.QUEUED:
        _postpone(work, order_id, KEYS_RETRY)
        return "no_keys", None
    try:
        return _act(work, order_id, state, entry.hold_reasons, entry.attempts), None
    except WarehouseUnauthorized as error:
        stop.set()
        _postpone(work, order_id, UNAUTHORIZED_RETRY)
        with work.database.transaction(work.account_id) as tx:
            raise_alert(
                tx,
                key=f"{UNREACHABLE_ALERT}unauthorized",
                severity="error",
                message=str(error),
                what_to_do="Nothing can be pushed until WMS_TOKEN is set right; the queue is kept.",
            )
        return "unauthorized", str(error)
    except WarehouseError as error:
        allowed = ACTION_ATTEMPTS if isinstance(error, WarehouseUnavailable) else 1
        return failed(
            work, order_id, state, warehouse_error_text(work, order_id, error), attempts_allowed=allowed
        ), None
    except KeyProviderUnavailable as error:
        # Nothing was sent: addresses cannot be opened. Holds, releases and cancellations need none.
        no_keys.set()
        _postpone(work, order_id, KEYS_RETRY)
        with work.database.transaction(work.account_id) as tx:
            raise_keys_alert(tx, error)
        return "no_keys", None
    except Exception as error:
        # One order's defect is that order's alone.
        if is_infrastructure_error(error):
            raise
        defect = f"a defect of this program: {error_location(error)}"
        return failed(work, order_id, state, defect, attempts_allowed=DEFECT_ATTEMPTS), None


def _act(work: Pushing, order_id: str, state: FulfillmentState, reasons: tuple[str, ...], attempts: int) -> str:
    match state:
        case FulfillmentState.PUSHING:
            return _push_again(work, order_id)
        case FulfillmentState.HOLD_ASKED:
            answer = work.warehouse.hold(order_id, ", ".join(reasons) or "held by the seller")
            event = {"too_late": Event.HOLD_TOO_LATE, "not_found": Event.GONE}.get(answer, Event.HOLD_DONE)
            return apply_answer(work, order_id, event, f"hold_{answer}", expected=(FulfillmentState.HOLD_ASKED,))
        case FulfillmentState.RELEASE:
            answer = work.warehouse.release(order_id, "the reason to wait is gone")
            event = Event.GONE if answer == "not_found" else Event.RELEASE_DONE
            return apply_answer(work, order_id, event, f"release_{answer}", expected=(FulfillmentState.RELEASE,))
        case FulfillmentState.CANCEL_ASKED:
            return _cancel(work, order_id, attempts)
        case _:
            return _push(work, order_id)


def _cancel(work: Pushing, order_id: str, attempts: int) -> str:
    answer = work.warehouse.cancel(order_id, "cancelled at Amazon")
    if answer == "pending":
        with work.database.transaction(work.account_id) as tx:
            # Asked again ever less often; a warehouse that takes days is not called every half minute.
            delay = min(FIRST_PENDING_RETRY * 2 ** min(attempts, 10), LONGEST_RETRY)
            schedule_action(tx, order_id=order_id, delay=delay, attempts=attempts + 1)
    event = {
        "cancelled": Event.CANCEL_DONE,
        "not_found": Event.CANCEL_DONE,
        "pending": Event.CANCEL_PENDING,
        # Some of it goes out although all of it is cancelled: for Amazon that is as late as too late.
        "partial": Event.CANCEL_TOO_LATE,
        "too_late": Event.CANCEL_TOO_LATE,
    }[answer]
    return apply_answer(work, order_id, event, answer, expected=(FulfillmentState.CANCEL_ASKED,))


def _push(work: Pushing, order_id: str) -> str:
    with work.database.transaction(work.account_id) as tx:
        verdict = _find_pushed_order(tx, work, order_id)
    return verdict or _send(work, order_id, FulfillmentState.QUEUED)


def _push_again(work: Pushing, order_id: str) -> str:
    """A push was begun and its outcome is unknown: find first. What Amazon wants by now is applied afterwards."""
    found = work.warehouse.find(order_id)
    if found is not None:
        answer = "cancelled" if found.status == "cancelled" else "accepted"
        return finish_push(work, order_id, PushResult(answer, wms_id=found.wms_id))
    with work.database.transaction(work.account_id) as tx:
        verdict = _find_pushed_order(tx, work, order_id)
    if verdict is None:
        return _send(work, order_id, FulfillmentState.PUSHING)
    with work.database.transaction(work.account_id) as tx:
        entry = lock_order_and_fulfillment(tx, order_id)
        if entry is None or FulfillmentState(entry.state) is not FulfillmentState.PUSHING:
            return "nothing"
        if (wait := _may_still_arrive(tx, work, order_id)) is not None:
            schedule_action(tx, order_id=order_id, delay=wait)
            return "postponed"
        record_answer(tx, order_id=order_id, answer="not_there")
        entries: list[AuditEntry] = []
        change_state(tx, entry, Event.PUSH_ABANDONED, entries)
        enqueue(tx, Queue.DECIDE, [order_id])
        work.audit.record_many(tx.connection, entries)
    return "abandoned"


def _send(work: Pushing, order_id: str, state: FulfillmentState) -> str:
    try:
        order, seen_at = _open_order(work, order_id)
    except KeyProviderUnavailable:
        raise
    except VaultError:
        # Never stored, shredded, or not to be trusted: Amazon is asked for it anew.
        with work.database.transaction(work.account_id) as tx:
            clear_address(tx, order_id=order_id)
            request_fetch(tx, order_id=order_id)
            schedule_action(tx, order_id=order_id, delay=RECHECK_DELAY)
        return "postponed"
    content = json.dumps(order.wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    content_hash = work.vault.fingerprint(content)
    with work.database.transaction(work.account_id) as tx:
        entry = lock_order_and_fulfillment(tx, order_id)
        # Looked at again under the lock: a cancellation absorbed since then wins.
        if entry is None or FulfillmentState(entry.state) is not state:
            return "nothing"
        verdict = _find_pushed_order(tx, work, order_id, seen_at)
        if verdict is not None:
            return verdict
        sent_before = wms_order(tx, order_id)
        changed = (
            state is FulfillmentState.PUSHING and sent_before is not None and sent_before.content_hash != content_hash
        )
        if changed and (wait := _may_still_arrive(tx, work, order_id)) is not None:
            # The first content may still arrive: a second one must not race it.
            schedule_action(tx, order_id=order_id, delay=wait)
            return "postponed"
        begin_push(tx, order_id=order_id, content_hash=content_hash)
        entries: list[AuditEntry] = []
        change_state(tx, entry, Event.PUSH_BEGUN, entries)
        schedule_action(tx, order_id=order_id, delay=ACTION_LEASE)
        entries.append(push_audit_entry(work.account_id, order_id, "requested"))
        work.audit.record_many(tx.connection, entries)
    try:
        result = work.warehouse.push(order)
    except WarehouseRefused as error:
        if error.status is None or not 400 <= error.status < 500:
            raise
        # Not one of the contract's answers, but a refusal all the same: it is not there.
        result = PushResult("refused", code=error.code or f"http_{error.status}")
    return finish_push(work, order_id, result)


def _find_pushed_order(
    tx: AccountTransaction, work: Pushing, order_id: str, seen_at: datetime | None = None
) -> str | None:
    """Whether the order may be pushed now: None if so, else what was done instead.

    `seen_at`: the order that is about to be sent was read from Amazon then; a newer reading means another order.
    """
    row = order_row(tx, order_id)
    if row is None:
        return "gone"
    delay = RECHECK_DELAY
    undecided = find(tx, Queue.DECIDE, order_id)
    if row.fetch_due_at is not None:
        # The push comes after the look; deriving the queue from its answer makes the push due at once.
        delay = min(max(row.fetch_due_at - database_now(tx.connection) + RECHECK_DELAY, RECHECK_DELAY), LONGEST_RETRY)
    elif has_pending_event(tx, order_id) or (undecided is not None and undecided.parked_at is None):
        pass
    elif row.parked_at is not None or undecided is not None:
        # Set aside until a person has acted.
        delay = LONGEST_RETRY
    elif decide(order_facts(tx, row, work.marketplace_ids)).wanted is not Wanted.SHIP:
        enqueue(tx, Queue.DECIDE, [order_id])
    elif row.fetched_at is None or database_now(tx.connection) - row.fetched_at > FRESH_FOR:
        request_fetch(tx, order_id=order_id)
    elif seen_at is None or row.fetched_at == seen_at:
        return None
    schedule_action(tx, order_id=order_id, delay=delay)
    return "postponed"


def _may_still_arrive(tx: AccountTransaction, work: Pushing, order_id: str) -> timedelta | None:
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
    return fulfillment_order(work.account_id, row, items, shipping_details_from_bytes(content)), row.fetched_at


def _postpone(work: Pushing, order_id: str, delay: timedelta) -> None:
    with work.database.transaction(work.account_id) as tx:
        schedule_action(tx, order_id=order_id, delay=delay)
