"""Which orders are ours to ship: of this account, of a configured marketplace, and not an old process's.

A seller who changes over has an old process that still ships the orders it began with. Shipping one of those as well
would send it twice, so it waits until a person adopts it (contracts, `ORDERS_START_AT` and `adopt`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.orders.fetches import request_fetches
from orders_pipeline.orders.tables import account_starts, orders
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue

# The hold reason of such an order, and the outcome of a package that the warehouse reports of it.
PURCHASED_BEFORE_START = "purchased_before_start"
_OVER = ("SHIPPED", "INVOICE_UNCONFIRMED", "CANCELLED")
# Of a row `o` of `orders`: we ship it, and Amazon does not show all of it as shipped; and its time for that has passed.
IS_TO_SHIP = """(o.fulfilled_by = 'MERCHANT' and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')
  and not o.other_marketplace)"""
IS_LATE = f"({IS_TO_SHIP} and o.ship_by < statement_timestamp())"
# By each account's key: orders have no index by order id alone.
_OF_OTHERS = text("""
select o.order_id
from pipeline.account_starts s
cross join unnest(cast(:order_ids as text[])) as asked(order_id)
join pipeline.orders o on o.account_id = s.account_id and o.order_id = asked.order_id
where s.account_id <> :account_id
""")


@dataclass(frozen=True, slots=True)
class AccountStart:
    """`first_started_at`: when this pipeline first ran for the account. `start_at`: ORDERS_START_AT, or None."""

    first_started_at: datetime
    start_at: datetime | None


def note_start(tx: AccountTransaction, start_at: datetime | None) -> AccountStart:
    """Remember the first start of an account, and ORDERS_START_AT as it is set now.

    A changed setting has every order that still waits decided about again.
    """
    known = account_start(tx)
    if known is not None and known.start_at == start_at:
        return known
    tx.execute(
        insert(account_starts)
        .values(account_id=tx.account_id, start_at=start_at)
        .on_conflict_do_update(index_elements=[account_starts.c.account_id], set_={"start_at": start_at})
    )
    if known is not None:
        # Nothing of an order's row changes, but it is locked before its jobs, as everywhere.
        rows = tx.execute(
            text("""
                select o.order_id, o.ship_by, :reason = any(q.hold_reasons) as waited
                from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id)
                where o.account_id = :account_id and q.state in ('queued', 'held')
                order by o.order_id for update of o
            """),
            {"account_id": tx.account_id, "reason": PURCHASED_BEFORE_START},
        ).all()
        enqueue(tx, Queue.DECIDE, [row.order_id for row in rows])
        # The address of what waited was not kept: it is asked for, as after an adoption.
        request_fetches(tx, {row.order_id: row.ship_by for row in rows if row.waited})
    return AccountStart(known.first_started_at, start_at) if known else _existing_start(tx)


def account_start(tx: AccountTransaction) -> AccountStart | None:
    """None for an account that was never started."""
    row = tx.execute(
        select(account_starts.c.first_started_at, account_starts.c.start_at).where(
            account_starts.c.account_id == tx.account_id
        )
    ).one_or_none()
    return AccountStart(row.first_started_at, row.start_at) if row is not None else None


def awaits_adoption(tx: AccountTransaction, order: AnyRow) -> bool:
    """Whether an old process may be shipping this order: purchased before the start, and nobody adopted it.

    Without ORDERS_START_AT an order that a notification announced, or that a person recovered, is ours; only what a
    search alone has found is not. What was handed to the warehouse once stays ours.
    """
    if order.purchased_at is None or order.adopted_at is not None:
        return False
    start = account_start(tx)
    if start is None or not bought_before_start(start, order.purchased_at):
        return False
    ours = tx.execute(
        text("""
            select exists (select from pipeline.wms_orders w where w.account_id = :account_id
            and w.order_id = :order_id) or not :by_date and exists (select from pipeline.order_events e
            where e.account_id = :account_id and e.order_id = :order_id and e.source in ('notification', 'recovery'))
        """),
        {"account_id": tx.account_id, "order_id": order.order_id, "by_date": start.start_at is not None},
    ).scalar_one()
    return not ours


def bought_before_start(start: AccountStart | None, purchased_at: datetime) -> bool:
    """Whether an old process may be shipping an order of which nothing else is known."""
    return start is not None and purchased_at < (start.start_at or start.first_started_at)


def shipped_before_start(tx: AccountTransaction, shipped_at: datetime | None) -> bool:
    """Whether a package left before this pipeline began: whoever pushed its order told Amazon of it."""
    start = account_start(tx)
    return start is not None and shipped_at is not None and shipped_at < (start.start_at or start.first_started_at)


def waiting_for_adoption(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(order_id, status, purchased_at, ship_by) of the orders that wait to be adopted, nearest ship-by first."""
    return tx.execute(
        text("""
            select o.order_id, o.status, o.purchased_at, o.ship_by from pipeline.fulfillment_orders q
            join pipeline.orders o using (account_id, order_id)
            where q.account_id = :account_id and q.state = 'held' and :reason = any(q.hold_reasons)
            order by o.ship_by nulls last, o.order_id
        """),
        {"account_id": tx.account_id, "reason": PURCHASED_BEFORE_START},
    ).all()


def count_adopted(tx: AccountTransaction, order_ids: Collection[str]) -> int:
    """How many of these orders a person has adopted."""
    adopted = select(func.count()).where(
        orders.c.account_id == tx.account_id, orders.c.order_id.in_(list(order_ids)), orders.c.adopted_at.is_not(None)
    )
    return tx.execute(adopted).scalar_one()


def note_adoption(tx: AccountTransaction, order_id: str) -> bool:
    """Make a known order ours, and take up what the warehouse has reported of it; False if it was ours already."""
    adopted = tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id, orders.c.adopted_at.is_(None))
        .values(adopted_at=func.clock_timestamp())
    ).rowcount
    tx.execute(
        text("""
            update pipeline.wms_shipments set processed_at = null, result = null
            where account_id = :account_id and order_id = :order_id and result = :result
        """),
        {"account_id": tx.account_id, "order_id": order_id, "result": PURCHASED_BEFORE_START},
    )
    if not adopted:
        return False
    enqueue(tx, Queue.DECIDE, [order_id])
    return True


def set_other_marketplace(tx: AccountTransaction, *, order_id: str) -> None:
    """Note that Amazon's answer names a marketplace that is not configured."""
    tx.execute(
        update(orders)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .values(other_marketplace=True)
    )


def take_in(tx: AccountTransaction, marketplace_ids: Collection[str]) -> int:
    """Orders that were of another marketplace until this one was configured: those that are not over are fetched.

    So are those that were queued before it was taken out, and are held since; as Amazon shows them by now.
    """
    ours = {"account_id": tx.account_id, "marketplace_ids": list(marketplace_ids), "over": list(_OVER)}
    # What is being decided already is not asked about again with every batch of events.
    held = tx.execute(
        text("""
            select o.order_id, o.ship_by, true as is_live
            from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id)
            where o.account_id = :account_id and 'marketplace_not_configured' = any(q.hold_reasons)
            and o.marketplace_id = any(:marketplace_ids)
            and not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = 'decide'
            and j.subject = o.order_id) order by o.order_id for update of o
        """),
        ours,
    ).all()
    taken = tx.execute(
        text("""
            update pipeline.orders set other_marketplace = false
            where account_id = :account_id and other_marketplace and marketplace_id = any(:marketplace_ids)
            returning order_id, ship_by, status <> all(:over) and fulfilled_by <> 'AMAZON' as is_live
        """),
        ours,
    ).all()
    found = [*held, *taken]
    enqueue(tx, Queue.DECIDE, [row.order_id for row in found])
    request_fetches(tx, {row.order_id: row.ship_by for row in found if row.is_live})
    return len(found)


def other_marketplace_orders(tx: AccountTransaction, limit: int = 50) -> Sequence[AnyRow]:
    """(marketplace_id, fulfilled_by, status, orders, newest) of all of them, most first."""
    statement = (
        select(
            orders.c.marketplace_id,
            orders.c.fulfilled_by,
            orders.c.status,
            func.count().label("orders"),
            func.max(orders.c.first_seen_at).label("newest"),
        )
        .where(orders.c.account_id == tx.account_id, orders.c.other_marketplace)
        .group_by(orders.c.marketplace_id, orders.c.fulfilled_by, orders.c.status)
        .order_by(text("orders desc"))
        .limit(limit)
    )
    return list(tx.execute(statement))


def orders_of_account(tx: AccountTransaction, order_ids: Sequence[str]) -> set[str]:
    """Those of these orders that this account has."""
    asked = orders.c.account_id == tx.account_id, orders.c.order_id.in_(sorted(set(order_ids)))
    return set(tx.execute(select(orders.c.order_id).where(*asked)).scalars())


def orders_of_others(tx: AccountTransaction, order_ids: Sequence[str]) -> set[str]:
    """Those of these orders that another account has."""
    found = tx.execute(_OF_OTHERS, {"account_id": tx.account_id, "order_ids": list(order_ids)})
    return set(found.scalars())


def _existing_start(tx: AccountTransaction) -> AccountStart:
    start = account_start(tx)
    assert start is not None
    return start
