"""Queries of what is still open about an order: what a message told that Amazon has not been seen to say."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, update

from orders_pipeline.orders.rows import CANCELLED
from orders_pipeline.orders.tables import orders


def record_told_cancellation(
    connection: Connection, *, seller_id: str, order_id: str, told_at: datetime | None, over: bool
) -> None:
    """Note that a message told of a cancellation: nothing is shipped until Amazon's own answer says otherwise.

    `over`: there is nothing to stop yet, so the order counts as cancelled without a call.
    """
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(
            cancellation_told_at=func.clock_timestamp(),
            told_at=func.greatest(orders.c.told_at, told_at),
            queue_stale=True,
            **({"status": CANCELLED} if over else {}),
        )
    )


def ask_again(connection: Connection, *, seller_id: str, order_id: str, delay: timedelta) -> None:
    """The answer left a question open: ask again, and count it."""
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(
            fetch_due_at=func.least(orders.c.fetch_due_at, func.clock_timestamp() + delay),
            fetch_requests=orders.c.fetch_requests + 1,
            rechecks=orders.c.rechecks + 1,
        )
    )


def settle_questions(connection: Connection, *, seller_id: str, order_id: str, status: str | None = None) -> None:
    """Amazon's answer stands: what messages told before it says nothing any more. `status`: as the answer has it."""
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(
            told_at=None,
            cancellation_told_at=None,
            rechecks=0,
            queue_stale=True,
            **({"status": status} if status is not None else {}),
        )
    )


def believe_amazon(connection: Connection, *, seller_id: str, order_id: str) -> None:
    """A person asks for this order: whatever messages told, and when, the next answer of Amazon's is taken."""
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(told_at=None, cancellation_told_at=None, last_updated_at=None, rechecks=0)
    )


def save_verification(
    connection: Connection, *, seller_id: str, order_id: str, status: str, dosage_label: bool
) -> None:
    """Keep what Amazon says of a regulated order."""
    connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id)
        .values(verification=status, dosage_label=dosage_label, queue_stale=True)
    )
