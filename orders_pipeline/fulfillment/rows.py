"""Queries of fulfillment orders and of the warehouse's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.counters.rows import Counted, observe_since
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.fulfillment.tables import fulfillment_orders, wms_orders
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import withdraw

_WAITS_FOR_SOMETHING = [
    FulfillmentState.HELD,
    FulfillmentState.HOLD_ASKED,
    FulfillmentState.HOLDING,
    FulfillmentState.REFUSED,
    FulfillmentState.TOO_LATE,
]


@dataclass(frozen=True, slots=True)
class FulfillmentRow:
    """One fulfillment order. `state` is a word of fulfillment.states."""

    order_id: str
    state: str
    hold_reasons: tuple[str, ...]
    ship_by: datetime | None
    changed_at: datetime


def lock_fulfillment_order(tx: AccountTransaction, order_id: str) -> FulfillmentRow | None:
    """Lock one fulfillment order until the transaction ends: every change of a state goes through this."""
    row = tx.execute(
        select(fulfillment_orders)
        .where(fulfillment_orders.c.account_id == tx.account_id, fulfillment_orders.c.order_id == order_id)
        .with_for_update()
    ).one_or_none()
    return None if row is None else _entry(row)


def insert_fulfillment_order(
    tx: AccountTransaction, *, order_id: str, state: str, reasons: Sequence[str], ship_by: datetime | None
) -> None:
    tx.execute(
        insert(fulfillment_orders)
        .values(account_id=tx.account_id, order_id=order_id, state=state, hold_reasons=list(reasons), ship_by=ship_by)
        .on_conflict_do_nothing()
    )


def update_fulfillment_order(tx: AccountTransaction, *, order_id: str, **values: object) -> None:
    """Set columns of a fulfillment order whose lock this transaction holds; `changed_at` is the database's now."""
    tx.execute(
        update(fulfillment_orders)
        .where(fulfillment_orders.c.account_id == tx.account_id, fulfillment_orders.c.order_id == order_id)
        .values(changed_at=func.clock_timestamp(), **values)
    )


def set_ship_by(tx: AccountTransaction, *, order_id: str, ship_by: datetime | None) -> None:
    """The deadline may move (Amazon extends it); pushes go out by it."""
    tx.execute(
        update(fulfillment_orders)
        .where(fulfillment_orders.c.account_id == tx.account_id, fulfillment_orders.c.order_id == order_id)
        .values(ship_by=ship_by)
    )


def begin_push(tx: AccountTransaction, *, order_id: str, content_hash: str) -> None:
    """Note, before the first byte leaves, that a push with this content is under way.

    An erasure that the warehouse still owed is off: it would take the address of an order that is to be shipped.
    """
    now = func.clock_timestamp()
    sending = {"content_hash": content_hash, "answer": "unknown", "sent_at": now}
    tx.execute(
        insert(wms_orders)
        .values(account_id=tx.account_id, order_id=order_id, **sending)
        .on_conflict_do_update(
            index_elements=[wms_orders.c.account_id, wms_orders.c.order_id],
            set_={**sending, "changed_at": now, "erase_requested_at": None},
        )
    )
    withdraw(tx, Queue.ERASE, [order_id])


def wms_order(tx: AccountTransaction, order_id: str) -> AnyRow | None:
    statement = select(wms_orders).where(wms_orders.c.account_id == tx.account_id, wms_orders.c.order_id == order_id)
    return tx.execute(statement).one_or_none()


def record_answer(
    tx: AccountTransaction, *, order_id: str, answer: str, code: str | None = None, wms_id: str | None = None
) -> None:
    """Keep what the warehouse said; that it has the order now is `record_acceptance`'s."""
    values: dict[str, Any] = {"answer": answer, "answer_code": code, "changed_at": func.clock_timestamp()}
    if wms_id is not None:
        values["wms_id"] = wms_id
    tx.execute(
        update(wms_orders)
        .where(wms_orders.c.account_id == tx.account_id, wms_orders.c.order_id == order_id)
        .values(**values)
    )


# The newest acceptance counts: what the warehouse reported of an earlier one no longer says anything.
_ACCEPTED = """
    update pipeline.wms_orders set answer = :answer, answer_code = :code, wms_id = coalesce(:wms_id, wms_id),
      accepted_at = clock_timestamp(), changed_at = clock_timestamp()
    where account_id = :account_id and order_id = :order_id
"""
# The first message (or search) that said that the order is to ship, if the warehouse has not accepted it before. What
# Amazon's clock says of a message counts, unless it is later than the message came.
_SAID_TO_SHIP = """
    select min(least(e.published_at, e.received_at)) as since from pipeline.order_events e
    where e.account_id = :account_id and e.order_id = :order_id and e.source <> 'backfill'
    and lower(replace(e.status_told, '_', '')) in ('unshipped', 'partiallyshipped')
    and exists (select from pipeline.wms_orders w where w.account_id = :account_id and w.order_id = :order_id
      and w.accepted_at is null)
"""


def record_acceptance(
    tx: AccountTransaction, *, order_id: str, answer: str, code: str | None = None, wms_id: str | None = None
) -> None:
    """Keep that the warehouse has the order, and count how long it took from the message that said that it is to ship.

    An order counts once. One that was held counts with the time for which it was. One statement: each push makes it.
    """
    values = {"order_id": order_id, "answer": answer, "code": code, "wms_id": wms_id}
    observe_since(tx, Counted.MESSAGE_TO_ACCEPTED, _SAID_TO_SHIP, values, change=_ACCEPTED)


@dataclass(frozen=True, slots=True)
class WarehouseReport:
    """What the warehouse has reported of one order, in pieces; packages that will not travel do not count."""

    units_ordered: int
    units_left: int
    cancelled_by_warehouse: bool


def warehouse_report(tx: AccountTransaction, order_id: str) -> WarehouseReport:
    """How much of the order has left, and whether the warehouse cancelled it by itself."""
    row = tx.execute(
        text("""
            select
            (select coalesce(sum(i.quantity_ordered), 0) from pipeline.order_items i
            join pipeline.orders o using (account_id, order_id) where account_id = :account_id
            and order_id = :order_id and (not i.cancelled or o.status = 'CANCELLED')) as units_ordered,
            (select coalesce(sum((line->>'quantity')::int), 0) from pipeline.shipment_confirmations,
            jsonb_array_elements(lines) as line
            where account_id = :account_id and order_id = :order_id and state not in
            ('voided', 'awaits_replacement', 'replaced')) as units_left,
            exists (select 1 from pipeline.wms_shipments s
            left join pipeline.wms_orders w using (account_id, order_id)
            where account_id = :account_id and order_id = :order_id and s.kind = 'cancelled'
            and s.received_at > coalesce(w.accepted_at, '-infinity')) as cancelled
        """),
        {"account_id": tx.account_id, "order_id": order_id},
    ).one()
    return WarehouseReport(int(row.units_ordered), int(row.units_left), bool(row.cancelled))


def queue_by_state(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(state, orders, next_ship_by, oldest), in order of state."""
    return list(
        tx.execute(
            text("""
                select state, count(*) as orders, min(ship_by) as next_ship_by,
                clock_timestamp() - min(changed_at) as oldest
                from pipeline.fulfillment_orders where account_id = :account_id group by state order by state
            """),
            {"account_id": tx.account_id},
        )
    )


def held_orders(tx: AccountTransaction, limit: int) -> Sequence[AnyRow]:
    """(order_id, state, hold_reasons, ship_by, changed_at) of orders that wait for something, nearest ship-by first."""
    statement = (
        select(
            fulfillment_orders.c.order_id,
            fulfillment_orders.c.state,
            fulfillment_orders.c.hold_reasons,
            fulfillment_orders.c.ship_by,
            fulfillment_orders.c.changed_at,
        )
        .where(
            fulfillment_orders.c.account_id == tx.account_id,
            fulfillment_orders.c.state.in_(_WAITS_FOR_SOMETHING),
        )
        .order_by(fulfillment_orders.c.ship_by.asc().nulls_last())
        .limit(limit)
    )
    return list(tx.execute(statement))


def answers_by_kind(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(answer, answer_code, orders, newest) of the warehouse's answers."""
    statement = (
        select(
            wms_orders.c.answer,
            wms_orders.c.answer_code,
            func.count().label("orders"),
            func.max(wms_orders.c.changed_at).label("newest"),
        )
        .where(wms_orders.c.account_id == tx.account_id)
        .group_by(wms_orders.c.answer, wms_orders.c.answer_code)
        .order_by(text("orders desc"))
    )
    return list(tx.execute(statement))


def _entry(row: AnyRow) -> FulfillmentRow:
    return FulfillmentRow(
        order_id=row.order_id,
        state=row.state,
        hold_reasons=tuple(row.hold_reasons),
        ship_by=row.ship_by,
        changed_at=row.changed_at,
    )
