"""Queries of packages: what left, and what Amazon was told of it. Their state changes in one place, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select, text, update

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.states import TO_CONFIRM, TO_VERIFY, PackageState
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.orders.tables import orders
from orders_pipeline.shipments.states import PACKAGE_STATES, PackageEvent
from orders_pipeline.shipments.tables import shipment_confirmations
from orders_pipeline.work.jobs import Queue, package_subject
from orders_pipeline.work.queue import ZERO, enqueue, withdraw

Package = AnyRow

# Whoever confirms has the job in hand, and ends or retries it by itself.
_BY_CONFIRM = frozenset(
    {
        PackageEvent.CALL_BEGUN,
        PackageEvent.CALL_NOT_MADE,
        PackageEvent.CALL_ACCEPTED,
        PackageEvent.CALL_REFUSED,
        PackageEvent.CALL_UNKNOWN,
        PackageEvent.CARRIER_MAPPED,
    }
)


def lock_packages(tx: AccountTransaction, order_id: str) -> list[Package]:
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


def insert_package(tx: AccountTransaction, state: PackageState, **values: Any) -> None:
    """Make a package known; one that Amazon can be told of is due at once."""
    tx.execute(insert(shipment_confirmations).values(account_id=tx.account_id, state=str(state), **_bounded(values)))
    if state in TO_CONFIRM:
        subject = package_subject(values["order_id"], values["package_id"])
        enqueue(tx, Queue.CONFIRM, [subject], ship_by=values.get("ship_by"))


def change_package(
    tx: AccountTransaction, package: Package, event: PackageEvent, *, due_in: timedelta = ZERO, **values: Any
) -> PackageState:
    """Let the event happen to a package that `lock_packages` gave; return its new state.

    What is to be done next becomes due after `due_in`. Raises IllegalTransition.
    """
    before = PackageState(package.state)
    after = PACKAGE_STATES.next_state(before, event)
    update_package(tx, package, state=str(after), **values)
    is_in_hand = event in _BY_CONFIRM or (before, event) == (PackageState.SENDING, PackageEvent.NOT_SHOWN)
    subject = package_subject(package.order_id, package.package_id)
    if after in TO_CONFIRM and not is_in_hand:
        enqueue(tx, Queue.CONFIRM, [subject], due_in=due_in, ship_by=package.ship_by)
    elif after in TO_VERIFY:
        enqueue(tx, Queue.VERIFY, [package.order_id], due_in=due_in, ship_by=package.ship_by)
    if not is_in_hand and after not in TO_CONFIRM and (before in TO_CONFIRM or before is PackageState.CONFIRMED):
        withdraw(tx, Queue.CONFIRM, [subject])
    return after


def update_package(tx: AccountTransaction, package: Package, **values: Any) -> None:
    """Set columns of a package without an event."""
    tx.execute(
        update(shipment_confirmations)
        .where(
            shipment_confirmations.c.account_id == tx.account_id,
            shipment_confirmations.c.order_id == package.order_id,
            shipment_confirmations.c.package_id == package.package_id,
        )
        .values(changed_at=func.clock_timestamp(), **_bounded(values))
    )


def unmapped_packages(tx: AccountTransaction, *, days: int, limit: int) -> Sequence[AnyRow]:
    """(order_id, package_id, carrier, service, marketplace_id) of those whose carrier had no code when last seen.

    Confirmed ones are watched for so many days. Not those whose work failed and waits, is parked, or is in hand.
    """
    return tx.execute(
        text("""
            select c.order_id, c.package_id, c.carrier, c.service, o.marketplace_id
            from pipeline.shipment_confirmations c
            left join pipeline.orders o on o.account_id = c.account_id and o.order_id = c.order_id
            where c.account_id = :account_id and c.carrier_mapped is false
              and (c.state = 'awaits_carrier'
                or c.state = 'confirmed' and c.confirmed_at > statement_timestamp() - make_interval(days => :days))
              and not exists (
                select from pipeline.jobs j where j.account_id = c.account_id and j.queue = 'confirm'
                  and j.subject = c.order_id || ':' || c.package_id
                  and (j.attempts > 0 or j.lost_leases > 0 or j.parked_at is not null or j.leased_until is not null))
            order by c.confirmed_at desc nulls first limit :limit"""),
        {"account_id": tx.account_id, "days": days, "limit": limit},
    ).all()


def packages_by_state(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(state, packages, next_ship_by, oldest), in order of state."""
    return list(
        tx.execute(
            text("""
                select state, count(*) as packages, min(ship_by) as next_ship_by,
                clock_timestamp() - min(reported_at) as oldest
                from pipeline.shipment_confirmations where account_id = :account_id group by state order by state
            """),
            {"account_id": tx.account_id},
        )
    )


def _bounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """`reason` may be Amazon's own words."""
    if values.get("reason") is None:
        return dict(values)
    return {**values, "reason": bounded_text(values["reason"], LONGEST_ERROR)}
