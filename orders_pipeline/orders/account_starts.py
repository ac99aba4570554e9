"""When the pipeline began to work for an account, and which orders from before are not ours to ship yet.

A seller who changes over has an old process that still ships the orders it began with. Shipping one of those as well
would send it twice, so it waits until a person adopts it (contracts, `ORDERS_START_AT` and `adopt`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.orders.tables import account_starts, orders

# The hold reason of such an order, and the outcome of a package that the warehouse reports of it.
PURCHASED_BEFORE_START = "purchased_before_start"


@dataclass(frozen=True, slots=True)
class AccountStart:
    """`first_started_at`: when this pipeline first ran for the account. `start_at`: ORDERS_START_AT, or None."""

    first_started_at: datetime
    start_at: datetime | None


def note_start(connection: Connection, seller_id: str, start_at: datetime | None) -> AccountStart:
    """Remember the first start of an account, and ORDERS_START_AT as it is set now.

    A changed setting has every order that still waits decided about again.
    """
    known = account_start(connection, seller_id)
    if known is not None and known.start_at == start_at:
        return known
    connection.execute(
        insert(account_starts)
        .values(seller_id=seller_id, start_at=start_at)
        .on_conflict_do_update(index_elements=[account_starts.c.seller_id], set_={"start_at": start_at})
    )
    if known is not None:
        connection.execute(
            text(
                # The address of what waited was not kept: it is asked for, as after an adoption.
                "update pipeline.orders o set queue_stale = true, "
                "fetch_due_at = case when waited then clock_timestamp() else fetch_due_at end, "
                "fetch_requests = fetch_requests + waited::int "
                "from (select *, :reason = any(hold_reasons) as waited from pipeline.fulfillment_queue) q "
                "where o.seller_id = :seller_id and q.seller_id = o.seller_id and q.order_id = o.order_id "
                "and q.state in ('queued', 'held')"
            ),
            {"seller_id": seller_id, "reason": PURCHASED_BEFORE_START},
        )
    return AccountStart(known.first_started_at, start_at) if known else _existing_start(connection, seller_id)


def account_start(connection: Connection, seller_id: str) -> AccountStart | None:
    """None for an account that was never started."""
    row = connection.execute(
        select(account_starts.c.first_started_at, account_starts.c.start_at).where(
            account_starts.c.seller_id == seller_id
        )
    ).one_or_none()
    return AccountStart(row.first_started_at, row.start_at) if row is not None else None


def awaits_adoption(connection: Connection, seller_id: str, order: AnyRow) -> bool:
    """Whether an old process may be shipping this order: purchased before the start, and nobody adopted it.

    Without ORDERS_START_AT an order that a notification announced, or that a person recovered, is ours; only what a
    search alone has found is not. What was handed to the warehouse once stays ours.
    """
    if order.purchased_at is None or order.adopted_at is not None:
        return False
    start = account_start(connection, seller_id)
    if start is None or order.purchased_at >= (start.start_at or start.first_started_at):
        return False
    ours = connection.execute(
        text(
            "select exists (select from pipeline.wms_orders w where w.seller_id = :seller_id "
            " and w.order_id = :order_id) or not :by_date and exists (select from pipeline.order_events e "
            " where e.seller_id = :seller_id and e.order_id = :order_id and e.source in ('notification', 'recovery'))"
        ),
        {"seller_id": seller_id, "order_id": order.order_id, "by_date": start.start_at is not None},
    ).scalar_one()
    return not ours


def shipped_before_start(connection: Connection, seller_id: str, shipped_at: datetime | None) -> bool:
    """Whether a package left before this pipeline began: whoever pushed its order told Amazon of it."""
    start = account_start(connection, seller_id)
    return start is not None and shipped_at is not None and shipped_at < (start.start_at or start.first_started_at)


def waiting_for_adoption(connection: Connection, seller_id: str) -> Sequence[AnyRow]:
    """(order_id, status, purchased_at, ship_by) of the orders that wait to be adopted, nearest ship-by first."""
    return connection.execute(
        text(
            "select o.order_id, o.status, o.purchased_at, o.ship_by from pipeline.fulfillment_queue q "
            "join pipeline.orders o using (seller_id, order_id) "
            "where q.seller_id = :seller_id and q.state = 'held' and :reason = any(q.hold_reasons) "
            "order by o.ship_by nulls last, o.order_id"
        ),
        {"seller_id": seller_id, "reason": PURCHASED_BEFORE_START},
    ).all()


def note_adoption(connection: Connection, seller_id: str, order_id: str) -> bool:
    """Make a known order ours, and take up what the warehouse has reported of it; False if it was ours already."""
    adopted = connection.execute(
        update(orders)
        .where(orders.c.seller_id == seller_id, orders.c.order_id == order_id, orders.c.adopted_at.is_(None))
        .values(adopted_at=func.clock_timestamp(), queue_stale=True)
    ).rowcount
    connection.execute(
        text(
            "update pipeline.wms_shipments set processed_at = null, outcome = null "
            "where seller_id = :seller_id and order_id = :order_id and outcome = :outcome"
        ),
        {"seller_id": seller_id, "order_id": order_id, "outcome": PURCHASED_BEFORE_START},
    )
    return adopted > 0


def _existing_start(connection: Connection, seller_id: str) -> AccountStart:
    start = account_start(connection, seller_id)
    assert start is not None
    return start
