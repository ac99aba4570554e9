"""Shipments of orders that Amazon ships itself (AFN), as FBA_OUTBOUND_SHIPMENT_STATUS tells of them.

Amazon sends that notification for FBA Onsite alone, which there is in Brazil alone: it says that a shipment was created
or cancelled, and no more. It is no tracking of FBA in general, and it never decides anything about an order: whose an
order is, and whether it ships from here, only ORDER_CHANGE and Amazon's answers tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.intake.notification import FbaShipmentStatus
from orders_pipeline.intake.queue import QueueMessage
from orders_pipeline.intake.tables import fba_shipments
from orders_pipeline.model.order import AMAZON
from orders_pipeline.orders.event_rows import CLOCK_TOLERANCE, NewOrderEvent, partition_day

# The event's change type, and the first status of a shipment.
FBA_SHIPMENT = "FbaOutboundShipmentStatus"
CREATED = "Created"
# That an order has left is told by a message, or by the next hourly sweep.
LATE_AFTER = "2 hours"
OPEN_STATUSES = ("UNSHIPPED", "PARTIALLY_SHIPPED")


def fba_event(told: FbaShipmentStatus, message: QueueMessage, now: datetime, account_id: str) -> NewOrderEvent:
    """The order event of one notification. It has no status and no time of change: it says nothing of the order."""
    published_at = told.published_at or message.sent_at or now
    return NewOrderEvent(
        account_id=account_id,
        order_id=told.order_id,
        source="notification",
        deduplication_key=f"notification:{told.notification_id or f'sqs-{message.message_id}'}",
        published_at=published_at,
        partition_day=partition_day(published_at, now),
        change_type=FBA_SHIPMENT,
        details={
            "AmazonShipmentId": told.shipment_id,
            "ShipmentStatus": told.status,
            "EventTime": (told.changed_at or published_at).isoformat(),
        },
    )


def is_fba_event(event: AnyRow) -> bool:
    """Whether this order event tells of a shipment of Amazon's."""
    return event.change_type == FBA_SHIPMENT


def apply_fba_event(tx: AccountTransaction, event: AnyRow) -> bool:
    """Take over the shipment's status, unless a newer one is there; True if it was news.

    Messages come in any order: Amazon's time decides, and of two of one time that which is not the first status. A time
    that is ahead of its coming does not outrank what comes after.
    """
    told_at = datetime.fromisoformat(event.details["EventTime"])
    if told_at > event.received_at + CLOCK_TOLERANCE:
        told_at = event.received_at
    statement = insert(fba_shipments).values(
        account_id=tx.account_id,
        order_id=event.order_id,
        shipment_id=event.details["AmazonShipmentId"],
        status=event.details["ShipmentStatus"],
        told_at=told_at,
    )
    new, known = statement.excluded, fba_shipments.c
    statement = statement.on_conflict_do_update(
        index_elements=[known.account_id, known.order_id, known.shipment_id],
        set_={"status": new.status, "told_at": new.told_at, "received_at": func.clock_timestamp()},
        where=or_(
            new.told_at > known.told_at,
            and_(new.told_at == known.told_at, known.status == CREATED, new.status != CREATED),
        ),
    )
    return tx.execute(statement.returning(known.shipment_id)).scalar_one_or_none() is not None


# Of a row of `orders` that Amazon ships: whether the state that its dates promise is missing.
IS_LATE = f"""
    status in {OPEN_STATUSES} and not other_marketplace
    and least(ship_by, deliver_by) < statement_timestamp() - interval '{LATE_AFTER}'
"""
_SHIPMENTS = """
    (select string_agg(s.shipment_id || ' ' || s.status, ', ' order by s.told_at, s.shipment_id)
     from pipeline.fba_shipments s where s.account_id = o.account_id and s.order_id = o.order_id)
"""
_FBA_ORDERS = text(f"""
    select order_id, marketplace_id, status, purchased_at, ship_by, deliver_by,
      coalesce({IS_LATE}, false) as is_late, {_SHIPMENTS} as shipments
    from pipeline.orders o where account_id = :account_id and fulfilled_by = '{AMAZON}' and status = any(:statuses)
    order by is_late desc, coalesce(purchased_at, first_seen_at) desc limit :limit
""")  # noqa: S608  # our own constants


def fba_orders(tx: AccountTransaction, *, limit: int, statuses: Sequence[str] = OPEN_STATUSES) -> Sequence[AnyRow]:
    """Orders that Amazon ships itself, of these statuses: the late ones first, then the newest.

    (order_id, marketplace_id, status, purchased_at, ship_by, deliver_by, is_late, shipments): `shipments` is text, the
    id and status of each shipment of FBA Onsite, or null. Times are aware, UTC, and null where Amazon gives none: its
    messages and v0 give none of these orders, a search of 2026-01-01 does. By an index of the statuses: it reads all
    orders that are over only where these are asked for.
    """
    values = {"account_id": tx.account_id, "statuses": list(statuses), "limit": limit}
    return tx.execute(_FBA_ORDERS, values).all()


def shipments_by_status(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(status, shipments, newest) of FBA Onsite's shipments, most first."""
    statement = select(
        fba_shipments.c.status, func.count().label("shipments"), func.max(fba_shipments.c.told_at).label("newest")
    ).where(fba_shipments.c.account_id == tx.account_id)
    return tx.execute(statement.group_by(fba_shipments.c.status).order_by(text("shipments desc"))).all()
