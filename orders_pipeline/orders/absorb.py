"""Take pending order events into the state of their orders.

Belongs here: applying the plan of each event, in one short transaction a batch. Elsewhere: the plan (plan), the calls
it asks for (fetch).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from orders_pipeline.amazon.order import UNKNOWN_FULFILLER, canonical_status
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
            if plan is Plan.IGNORE:
                totals.ignored += 1
                continue
            status = canonical_status(told.status) if told.status else STATUS_UNKNOWN
            if known is None:
                insert_unknown_order(
                    connection,
                    seller_id=seller_id,
                    order_id=order_id,
                    marketplace_id=event.marketplace_id,
                    status=status,
                    fulfilled_by=told.fulfilled_by,
                    # Only an answer of Amazon's, or a status that we take over, is a state; a look to come is none.
                    last_updated_at=told.changed_at if plan is Plan.RECORD else None,
                )
                known = Known(status, told.fulfilled_by, told.changed_at if plan is Plan.RECORD else None, False)
            elif plan is Plan.RECORD and is_news(told, known):
                record_told_status(
                    connection, seller_id=seller_id, order_id=order_id, status=status, changed_at=told.changed_at
                )
                known = Known(status, known.fulfilled_by, told.changed_at or known.last_updated_at, known.fetched)
            if plan is Plan.FETCH:
                fetch = True
            else:
                totals.recorded += 1
        if fetch:
            totals.to_fetch += 1
            request_fetch(connection, seller_id=seller_id, order_id=order_id)


def _known(row: AnyRow) -> Known:
    return Known(
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        last_updated_at=row.last_updated_at,
        fetched=row.fetched_at is not None,
    )
