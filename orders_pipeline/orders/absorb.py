"""Take pending order events into the state of their orders.

Belongs here: applying the plan of each event, in one short transaction a batch. Elsewhere: the plan (plan), the calls
it asks for (fetch).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from orders_pipeline.amazon.order import UNKNOWN_FULFILLER, OrderStatus, canonical_status
from orders_pipeline.orders.plan import Known, Plan, Told, is_news, plan_event
from orders_pipeline.store.database import AnyRow, Database
from orders_pipeline.store.order_events import claim_pending_events, mark_events_processed
from orders_pipeline.store.orders import insert_unknown_order, lock_orders, record_told_status, request_fetch

# Small enough that a transaction lasts some tens of milliseconds; the loop goes on until nothing is pending.
EVENTS_A_BATCH = 200
STATUS_UNKNOWN = "UNKNOWN"


@dataclass(slots=True)
class AbsorbTotals:
    """What became of the events. `recorded` and `ignored` cost no call to Amazon."""

    events: int = 0
    recorded: int = 0
    ignored: int = 0
    to_fetch: int = 0


def absorb_events(database: Database, *, seller_id: str) -> AbsorbTotals:
    """Absorb every pending event. Safe beside other processes doing the same: each event is locked by one of them."""
    totals = AbsorbTotals()
    while True:
        with database.transaction() as connection:
            events = claim_pending_events(connection, seller_id, EVENTS_A_BATCH)
            if not events:
                return totals
            _absorb(connection, seller_id, events, totals)
            mark_events_processed(connection, [event.event_id for event in events])


def _absorb(connection: Connection, seller_id: str, events: Sequence[AnyRow], totals: AbsorbTotals) -> None:
    by_order: defaultdict[str, list[AnyRow]] = defaultdict(list)
    for event in events:
        by_order[event.order_id].append(event)
    known_rows = lock_orders(connection, seller_id, sorted(by_order))
    for order_id in sorted(by_order):
        row = known_rows.get(order_id)
        known = _known(row) if row is not None else None
        fetch = False
        for event in by_order[order_id]:
            told = Told(
                status=event.status_told,
                fulfilled_by=event.fulfilled_by_told or UNKNOWN_FULFILLER,
                change_type=event.change_type,
                changed_at=event.changed_at,
            )
            plan = plan_event(told, known)
            totals.events += 1
            status = canonical_status(told.status) if told.status else STATUS_UNKNOWN
            if known is None:
                known = Known(status, told.fulfilled_by, told.changed_at if plan is Plan.RECORD else None, False)
                inserted = insert_unknown_order(
                    connection,
                    seller_id=seller_id,
                    order_id=order_id,
                    marketplace_id=event.marketplace_id,
                    status=status,
                    fulfilled_by=told.fulfilled_by,
                    # Only an answer of Amazon's, or a status that we take over, is a state; a look to come is none.
                    last_updated_at=known.last_updated_at,
                )
                if not inserted:
                    # Another process made it known meanwhile: this event meets the order that is there.
                    row = lock_orders(connection, seller_id, [order_id])[order_id]
                    known = _known(row)
                    plan = plan_event(told, known)
            if plan is Plan.RECORD and is_news(told, known):
                record_told_status(
                    connection, seller_id=seller_id, order_id=order_id, status=status, changed_at=told.changed_at
                )
                times = [at for at in (told.changed_at, known.last_updated_at) if at is not None]
                known = Known(status, known.fulfilled_by, max(times, default=None), known.fetched)
                # Without Amazon's time of the change, an answer that is on its way cannot be told from a newer one.
                fetch = fetch or (told.changed_at is None and row is not None and row.fetch_due_at is not None)
            if plan is Plan.FETCH:
                fetch = True
            elif plan is Plan.RECORD:
                totals.recorded += 1
            else:
                totals.ignored += 1
        # Cancelled is final: there is nothing left to ask.
        if fetch and known is not None and known.status != OrderStatus.CANCELLED:
            totals.to_fetch += 1
            request_fetch(connection, seller_id=seller_id, order_id=order_id)


def _known(row: AnyRow) -> Known:
    return Known(
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        last_updated_at=row.last_updated_at,
        fetched=row.fetched_at is not None,
    )
