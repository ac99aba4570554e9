"""Queries behind the asset checks: each counts what must not be."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction

# What waits to be decided is on its way; what was set aside is not.
_DECIDED = (
    "not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = 'decide' "
    "and j.subject = o.order_id and j.parked_at is null)"
)
# Merchant-fulfilled orders that were read from Amazon. What holds one is in the queue: a missing entry is a defect.
_ELIGIBLE = (
    "o.fulfilled_by = 'MERCHANT' and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and o.fetched_at is not null "  # noqa: S608  # our own constants
    f"and {_DECIDED} and exists (select 1 from pipeline.order_items i where i.account_id = o.account_id "
    "and i.order_id = o.order_id and not i.cancelled and i.quantity_ordered > i.quantity_fulfilled)"
)


@dataclass(frozen=True, slots=True)
class Silence:
    """Whether notifications come while orders change: ages in seconds; None where there has been none at all."""

    newest_notification: float | None
    newest_missed: float | None
    missed_last_day: int


def eligible_not_queued(tx: AccountTransaction) -> int:
    """Orders that should be in the fulfillment queue and are not."""
    return _count(
        tx,
        f"select count(*) from pipeline.orders o where o.account_id = :account_id and {_ELIGIBLE} and not exists "  # noqa: S608
        "(select 1 from pipeline.fulfillment_queue q where q.account_id = o.account_id and q.order_id = o.order_id)",
    )


def cancelled_yet_shipping(tx: AccountTransaction) -> int:
    """Orders that Amazon has cancelled and the queue would still hand to the warehouse."""
    return _count(
        tx,
        "select count(*) from pipeline.fulfillment_queue q join pipeline.orders o using (account_id, order_id) "  # noqa: S608
        f"where q.account_id = :account_id and o.status = 'CANCELLED' and {_DECIDED} and q.state = 'queued'",
    )


def pushed_with_two_contents(tx: AccountTransaction) -> int:
    """Orders of which the warehouse says that it has them with other content."""
    return _count(tx, "select count(*) from pipeline.wms_orders where account_id = :account_id and answer = 'conflict'")


def unconfirmed_near_deadline(tx: AccountTransaction, hours: int) -> int:
    """Packages that left and that Amazon does not show, with less than this many hours to the ship-by time."""
    return _count(
        tx,
        "select count(*) from pipeline.shipment_confirmations where account_id = :account_id and state in "
        "('pending', 'sending', 'sent', 'held', 'refused', 'dropped') "
        "and ship_by < clock_timestamp() + make_interval(hours => :hours)",
        hours=hours,
    )


def unshipped_past_deadline(tx: AccountTransaction) -> int:
    """Orders whose ship-by time has passed with nothing confirmed."""
    return _count(
        tx,
        "select count(*) from pipeline.orders where account_id = :account_id and fulfilled_by = 'MERCHANT' "
        "and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and ship_by < clock_timestamp()",
    )


def oldest_pending_event_seconds(tx: AccountTransaction) -> float:
    """Age of the oldest event that no order has absorbed; 0 if there is none."""
    value = tx.execute(
        text(
            "select coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0) from pipeline.order_events "
            "where account_id = :account_id and processed_at is null"
        ),
        {"account_id": tx.account_id},
    ).scalar_one()
    return float(value)


def silence(tx: AccountTransaction) -> Silence:
    """How long notifications have been silent, and what sweeps found meanwhile."""
    row = tx.execute(
        text(
            "select extract(epoch from clock_timestamp() - max(received_at) filter (where source = 'notification')), "
            "extract(epoch from clock_timestamp() - max(received_at) filter (where source = 'sweep')), "
            "count(*) filter (where source = 'sweep' and received_at > clock_timestamp() - interval '1 day') "
            "from pipeline.order_events where account_id = :account_id"
        ),
        {"account_id": tx.account_id},
    ).one()
    notification, missed, count = row
    return Silence(
        newest_notification=None if notification is None else float(notification),
        newest_missed=None if missed is None else float(missed),
        missed_last_day=int(count),
    )


def _count(tx: AccountTransaction, statement: str, **more: int) -> int:
    return int(tx.execute(text(statement), {"account_id": tx.account_id, **more}).scalar_one())
