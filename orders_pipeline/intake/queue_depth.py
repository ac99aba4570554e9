"""How deep the queue was when SQS was asked last: the sensor that reads it notes it, and metrics show it."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.queue import QueueDepth

_NOTE = text("""
    insert into pipeline.notification_queues (account_id, visible, in_flight, delayed)
    values (:account_id, :visible, :in_flight, :delayed)
    on conflict (account_id) do update set visible = excluded.visible, in_flight = excluded.in_flight,
      delayed = excluded.delayed, measured_at = clock_timestamp()
""")


def note_queue_depth(tx: AccountTransaction, depth: QueueDepth) -> None:
    """Keep what SQS said at this moment, in the place of what it said before."""
    values = {"visible": depth.visible, "in_flight": depth.in_flight, "delayed": depth.delayed}
    tx.execute(_NOTE, {"account_id": tx.account_id, **values})
