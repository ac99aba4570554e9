"""Queries of erasures that somebody asked for: the requests, and which orders they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.database.locks import Lock, hold, hold_shared
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue, withdraw

# An order is kept while the vault has a record of it, or the warehouse was sent it and has not erased it since.
# The acceptance counts beside the sending: an order can arrive after the warehouse said that it knows none to erase.
NOT_ERASED = "(w.erased_at is null or greatest(w.sent_at, w.accepted_at) > w.erased_at)"


def known_by(otherwise: str = "null") -> str:
    """SQL: since when an order of the row `o` has been somebody's, which decides whether a seller's erasure means it.

    When it was bought counts more than when we heard of it: an order that is listed anew is no new order.
    """
    return f"least(coalesce(o.first_seen_at, {otherwise}), o.purchased_at)"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Something that is to be forgotten, because Amazon or a buyer asked. `order_id` is None for a whole seller."""

    erasure_id: int
    order_id: str | None
    everything: bool
    requested_at: datetime
    shredded_at: datetime | None


def erasure(connection: Connection, erasure_id: int) -> Erasure:
    """One request."""
    row = connection.execute(
        text("""
            select erasure_id, order_id, everything, requested_at, shredded_at from pipeline.erasures
            where erasure_id = :id
        """),
        {"id": erasure_id},
    ).one()
    return Erasure(*row)


def insert_erasure(
    tx: AccountTransaction, order_id: str | None, *, everything: bool = False, requested_at: datetime | None = None
) -> int:
    """Keep that it was asked for; its number. Waits for who is storing details, so that nobody stores any after it.

    `requested_at`: when, where it was not now.
    """
    hold(tx.connection, Lock.ERASURES)
    return tx.execute(
        text("""
            insert into pipeline.erasures (account_id, order_id, everything, requested_at)
            values (:account_id, :order_id, :everything, coalesce(:requested_at, clock_timestamp()))
            returning erasure_id
        """),
        {"account_id": tx.account_id, "order_id": order_id, "everything": everything, "requested_at": requested_at},
    ).scalar_one()


def open_erasures(tx: AccountTransaction) -> list[Erasure]:
    """Those that are not finished, in the order in which they were asked for."""
    rows = tx.execute(
        text("""
            select erasure_id, order_id, everything, requested_at, shredded_at from pipeline.erasures
            where account_id = :account_id and finished_at is null order by erasure_id
        """),
        {"account_id": tx.account_id},
    )
    return [Erasure(*row) for row in rows]


def mark_erasure_shredded(connection: Connection, erasure_id: int) -> None:
    """Our own copy is gone."""
    connection.execute(
        text("update pipeline.erasures set shredded_at = clock_timestamp() where erasure_id = :id"), {"id": erasure_id}
    )


def finish_erasures(tx: AccountTransaction) -> int:
    """Close those whose warehouse has erased all that it was sent; how many."""
    return tx.execute(
        text(f"""
            update pipeline.erasures e set finished_at = clock_timestamp()
            where e.account_id = :account_id and e.finished_at is null and e.shredded_at is not null
            and not exists (select from pipeline.wms_orders w
            left join pipeline.orders o using (account_id, order_id)
            where w.account_id = e.account_id and {NOT_ERASED} and (w.order_id = e.order_id
            or e.order_id is null and {known_by("w.first_attempt_at")} <= e.requested_at))
        """),  # noqa: S608  # our own constants
        {"account_id": tx.account_id},
    ).rowcount


def is_finished(connection: Connection, erasure_id: int) -> bool:
    """Whether nothing of this request is left to do, here or at the warehouse."""
    return connection.execute(
        text("select finished_at is not null from pipeline.erasures where erasure_id = :id"), {"id": erasure_id}
    ).scalar_one()


def erasure_requested(tx: AccountTransaction, order_ids: Sequence[str]) -> set[str]:
    """Those of the orders that somebody asked to forget: they are neither fetched with their details nor pushed."""
    return set(
        tx.execute(
            text(f"""
                select given.order_id from unnest(cast(:order_ids as text[])) as given(order_id)
                left join pipeline.orders o on o.account_id = :account_id and o.order_id = given.order_id
                where exists (select from pipeline.erasures e where e.account_id = :account_id
                and (e.order_id = given.order_id or e.order_id is null and {known_by()} <= e.requested_at))
            """),  # noqa: S608  # our own constants
            {"account_id": tx.account_id, "order_ids": list(order_ids)},
        ).scalars()
    )


def may_be_stored(tx: AccountTransaction, order_id: str) -> bool:
    """Whether nobody asked to forget this order; until this transaction ends nobody can."""
    hold_shared(tx.connection, Lock.ERASURES)
    return not erasure_requested(tx, [order_id])


def block_orders(tx: AccountTransaction, order_ids: Sequence[str]) -> None:
    """Have these orders, locked by the caller, wait for no details any more, and decided about anew."""
    tx.execute(
        text("""
            update pipeline.orders set has_address = false
            where account_id = :account_id and order_id = any(:order_ids)
        """),
        {"account_id": tx.account_id, "order_ids": list(order_ids)},
    )
    enqueue(tx, Queue.DECIDE, order_ids)
    withdraw(tx, Queue.FETCH, order_ids)


def mark_erased(tx: AccountTransaction, order_ids: Sequence[str], rule: str) -> None:
    """Remember by which rule these orders, locked by the caller, lost their details."""
    tx.execute(
        text(
            "update pipeline.orders set erased_by = :rule where account_id = :account_id and order_id = any(:order_ids)"
        ),
        {"account_id": tx.account_id, "order_ids": list(order_ids), "rule": str(rule)},
    )


def orders_to_bar(tx: AccountTransaction, requested_at: datetime, after: str, limit: int) -> list[str]:
    """The next of the seller's orders, by id, that were known by then and that the pipeline would still work on."""
    return list(
        tx.execute(
            text(f"""
                select o.order_id from pipeline.orders o where o.account_id = :account_id and o.order_id > :after
                and o.fulfilled_by <> 'AMAZON' and o.status not in ('SHIPPED', 'INVOICE_UNCONFIRMED', 'CANCELLED')
                and {known_by()} <= :requested_at order by o.order_id limit :limit
            """),  # noqa: S608  # our own constants
            {"account_id": tx.account_id, "requested_at": requested_at, "after": after, "limit": limit},
        ).scalars()
    )


def delete_tokens(tx: AccountTransaction, *, authorization: bool) -> int:
    """Forget Amazon's tokens for this seller; how many there were. The refresh token goes with the `authorization`."""
    statement = text("""
        delete from vault.amazon_tokens
        where account_id = :account_id and (:authorization or purpose not like 'refresh@%')
    """)
    return tx.execute(statement, {"account_id": tx.account_id, "authorization": authorization}).rowcount


def seller_left_at(tx: AccountTransaction) -> datetime | None:
    """When it was last asked to forget everything of the seller, what identifies nobody too."""
    statement = text("select max(requested_at) from pipeline.erasures where account_id = :account_id and everything")
    return tx.execute(statement, {"account_id": tx.account_id}).scalar_one()


def overdue_erasures(tx: AccountTransaction, *, older_than: timedelta) -> tuple[int, int]:
    """How many requests are open, and how many of them were made longer ago than that."""
    row = tx.execute(
        text("""
            select count(*), count(*) filter (where requested_at < clock_timestamp() - :age)
            from pipeline.erasures where account_id = :account_id and finished_at is null
        """),
        {"account_id": tx.account_id, "age": older_than},
    ).one()
    return int(row[0]), int(row[1])
