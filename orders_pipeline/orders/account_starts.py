"""When the pipeline began to work for an account, and which orders from before are not ours to ship yet.

A seller who changes over has an old process that still ships the orders it began with. Shipping one of those as well
would send it twice, so it waits until a person adopts it (contracts, `ORDERS_START_AT` and `adopt`).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    if start is None or order.purchased_at >= (start.start_at or start.first_started_at):
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


def _existing_start(tx: AccountTransaction) -> AccountStart:
    start = account_start(tx)
    assert start is not None
    return start
