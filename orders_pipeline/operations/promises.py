"""The asset checks of the flow: what each promises, how a breach is counted, what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.channels.amazon.read_plan import MARGIN
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.intake.fba_shipments import FBA_SHIPMENT
from orders_pipeline.intake.fetch_pages import LISTING
from orders_pipeline.intake.sweep import SWEEP
from orders_pipeline.model.states import UNCONFIRMED
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.parked_work import parked_work
from orders_pipeline.orders.ownership import IS_LATE
from orders_pipeline.shipments.alerts import LATE_BEFORE_SHIP_BY

# Runs follow each other within seconds; events that wait this long are not being worked.
EVENT_PATIENCE_SECONDS = 600
# A quiet shop has quiet hours; orders that sweeps find while no notification comes are another matter.
SILENCE_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class Promise:
    """`count`: of how many things it is broken, for one account. Red with the first, as an error or a warning.

    `runbook`: the section that says what to do; `rule`: where the promise comes from.
    """

    name: str
    asset: str
    description: str
    unit: str
    count: Callable[[AccountTransaction], int]
    what_to_do: str
    runbook: str
    rule: str
    is_error: bool = True


def count_for(promise: Promise) -> Callable[[ServedAccount], int]:
    """The count as the work that is done for each account."""

    def count(account: ServedAccount) -> int:
        with account.transaction() as tx:
            return promise.count(tx)

    return count


# What waits to be decided is on its way; what was set aside is not.
_DECIDED = """
    not exists (select from pipeline.jobs j where j.account_id = o.account_id and j.queue = 'decide'
    and j.subject = o.order_id and j.parked_at is null)
"""
# Merchant-fulfilled orders that were read from Amazon. One that is held has a fulfillment order too: a missing one is a
# defect.
_ELIGIBLE = f"""
    o.fulfilled_by = 'MERCHANT' and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and o.fetched_at is not null
    and {_DECIDED} and exists (select 1 from pipeline.order_items i where i.account_id = o.account_id
    and i.order_id = o.order_id and not i.cancelled and i.quantity_ordered > i.quantity_fulfilled)
"""  # noqa: S608  # our own constants


def eligible_not_queued(tx: AccountTransaction) -> int:
    """Orders that should be in the fulfillment queue and are not."""
    return _count(
        tx,
        f"""
            select count(*) from pipeline.orders o where o.account_id = :account_id and {_ELIGIBLE} and not exists
            (select 1 from pipeline.fulfillment_orders q where q.account_id = o.account_id and q.order_id = o.order_id)
        """,  # noqa: S608  # our own constants
    )


def cancelled_yet_shipping(tx: AccountTransaction) -> int:
    """Orders that Amazon has cancelled and the queue would still hand to the warehouse."""
    return _count(
        tx,
        f"""
            select count(*) from pipeline.fulfillment_orders q join pipeline.orders o using (account_id, order_id)
            where q.account_id = :account_id and o.status = 'CANCELLED' and {_DECIDED} and q.state = 'queued'
        """,  # noqa: S608  # our own constants
    )


def pushed_with_two_contents(tx: AccountTransaction) -> int:
    """Orders of which the warehouse says that it has them with other content."""
    return _count(tx, "select count(*) from pipeline.wms_orders where account_id = :account_id and answer = 'conflict'")


def unconfirmed_near_deadline(tx: AccountTransaction) -> int:
    """Packages that left and that Amazon does not show, with less than LATE_BEFORE_SHIP_BY to the ship-by time."""
    return _count(
        tx,
        """
            select count(*) from pipeline.shipment_confirmations where account_id = :account_id
            and state = any(:unconfirmed) and state <> 'blocked'
            and ship_by < clock_timestamp() + cast(:before as interval)
        """,
        before=LATE_BEFORE_SHIP_BY,
        unconfirmed=[str(state) for state in UNCONFIRMED],
    )


def unshipped_past_deadline(tx: AccountTransaction) -> int:
    """Orders whose ship-by time has passed and of which Amazon does not show all as shipped."""
    return _count(
        tx,
        f"select count(*) from pipeline.orders o where account_id = :account_id and {IS_LATE}",  # noqa: S608  # our own constant
    )


def events_not_applied(tx: AccountTransaction) -> int:
    """Events that no order has taken in for EVENT_PATIENCE_SECONDS; `nothing_is_parked` counts those set aside."""
    return _count(
        tx,
        """
            select count(*) from pipeline.order_events where account_id = :account_id and processed_at is null
            and parked_at is null and received_at < clock_timestamp() - make_interval(secs => :patience)
        """,
        patience=EVENT_PATIENCE_SECONDS,
    )


# What a page that answered a crowd shows beside it is not found again by the next sweep.
_FOUND = f"source in ('{SWEEP}', '{LISTING}')"

# Another type of message says nothing of whether ORDER_CHANGE comes.
_TOLD_OF_ORDER = f"n.change_type is distinct from '{FBA_SHIPMENT}'"


def missed_in_a_day(tx: AccountTransaction) -> int:
    """Changes of the last day that a search found and no notification has announced, not even since."""
    return _count(
        tx,
        f"""
            select count(*) from pipeline.order_events e where account_id = :account_id and {_FOUND}
            and received_at > statement_timestamp() - interval '1 day' and not exists (
                select from pipeline.order_events n where n.account_id = e.account_id and n.order_id = e.order_id
                and n.source = 'notification' and {_TOLD_OF_ORDER} and n.received_at > e.received_at
                and coalesce(n.changed_at, n.received_at) >= e.changed_at - cast(:margin as interval))
        """,  # noqa: S608  # our own constants
        margin=MARGIN,
    )


def found_in_silence(tx: AccountTransaction) -> int:
    """What searches found within SILENCE_SECONDS in which not one notification came."""
    return _count(
        tx,
        f"""
            select case when count(*) filter (where source = 'notification' and {_TOLD_OF_ORDER}) > 0 then 0
            else count(*) filter (where {_FOUND}) end from pipeline.order_events n
            where account_id = :account_id and received_at > statement_timestamp() - make_interval(secs => :silence)
        """,  # noqa: S608  # our own constants
        silence=SILENCE_SECONDS,
    )


def _count(tx: AccountTransaction, statement: str, **more: object) -> int:
    return int(tx.execute(text(statement), {"account_id": tx.account_id, **more}).scalar_one())


PROMISES = (
    Promise(
        "events_are_applied", "orders", "No event waits longer than ten minutes for its order.", "events",
        events_not_applied, "See why `sync_orders` does not run, or fails.",
        "Failed runs", "ours: a run follows the next within seconds, so that ten minutes without one are no wait.",
    ),
    Promise(
        "nothing_is_parked", "orders", "Nothing was set aside. If it was: mend it, then replay it.", "parked",
        lambda tx: len(parked_work(tx)), "Mend what the alert names, then run `replay_parked`.",
        "Work that waits", "ours: what fails too often is set aside, and nothing is lost without a word.",
        is_error=False,
    ),
    Promise(
        "no_cancelled_order_is_pushed", "fulfillment_queue",
        "No order that Amazon has cancelled waits to be pushed. The push itself decides again.", "orders",
        cancelled_yet_shipping, "Report it; run `recover_order` for the order.",
        "Checks of the flow", "Amazon: an order that it has cancelled must not be shipped.",
    ),
    Promise(
        "every_eligible_order_is_queued", "fulfillment_queue",
        "Every merchant-fulfilled order that is to ship has an entry, if only to say why it waits.", "orders",
        eligible_not_queued, "Report it; run `recover_order` for the order.",
        "Checks of the flow", "ours: an order that is to ship has an entry, be it one that says why it waits.",
    ),
    Promise(
        "pushed_once", "wms_orders", "The warehouse has no order with other content than was sent.", "orders",
        pushed_with_two_contents, "Compare at the warehouse, and correct it there.",
        "Push", "the warehouse's contract: one order reference, one content.",
    ),
    Promise(
        "confirmed_in_time", "shipment_confirmations",
        "Every package that left is confirmed at Amazon four hours before its ship-by time.", "packages",
        unconfirmed_near_deadline, "Look at what is parked; confirm it in Seller Central if the time is short.",
        "Confirm", "Amazon: a shipment that is confirmed after its ship-by time counts as late.",
    ),
    Promise(
        "shipped_in_time", "shipment_confirmations", "No order is past its ship-by time unshipped.", "orders",
        unshipped_past_deadline, "Ask the warehouse; ship the order, or cancel it at Amazon.",
        "Push", "Amazon: an order that leaves after its ship-by time counts as late.",
    ),
    Promise(
        "notifications_miss_nothing", "order_sweeps",
        "Searches of the last day found nothing that no notification has announced.", "missed_in_a_day",
        missed_in_a_day, "One in a while is normal; many: run `doctor`.",
        "Intake", "ours: Amazon promises no delivery, so that what it missed is counted.", is_error=False,
    ),
    Promise(
        "notifications_are_not_silent", "order_sweeps",
        "Orders do not change for hours without a notification coming.", "found_in_silence",
        found_in_silence, "Run `doctor`: subscription and queue policy.",
        "Intake", "ours: a quiet shop has quiet hours; orders that change unannounced are another matter.",
    ),
)  # fmt: skip
