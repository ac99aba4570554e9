"""Have the warehouse hold, release or cancel an order that it has.

What its adapter cannot ask for, a person does: the order keeps the state that asks, its answer in `wms_orders` is a
word of BY_HAND, the alert `order.by_hand` is open meanwhile, and what came of it is seen by looking the order up.
"""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.fulfillment.answers import Pushing, apply_answer, note_by_hand
from orders_pipeline.fulfillment.states import Event
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.wms.port import CancelAnswer, Capability, HoldAnswer
from orders_pipeline.work.jobs import Job
from orders_pipeline.work.queue import retry
from orders_pipeline.work.retry import Policy

S, E = FulfillmentState, Event
# What each of these states asks of the warehouse takes this.
NEEDED = {
    S.HOLD_ASKED: Capability.HOLD,
    S.RELEASE_ASKED: Capability.HOLD,
    S.CANCEL_ASKED: Capability.CANCEL,
}
BY_HAND = {
    S.HOLD_ASKED: "hold_by_hand",
    S.RELEASE_ASKED: "release_by_hand",
    S.CANCEL_ASKED: "cancel_by_hand",
}
# A warehouse that takes days over a cancellation is not called every half minute; nor is one that a person talks to.
PENDING_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(minutes=10), attempts=None)

_EVENTS: dict[tuple[FulfillmentState, HoldAnswer | CancelAnswer], Event] = {
    (S.HOLD_ASKED, "done"): E.HOLD_DONE,
    (S.HOLD_ASKED, "too_late"): E.HOLD_TOO_LATE,
    (S.HOLD_ASKED, "not_found"): E.NOT_FOUND,
    (S.RELEASE_ASKED, "done"): E.RELEASE_DONE,
    (S.RELEASE_ASKED, "too_late"): E.RELEASE_DONE,
    (S.RELEASE_ASKED, "not_found"): E.NOT_FOUND,
    (S.CANCEL_ASKED, "cancelled"): E.CANCEL_DONE,
    (S.CANCEL_ASKED, "not_found"): E.CANCEL_DONE,
    (S.CANCEL_ASKED, "pending"): E.CANCEL_PENDING,
    # Some of it goes out although all of it is cancelled: for Amazon that is as late as too late.
    (S.CANCEL_ASKED, "partial"): E.CANCEL_TOO_LATE,
    (S.CANCEL_ASKED, "too_late"): E.CANCEL_TOO_LATE,
}


def ask_warehouse(work: Pushing, job: Job, state: FulfillmentState, reasons: tuple[str, ...]) -> str:
    """Do what the state asks; the state after, or the word of BY_HAND while a person is asked."""
    order_id = job.order_id
    if NEEDED[state] in work.warehouse.capabilities:
        answer = _ask(work, order_id, state, reasons)
        waits_for = "the warehouse has not yet said whether it could stop the order"
    else:
        found = work.warehouse.find(order_id)
        answer = seen_at_the_warehouse(state, None if found is None else found.status)
        waits_for = "a person has to ask the warehouse (alert order.by_hand)"
    if answer is None or answer == "pending":
        with work.database.transaction(work.account_id) as tx:
            retry(tx, job, waits_for, PENDING_POLICY)
    if answer is None:
        note_by_hand(work, order_id, BY_HAND[state], expected=state)
        return BY_HAND[state]
    prefix = {S.HOLD_ASKED: "hold_", S.RELEASE_ASKED: "release_"}.get(state, "")
    return apply_answer(work, order_id, _EVENTS[state, answer], f"{prefix}{answer}", expected=(state,))


def seen_at_the_warehouse(state: FulfillmentState, status: str | None) -> HoldAnswer | CancelAnswer | None:
    """What came of a person's asking, by the order's status there (None: it has no such order); None: nothing yet.

    A release is believed only of an order that moves: a hold that was asked for on the telephone shows nowhere.
    """
    if status is None:
        return "not_found"
    match state, status:
        case S.HOLD_ASKED, "held":
            return "done"
        case S.RELEASE_ASKED, "packing" | "partially_shipped" | "shipped":
            return "done"
        case S.CANCEL_ASKED, "cancelled":
            return "cancelled"
        case S.HOLD_ASKED | S.CANCEL_ASKED, "shipped":
            return "too_late"
        case _:
            return None


def _ask(work: Pushing, order_id: str, state: FulfillmentState, reasons: tuple[str, ...]) -> HoldAnswer | CancelAnswer:
    if state is S.HOLD_ASKED:
        return work.warehouse.hold(order_id, ", ".join(reasons) or "held by the seller")
    if state is S.RELEASE_ASKED:
        return work.warehouse.release(order_id, "the reason to wait is gone")
    return work.warehouse.cancel(order_id, "cancelled at Amazon")
