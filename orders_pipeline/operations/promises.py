"""Queries behind the asset checks: each counts what must not be."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Merchant-fulfilled orders that were read from Amazon. What holds one is in the queue: a missing entry is a defect.
_ELIGIBLE = (
    "o.fulfilled_by = 'MERCHANT' and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and o.fetched_at is not null "
    "and not o.queue_stale and exists (select 1 from pipeline.order_items i where i.seller_id = o.seller_id "
    "and i.order_id = o.order_id and not i.cancelled and i.quantity_ordered > i.quantity_fulfilled)"
)


@dataclass(frozen=True, slots=True)
class Silence:
    """Whether notifications come while orders change: ages in seconds; None where there has been none at all."""

    newest_notification: float | None
    newest_missed: float | None
    missed_last_day: int


def eligible_without_entry(connection: Connection, seller_id: str) -> int:
    """Orders that should be in the fulfillment queue and are not."""
    return _count(
        connection,
        f"select count(*) from pipeline.orders o where o.seller_id = :seller_id and {_ELIGIBLE} and not exists "  # noqa: S608
        "(select 1 from pipeline.fulfillment_queue q where q.seller_id = o.seller_id and q.order_id = o.order_id)",
        seller_id,
    )


def cancelled_yet_shipping(connection: Connection, seller_id: str) -> int:
    """Orders that Amazon has cancelled and the queue would still hand to the warehouse."""
    return _count(
        connection,
        "select count(*) from pipeline.fulfillment_queue q join pipeline.orders o using (seller_id, order_id) "
        "where q.seller_id = :seller_id and o.status = 'CANCELLED' and not o.queue_stale and q.state = 'queued'",
        seller_id,
    )


def pushed_with_two_contents(connection: Connection, seller_id: str) -> int:
    """Orders of which the warehouse says that it has them with other content."""
    return _count(
        connection,
        "select count(*) from pipeline.wms_orders where seller_id = :seller_id and answer = 'conflict'",
        seller_id,
    )


def unconfirmed_near_deadline(connection: Connection, seller_id: str, hours: int) -> int:
    """Packages that left and that Amazon does not show, with less than this many hours to the ship-by time."""
    return _count(
        connection,
        "select count(*) from pipeline.shipment_confirmations where seller_id = :seller_id and state in "
        "('pending', 'sending', 'sent', 'held', 'refused', 'dropped') "
        "and ship_by < clock_timestamp() + make_interval(hours => :hours)",
        seller_id,
        hours=hours,
    )


def unshipped_past_deadline(connection: Connection, seller_id: str) -> int:
    """Orders whose ship-by time has passed with nothing confirmed."""
    return _count(
        connection,
        "select count(*) from pipeline.orders where seller_id = :seller_id and fulfilled_by = 'MERCHANT' "
        "and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and ship_by < clock_timestamp()",
        seller_id,
    )


def oldest_pending_event_seconds(connection: Connection, seller_id: str) -> float:
    """Age of the oldest event that no order has absorbed; 0 if there is none."""
    value = connection.execute(
        text(
            "select coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0) from pipeline.order_events "
            "where seller_id = :seller_id and processed_at is null"
        ),
        {"seller_id": seller_id},
    ).scalar_one()
    return float(value)


def silence(connection: Connection, seller_id: str) -> Silence:
    """How long notifications have been silent, and what sweeps found meanwhile."""
    row = connection.execute(
        text(
            "select extract(epoch from clock_timestamp() - max(received_at) filter (where source = 'notification')), "
            "extract(epoch from clock_timestamp() - max(received_at) filter (where source = 'sweep')), "
            "count(*) filter (where source = 'sweep' and received_at > clock_timestamp() - interval '1 day') "
            "from pipeline.order_events where seller_id = :seller_id"
        ),
        {"seller_id": seller_id},
    ).one()
    notification, missed, count = row
    return Silence(
        newest_notification=None if notification is None else float(notification),
        newest_missed=None if missed is None else float(missed),
        missed_last_day=int(count),
    )


def _count(connection: Connection, statement: str, seller_id: str, **more: int) -> int:
    return int(connection.execute(text(statement), {"seller_id": seller_id, **more}).scalar_one())
