"""A person says: try again."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from orders_pipeline.alerts.rows import close_alert
from orders_pipeline.audit.log import AuditEntry
from orders_pipeline.fulfillment.queue import change_state
from orders_pipeline.fulfillment.rows import lock_queue_entry, schedule_action, update_queue_entry
from orders_pipeline.fulfillment.states import ACTIONABLE, Event, State


def replay_fulfillment(
    connection: Connection, seller_id: str, order_id: str, entries: list[AuditEntry]
) -> State | None:
    """Give one fulfillment order another chance; its state after that, or None if it is not in the queue."""
    entry = lock_queue_entry(connection, seller_id, order_id)
    if entry is None:
        return None
    state = State(entry.state)
    if state in (State.REFUSED, State.CANCELLED):
        state = change_state(connection, seller_id, entry, Event.REPLAY, entries)
    elif state in ACTIONABLE:
        update_queue_entry(
            connection, seller_id=seller_id, order_id=order_id, parked_at=None, attempts=0, last_error=None
        )
        schedule_action(connection, seller_id=seller_id, order_id=order_id, delay=timedelta())
    for key in (f"order.parked:{order_id}", f"order.refused:{order_id}"):
        close_alert(connection, seller_id=seller_id, key=key)
    return state
