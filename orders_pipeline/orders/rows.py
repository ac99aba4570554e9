"""Queries of the newest state of each order and its items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.order import UNKNOWN_FULFILLER, OrderStatus
from orders_pipeline.orders.tables import order_items, orders
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue

# Statuses that an event sets by itself, and that an older answer must not take back.
RECORDED_WITHOUT_FETCH = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED)
# Over the row as the update has it locked: of two people who decide at once, neither undoes the other's.
_WITH_THOSE_BEFORE = text(
    "array(select distinct one from unnest(waived_holds || cast(:reasons as text[])) one order by one)"
)


def lock_orders(tx: AccountTransaction, order_ids: Sequence[str], *, skip_locked: bool = False) -> dict[str, AnyRow]:
    """Lock the known ones of these orders, in order of id so that two processes never wait for each other.

    `skip_locked`: without those that another transaction holds.
    """
    statement = (
        select(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id.in_(order_ids))
        .order_by(orders.c.order_id)
        .with_for_update(skip_locked=skip_locked)
    )
    return {row.order_id: row for row in tx.execute(statement)}


def insert_new_order(
    tx: AccountTransaction,
    *,
    order_id: str,
    marketplace_id: str | None,
    status: str,
    fulfilled_by: str,
    last_updated_at: datetime | None,
    other_marketplace: bool = False,
) -> bool:
    """Make an order known from what an event told; False (and nothing done) if another process was first.

    There is nothing to decide about it before Amazon has been asked.
    """
    statement = (
        insert(orders)
        .values(
            account_id=tx.account_id,
            order_id=order_id,
            marketplace_id=marketplace_id,
            status=status,
            fulfilled_by=fulfilled_by,
            last_updated_at=last_updated_at,
            other_marketplace=other_marketplace,
        )
        .on_conflict_do_nothing()
        .returning(orders.c.order_id)
    )
    return tx.execute(statement).scalar_one_or_none() is not None


def record_announced_status(tx: AccountTransaction, *, order_id: str, status: str, changed_at: datetime | None) -> None:
    """Take over a status that an event told, without asking Amazon."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(status=status, last_updated_at=func.greatest(orders.c.last_updated_at, changed_at))
    )
    enqueue(tx, Queue.DECIDE, [order_id])


def save_fetched_order(
    tx: AccountTransaction, values: dict[str, Any], items: Sequence[dict[str, Any]], *, priority: int = 0
) -> bool:
    """Store an answer of Amazon's unless a newer one is there; True if it was taken.

    `values`: columns of orders. `priority`: of the decision about it; BACKFILLED, or the usual.
    """
    statement = insert(orders).values(**values, fetched_at=func.clock_timestamp())
    new = statement.excluded
    changed: dict[str, Any] = {name: getattr(new, name) for name in values if name not in ("account_id", "order_id")}
    # A notification may have told of a later change while this answer was on its way: that status stays, if it is one
    # that is taken over without asking; a cancellation too, until an answer that is not older than it says otherwise.
    announced_later = or_(
        and_(
            orders.c.fetched_at.is_not(None),
            orders.c.status.in_(RECORDED_WITHOUT_FETCH),
            orders.c.last_updated_at > new.last_updated_at,
        ),
        and_(orders.c.status == OrderStatus.CANCELLED, orders.c.told_at > new.last_updated_at),
    )
    changed["status"] = case((announced_later, orders.c.status), else_=new.status)
    # What an earlier answer said of who ships outlives one that says nothing of it.
    unsaid = and_(new.fulfilled_by == UNKNOWN_FULFILLER, orders.c.fetched_at.is_not(None))
    changed["fulfilled_by"] = case((unsaid, orders.c.fulfilled_by), else_=new.fulfilled_by)
    # An answer that names no marketplace leaves the one that is known, from a message or an earlier answer.
    changed["marketplace_id"] = func.coalesce(new.marketplace_id, orders.c.marketplace_id)
    # The time that a message told counts until the first answer.
    newest = func.greatest(orders.c.last_updated_at, new.last_updated_at)
    changed["last_updated_at"] = case((orders.c.fetched_at.is_(None), new.last_updated_at), else_=newest)
    statement = statement.on_conflict_do_update(
        index_elements=[orders.c.account_id, orders.c.order_id],
        set_={**changed, "fetched_at": func.clock_timestamp(), "other_marketplace": False},
        # The newest state wins, not the newest arrival; an equal one is taken again (it may hold more parts).
        where=or_(
            orders.c.fetched_at.is_(None),
            orders.c.last_updated_at.is_(None),
            new.last_updated_at >= orders.c.last_updated_at,
        ),
    ).returning(orders.c.order_id)
    if tx.execute(statement).scalar_one_or_none() is None:
        return False
    tx.execute(
        delete(order_items).where(
            order_items.c.account_id == values["account_id"], order_items.c.order_id == values["order_id"]
        )
    )
    if items:
        tx.connection.execute(insert(order_items), list(items))
    enqueue(tx, Queue.DECIDE, [values["order_id"]], priority=priority)
    return True


def waive_holds(tx: AccountTransaction, *, order_id: str, reasons: Sequence[str], keeps_others: bool = False) -> bool:
    """Note a person's decision to ship in spite of these reasons; False for an order that is not known.

    Of those that are waived already, none stays unless `keeps_others`.
    """
    waived = _WITH_THOSE_BEFORE.bindparams(reasons=list(reasons)) if keeps_others else sorted(reasons)
    updated = tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(waived_holds=waived)
    )
    if not updated.rowcount:
        return False
    enqueue(tx, Queue.DECIDE, [order_id])
    return True


def clear_address(tx: AccountTransaction, *, order_id: str) -> None:
    """The vault holds no address for this order any more: it cannot be pushed before it was asked for again."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(has_address=False)
    )
    enqueue(tx, Queue.DECIDE, [order_id])


def note_reduced_items(tx: AccountTransaction, *, order_id: str, item_ids: Sequence[str]) -> None:
    """Note items that were cancelled, in part or whole, while the warehouse had the order."""
    tx.execute(
        text("""
update pipeline.orders set reduced_at = clock_timestamp(),
  reduced_items = array(select distinct unnest(reduced_items || cast(:items as text[])) order by 1)
where account_id = :account_id and order_id = :order_id
"""),
        {"account_id": tx.account_id, "order_id": order_id, "items": list(item_ids)},
    )


def order_row(tx: AccountTransaction, order_id: str) -> AnyRow | None:
    statement = select(orders).where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
    return tx.execute(statement).one_or_none()


def item_rows(tx: AccountTransaction, order_id: str) -> Sequence[AnyRow]:
    statement = (
        select(order_items)
        .where(order_items.c.account_id == tx.account_id, order_items.c.order_id == order_id)
        .order_by(order_items.c.position)
    )
    return list(tx.execute(statement))


def count_by_status(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(fulfilled_by, status, orders, oldest_purchase, next_ship_by), most first."""
    statement = (
        select(
            orders.c.fulfilled_by,
            orders.c.status,
            func.count().label("orders"),
            func.min(orders.c.purchased_at).label("oldest_purchase"),
            func.min(orders.c.ship_by).label("next_ship_by"),
        )
        .where(orders.c.account_id == tx.account_id)
        .group_by(orders.c.fulfilled_by, orders.c.status)
        .order_by(text("orders desc"))
    )
    return list(tx.execute(statement))


def orders_of_the_last_day(connection: Connection) -> int:
    """How many orders of all accounts became known within the last day. It reads all orders."""
    statement = select(func.count()).where(orders.c.first_seen_at > text("statement_timestamp() - interval '1 day'"))
    return connection.execute(statement).scalar_one()


def queue_states(tx: AccountTransaction, order_ids: Sequence[str]) -> dict[str, str]:
    """The state of the fulfillment order of each of these orders that has one."""
    statement = text("""
        select order_id, state from pipeline.fulfillment_orders
        where account_id = :account_id and order_id = any(:order_ids)
    """)
    rows = tx.execute(statement, {"account_id": tx.account_id, "order_ids": list(order_ids)})
    return {row.order_id: row.state for row in rows}
