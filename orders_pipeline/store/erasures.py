"""Queries of erasures that somebody asked for: the requests, and keeping what is forgotten from coming back.

Belongs here: rows of `erasures`, barring orders, forgetting a seller's tokens. Elsewhere: the steps
(compliance.erasure), what is still kept (store.compliance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orders_pipeline.store.compliance import KEPT_THERE


@dataclass(frozen=True, slots=True)
class Erasure:
    """Something that is to be forgotten, because Amazon or a buyer asked. `order_id` is None for a whole seller."""

    erasure_id: int
    order_id: str | None
    everything: bool
    asked_at: datetime
    shredded_at: datetime | None


def insert_erasure(connection: Connection, seller_id: str, order_id: str | None, *, everything: bool = False) -> int:
    """Keep that it was asked for; its number."""
    return connection.execute(
        text(
            "insert into pipeline.erasures (seller_id, order_id, everything) "
            "values (:seller_id, :order_id, :everything) returning erasure_id"
        ),
        {"seller_id": seller_id, "order_id": order_id, "everything": everything},
    ).scalar_one()


def open_erasures(connection: Connection, seller_id: str) -> list[Erasure]:
    """Those that are not finished, in the order in which they were asked for."""
    rows = connection.execute(
        text(
            "select erasure_id, order_id, everything, asked_at, shredded_at from pipeline.erasures "
            "where seller_id = :seller_id and finished_at is null order by erasure_id"
        ),
        {"seller_id": seller_id},
    )
    return [Erasure(*row) for row in rows]


def mark_erasure_shredded(connection: Connection, erasure_id: int) -> None:
    """Our own copy is gone."""
    connection.execute(
        text("update pipeline.erasures set shredded_at = clock_timestamp() where erasure_id = :id"), {"id": erasure_id}
    )


def finish_erasures(connection: Connection, seller_id: str) -> int:
    """Close those whose warehouse has erased all that it was sent; how many."""
    return connection.execute(
        text(
            "update pipeline.erasures e set finished_at = clock_timestamp() "  # noqa: S608
            "where e.seller_id = :seller_id and e.finished_at is null and e.shredded_at is not null "
            "and not exists (select from pipeline.wms_orders w left join pipeline.orders o using (seller_id, order_id) "
            f"where w.seller_id = e.seller_id and {KEPT_THERE} and (w.order_id = e.order_id "
            "or e.order_id is null and coalesce(o.first_seen_at, w.first_attempt_at) <= e.asked_at))"
        ),
        {"seller_id": seller_id},
    ).rowcount


def is_to_be_forgotten(connection: Connection, seller_id: str, order_id: str) -> bool:
    """Whether an erasure was asked for this order, so that its details must not be fetched again."""
    return connection.execute(
        text(
            "select exists (select from pipeline.erasures e left join pipeline.orders o "
            "on o.seller_id = e.seller_id and o.order_id = :order_id where e.seller_id = :seller_id "
            "and (e.order_id = :order_id or e.order_id is null and o.first_seen_at <= e.asked_at))"
        ),
        {"seller_id": seller_id, "order_id": order_id},
    ).scalar_one()


def bar_orders(connection: Connection, seller_id: str, order_ids: Sequence[str]) -> list[tuple[str, str | None]]:
    """Have these orders, locked by the caller, neither fetched with their details nor pushed any more.

    What the warehouse has not taken is `cancelled` in the fulfillment queue, a state that nothing leaves and whose
    orders are read without details. Returns (order_id, state before) of those that this changed.
    """
    values = {"seller_id": seller_id, "order_ids": list(order_ids)}
    connection.execute(
        text(
            "update pipeline.orders set has_address = false, fetch_due_at = null "
            "where seller_id = :seller_id and order_id = any(:order_ids)"
        ),
        values,
    )
    rows = connection.execute(
        text(
            "with before as (select order_id, state from pipeline.fulfillment_queue "
            "where seller_id = :seller_id and order_id = any(:order_ids) order by order_id for update), "
            "barred as (insert into pipeline.fulfillment_queue as q (seller_id, order_id, state) "
            "select o.seller_id, o.order_id, 'cancelled' from pipeline.orders o "
            "where o.seller_id = :seller_id and o.order_id = any(:order_ids) and o.fulfilled_by <> 'AMAZON' "
            "order by o.order_id "
            "on conflict (seller_id, order_id) do update set state = 'cancelled', hold_reasons = '{}', "
            "changed_at = clock_timestamp(), action_due_at = null, parked_at = null "
            "where q.state in ('queued', 'held', 'refused') returning q.order_id) "
            "select barred.order_id, before.state from barred left join before using (order_id) order by order_id"
        ),
        values,
    )
    return [(row[0], row[1]) for row in rows]


def orders_to_bar(connection: Connection, seller_id: str, limit: int) -> list[str]:
    """Orders of the seller, without any details kept, that the pipeline would still fetch or push."""
    return list(
        connection.execute(
            text(
                "select o.order_id from pipeline.orders o left join pipeline.fulfillment_queue q "
                "using (seller_id, order_id) where o.seller_id = :seller_id and o.fulfilled_by <> 'AMAZON' "
                "and o.status not in ('SHIPPED', 'INVOICE_UNCONFIRMED', 'CANCELLED') "
                "and (o.fetch_due_at is not null or q.state is null or q.state in ('queued', 'held', 'refused')) "
                "order by o.order_id limit :limit"
            ),
            {"seller_id": seller_id, "limit": limit},
        ).scalars()
    )


def delete_tokens(connection: Connection, seller_id: str) -> int:
    """Forget Amazon's tokens for this seller; how many there were."""
    statement = text("delete from vault.amazon_tokens where seller_id = :seller_id")
    return connection.execute(statement, {"seller_id": seller_id}).rowcount


def seller_left_at(connection: Connection, seller_id: str) -> datetime | None:
    """When it was last asked to forget everything of the seller, what identifies nobody too."""
    statement = text("select max(asked_at) from pipeline.erasures where seller_id = :seller_id and everything")
    return connection.execute(statement, {"seller_id": seller_id}).scalar_one()


def overdue_erasures(connection: Connection, seller_id: str, *, older_than: timedelta) -> tuple[int, int]:
    """How many requests are open, and how many of them were made longer ago than that."""
    row = connection.execute(
        text(
            "select count(*), count(*) filter (where asked_at < clock_timestamp() - :age) "
            "from pipeline.erasures where seller_id = :seller_id and finished_at is null"
        ),
        {"seller_id": seller_id, "age": older_than},
    ).one()
    return int(row[0]), int(row[1])
