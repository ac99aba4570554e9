"""Give an order another chance because a person says so."""

from __future__ import annotations

from orders_pipeline.audit.log import AuditEntry
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.fulfillment.decide import change_state
from orders_pipeline.fulfillment.rows import lock_fulfillment_order
from orders_pipeline.fulfillment.states import ACTIONABLE, Event
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue


def replay_fulfillment(tx: AccountTransaction, order_id: str, entries: list[AuditEntry]) -> FulfillmentState | None:
    """Give one fulfillment order another chance; its state after that, or None if the order has none."""
    entry = lock_fulfillment_order(tx, order_id)
    if entry is None:
        return None
    state = FulfillmentState(entry.state)
    if state in (FulfillmentState.REFUSED, FulfillmentState.CANCELLED):
        state = change_state(tx, entry, Event.REPLAY, entries)
    elif state in ACTIONABLE:
        enqueue(tx, Queue.PUSH, [order_id], ship_by=entry.ship_by)
    return state
