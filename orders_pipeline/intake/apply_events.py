"""Take pending order events into the state of their orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.intake.event_decision import Known, Plan, Told, is_news, plan_event
from orders_pipeline.intake.other_marketplaces import review_other_marketplaces
from orders_pipeline.model.order import AMAZON, UNKNOWN_FULFILLER, OrderStatus, canonical_status
from orders_pipeline.model.states import LEFT
from orders_pipeline.orders.event_rows import claim_pending_events, mark_events_processed
from orders_pipeline.orders.questions import record_told_cancellation
from orders_pipeline.orders.rows import (
    insert_unknown_order,
    lock_orders,
    queue_states,
    record_told_status,
    request_fetch,
)

# Small enough that a transaction lasts some tens of milliseconds; the loop goes on until nothing is pending.
EVENTS_A_BATCH = 200
STATUS_UNKNOWN = "UNKNOWN"
# A change later than this after its event came has not happened: its time would outrank every answer of Amazon's.
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(slots=True)
class AbsorbTotals:
    """What became of the events. `recorded` and `ignored` cost no call to Amazon."""

    events: int = 0
    recorded: int = 0
    ignored: int = 0
    to_fetch: int = 0
    other_marketplaces: int = 0


def absorb_events(database: Database, *, account_id: str, marketplace_ids: Collection[str]) -> AbsorbTotals:
    """Absorb every pending event. Safe beside other processes doing the same: each event is locked by one of them.

    Orders of other marketplaces than these are recorded, and nothing is asked about them.
    """
    totals = AbsorbTotals()
    while True:
        with database.transaction(account_id) as tx:
            events = claim_pending_events(tx, EVENTS_A_BATCH)
            if events:
                _Batch(tx, marketplace_ids, totals).absorb(events)
                mark_events_processed(tx.connection, [event.event_id for event in events])
                continue
            review_other_marketplaces(tx, marketplace_ids)
            return totals


class _Batch:
    """The events of one transaction."""

    def __init__(self, tx: AccountTransaction, marketplace_ids: Collection[str], totals: AbsorbTotals) -> None:
        self._tx = tx
        self._marketplace_ids = marketplace_ids
        self._totals = totals

    def absorb(self, events: Sequence[AnyRow]) -> None:
        by_order: defaultdict[str, list[AnyRow]] = defaultdict(list)
        for event in events:
            by_order[event.order_id].append(event)
        rows = lock_orders(self._tx, sorted(by_order))
        states = queue_states(self._tx, sorted(by_order))
        for order_id in sorted(by_order):
            self._absorb_order(order_id, by_order[order_id], rows.get(order_id), states.get(order_id))

    def _absorb_order(
        self, order_id: str, events: Sequence[AnyRow], row: AnyRow | None, queue_state: str | None
    ) -> None:
        tx, totals = self._tx, self._totals
        known = _known(row, queue_state)
        fetch, told_at, marketplace_id = False, None, None
        for event in events:
            totals.events += 1
            told = self._told(event, row, queue_state)
            plan = plan_event(told, known)
            status = canonical_status(told.status) if told.status else STATUS_UNKNOWN
            if known is None:
                taken_over = plan is Plan.RECORD and status != OrderStatus.CANCELLED
                inserted = insert_unknown_order(
                    tx,
                    order_id=order_id,
                    marketplace_id=event.marketplace_id,
                    status=status,
                    fulfilled_by=told.fulfilled_by,
                    # Only an answer of Amazon's, or a status that we take over, is a state; a fetch to come is none.
                    last_updated_at=told.changed_at if taken_over else None,
                    other_marketplace=told.other_marketplace,
                )
                row = lock_orders(tx, [order_id])[order_id]
                known = _known(row, queue_state)
                assert known is not None
                if not inserted:
                    # Another process made it known meanwhile: this event meets the order that is there.
                    told = self._told(event, row, queue_state)
                    plan = plan_event(told, known)
                elif plan is Plan.RECORD and status == OrderStatus.CANCELLED:
                    known = self._stop(order_id, told, known, over=True)
            elif plan is Plan.RECORD and status == OrderStatus.CANCELLED and known.fulfilled_by != AMAZON:
                known = self._stop(order_id, told, known, over=True)
                # An answer that is on its way may be older.
                fetch = fetch or (row is not None and row.fetch_due_at is not None)
            if plan is Plan.RECORD and is_news(told, known):
                record_told_status(tx, order_id=order_id, status=status, changed_at=told.changed_at)
                times = [at for at in (told.changed_at, known.last_updated_at) if at is not None]
                known = replace(known, status=status, last_updated_at=max(times, default=None))
                # Without Amazon's time of the change, an answer that is on its way cannot be told from a newer one.
                fetch = fetch or (told.changed_at is None and row is not None and row.fetch_due_at is not None)
            if plan is Plan.STOP:
                known = self._stop(order_id, told, known, over=False)
            if plan in (Plan.FETCH, Plan.STOP):
                fetch, told_at = True, max((at for at in (told_at, told.changed_at) if at), default=None)
                marketplace_id = event.marketplace_id or marketplace_id
            elif plan is Plan.RECORD:
                totals.recorded += 1
            else:
                totals.ignored += 1
            totals.other_marketplaces += told.other_marketplace
        if fetch:
            totals.to_fetch += 1
            request_fetch(tx, order_id=order_id, told_at=told_at, marketplace_id=marketplace_id)

    def _told(self, event: AnyRow, row: AnyRow | None, queue_state: str | None) -> Told:
        return Told(
            status=event.status_told,
            fulfilled_by=event.fulfilled_by_told or UNKNOWN_FULFILLER,
            change_type=event.change_type,
            changed_at=_believed(event.changed_at, event.received_at),
            other_marketplace=self._is_other(event, row, queue_state),
        )

    def _is_other(self, event: AnyRow, row: AnyRow | None, queue_state: str | None) -> bool:
        if queue_state is not None:
            # It was ours when it was queued, and is brought to its end.
            return False
        marketplace_id = event.marketplace_id
        if row is not None and (row.fetched_at is not None or marketplace_id is None):
            marketplace_id = row.marketplace_id
        return marketplace_id is not None and marketplace_id not in self._marketplace_ids

    def _stop(self, order_id: str, told: Told, known: Known, *, over: bool) -> Known:
        record_told_cancellation(self._tx, order_id=order_id, told_at=told.changed_at, over=over)
        return replace(known, cancellation_told=True, status=OrderStatus.CANCELLED if over else known.status)


def _believed(changed_at: datetime | None, received_at: datetime) -> datetime | None:
    return None if changed_at is None or changed_at > received_at + CLOCK_TOLERANCE else changed_at


def _known(row: AnyRow | None, queue_state: str | None) -> Known | None:
    if row is None:
        return None
    return Known(
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        last_updated_at=row.last_updated_at,
        fetched=row.fetched_at is not None,
        cancellation_told=row.cancellation_told_at is not None,
        left=queue_state in LEFT,
    )
