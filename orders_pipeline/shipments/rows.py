"""Queries of the shipments stage: the warehouse's events, the packages, and what Amazon was told of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text, true, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.database.locks import hold_name
from orders_pipeline.model.states import PackageState
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.orders.tables import orders
from orders_pipeline.shipments.tables import shipment_confirmations, wms_cursors, wms_shipments

Confirmation = AnyRow


def warehouse_cursor(tx: AccountTransaction) -> str | None:
    """Where the next poll goes on. Two polls at once only read the same page twice."""
    tx.execute(insert(wms_cursors).values(account_id=tx.account_id).on_conflict_do_nothing())
    return tx.execute(select(wms_cursors.c.cursor).where(wms_cursors.c.account_id == tx.account_id)).scalar_one()


def save_cursor(tx: AccountTransaction, cursor: str | None) -> None:
    tx.execute(
        update(wms_cursors)
        .where(wms_cursors.c.account_id == tx.account_id)
        .values(cursor=cursor, polled_at=func.clock_timestamp())
    )


def insert_shipment_events(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Record the warehouse's events, in their order; return how many were new."""
    if not rows:
        return 0
    statement = insert(wms_shipments).values(list(rows)).on_conflict_do_nothing().returning(wms_shipments.c.event_id)
    return len(connection.execute(statement).all())


def lock_shipment_events(tx: AccountTransaction) -> None:
    """Let one process at a time absorb this seller's events, until the transaction ends: their order has a meaning."""
    hold_name(tx.connection, f"apply_shipments {tx.account_id}")


def reopen_events_of_known_orders(tx: AccountTransaction) -> int:
    """Events whose order was not known when they came, and is by now, are absorbed after all; how many."""
    return tx.execute(
        text(
            "update pipeline.wms_shipments s set processed_at = null, outcome = null "
            "where s.account_id = :account_id and s.outcome = 'unknown_order' and exists "
            "(select 1 from pipeline.orders o where o.account_id = s.account_id and o.order_id = s.order_id)"
        ),
        {"account_id": tx.account_id},
    ).rowcount


def reopen_failed_events(tx: AccountTransaction) -> int:
    """Events that met a defect are tried again every ten minutes, for a day; how many."""
    return tx.execute(
        text(
            "update pipeline.wms_shipments set processed_at = null, outcome = null "
            "where account_id = :account_id and outcome = 'defect' "
            "and processed_at < clock_timestamp() - interval '10 minutes' "
            "and received_at > clock_timestamp() - interval '1 day'"
        ),
        {"account_id": tx.account_id},
    ).rowcount


def claim_shipment_events(tx: AccountTransaction, limit: int) -> Sequence[AnyRow]:
    """Lock the oldest events that are not absorbed yet."""
    statement = (
        select(wms_shipments)
        .where(wms_shipments.c.account_id == tx.account_id, wms_shipments.c.processed_at.is_(None))
        .order_by(wms_shipments.c.sequence)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(tx.execute(statement))


def mark_shipment_event(tx: AccountTransaction, event_id: str, outcome: str) -> None:
    tx.execute(
        update(wms_shipments)
        .where(wms_shipments.c.account_id == tx.account_id, wms_shipments.c.event_id == event_id)
        .values(processed_at=func.clock_timestamp(), outcome=outcome)
    )


def package_events(connection: Connection, event: AnyRow) -> list[AnyRow]:
    """What the warehouse reported of this event's package before, in its order, and this event."""
    e = wms_shipments.c
    statement = (
        select(wms_shipments)
        .where(
            e.account_id == event.account_id,
            e.order_id == event.order_id,
            e.package_id == event.package_id,
            e.processed_at.is_not(None),
            e.event_id != event.event_id,
        )
        .order_by(e.sequence)
    )
    return [*connection.execute(statement), event]


def lock_confirmations(tx: AccountTransaction, order_id: str) -> list[Confirmation]:
    """Lock every package of one order, through the order's row: reference ids are given out under this lock."""
    tx.execute(
        select(orders.c.order_id)
        .where(orders.c.account_id == tx.account_id, orders.c.order_id == order_id)
        .with_for_update()
    )
    statement = (
        select(shipment_confirmations)
        .where(shipment_confirmations.c.account_id == tx.account_id, shipment_confirmations.c.order_id == order_id)
        .order_by(shipment_confirmations.c.reported_at, shipment_confirmations.c.package_id)
        .with_for_update()
    )
    return list(tx.execute(statement))


def insert_confirmation(connection: Connection, values: dict[str, Any], *, due: bool) -> bool:
    """Make a package known, with an action due at once or none; False if it was known."""
    statement = (
        insert(shipment_confirmations)
        .values(**values, action_due_at=func.clock_timestamp() if due else None)
        .on_conflict_do_nothing()
        .returning(shipment_confirmations.c.package_id)
    )
    return connection.execute(statement).scalar_one_or_none() is not None


def update_confirmation(
    tx: AccountTransaction,
    *,
    order_id: str,
    package_id: str,
    due_in: timedelta | None,
    only_if: str | None = None,
    only_if_sends: int | None = None,
    **values: Any,
) -> None:
    """Set columns of one package and when its next action is due (None: nothing is left to do).

    With `only_if`, only while it is in that state: a package that was voided meanwhile stays voided. With
    `only_if_sends`, only while Amazon was told of it so often.
    """
    if values.get("last_error") is not None:
        values["last_error"] = bounded_text(values["last_error"], LONGEST_ERROR)
    tx.execute(
        update(shipment_confirmations)
        .where(
            shipment_confirmations.c.account_id == tx.account_id,
            shipment_confirmations.c.order_id == order_id,
            shipment_confirmations.c.package_id == package_id,
            true() if only_if is None else shipment_confirmations.c.state == only_if,
            true() if only_if_sends is None else shipment_confirmations.c.sends == only_if_sends,
        )
        .values(
            action_due_at=None if due_in is None else func.clock_timestamp() + due_in,
            changed_at=func.clock_timestamp(),
            **values,
        )
    )


def claim_due_confirmations(
    tx: AccountTransaction, *, states: Sequence[str], limit: int, lease: timedelta
) -> list[Confirmation]:
    """Lease packages whose next action is due, nearest ship-by first."""
    c = shipment_confirmations.c
    key = (c.order_id, c.package_id)
    due = (
        select(*key)
        .where(c.account_id == tx.account_id, c.state.in_(states), c.action_due_at <= func.clock_timestamp())
        .order_by(c.ship_by.asc().nulls_last(), c.reported_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = list(tx.execute(due))
    claimed: list[Confirmation] = []
    for order_id, package_id in found:
        claimed += tx.execute(
            update(shipment_confirmations)
            .where(c.account_id == tx.account_id, c.order_id == order_id, c.package_id == package_id)
            .values(action_due_at=func.clock_timestamp() + lease)
            .returning(*shipment_confirmations.c)
        ).all()
    return claimed


def postpone_due_confirmations(tx: AccountTransaction, *, states: Sequence[str], delay: timedelta) -> None:
    """None of these can succeed before: without this, each would be tried, and a run asked for, again and again."""
    c = shipment_confirmations.c
    tx.execute(
        update(shipment_confirmations)
        .where(c.account_id == tx.account_id, c.state.in_(states), c.action_due_at <= func.clock_timestamp())
        .values(action_due_at=func.clock_timestamp() + delay)
    )


def lock_confirmed_under(tx: AccountTransaction, carrier_code: str, limit: int) -> list[Confirmation]:
    """Confirmed packages under this carrier code that are still watched, those due first; locked."""
    c = shipment_confirmations.c
    statement = (
        select(shipment_confirmations)
        .where(
            c.account_id == tx.account_id,
            c.state == PackageState.CONFIRMED,
            c.carrier_code == carrier_code,
            c.action_due_at.is_not(None),
        )
        .order_by(c.action_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(tx.execute(statement))


def confirmations_by_state(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(state, packages, next_ship_by, oldest_seconds), in order of state."""
    return list(
        tx.execute(
            text(
                "select state, count(*) as packages, min(ship_by) as next_ship_by, "
                "extract(epoch from clock_timestamp() - min(reported_at)) as oldest_seconds "
                "from pipeline.shipment_confirmations where account_id = :account_id group by state order by state"
            ),
            {"account_id": tx.account_id},
        )
    )


def shipments_by_kind(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(kind, outcome, events, newest) of what the warehouse reported."""
    statement = (
        select(
            wms_shipments.c.kind,
            wms_shipments.c.outcome,
            func.count().label("events"),
            func.max(wms_shipments.c.received_at).label("newest"),
        )
        .where(wms_shipments.c.account_id == tx.account_id)
        .group_by(wms_shipments.c.kind, wms_shipments.c.outcome)
        .order_by(text("events desc"))
    )
    return list(tx.execute(statement))
