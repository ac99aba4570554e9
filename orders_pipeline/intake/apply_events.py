"""Take pending order events into the state of their orders."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.intake.echoes import Echoes
from orders_pipeline.intake.event_decision import EventAction, EventFacts, StoredFacts, decide_event, is_news
from orders_pipeline.intake.fba_shipments import apply_fba_event, is_fba_event
from orders_pipeline.intake.save import SHIPPABLE
from orders_pipeline.model.order import AMAZON, MERCHANT, UNKNOWN_FULFILLER, OrderStatus, Priority, canonical_status
from orders_pipeline.model.states import LEFT, FulfillmentState
from orders_pipeline.orders.event_rows import CLOCK_TOLERANCE, claim_pending_events, mark_events_processed, park_events
from orders_pipeline.orders.fetches import awaiting_fetch, record_announced_cancellation, request_fetch
from orders_pipeline.orders.ownership import account_start, awaits_adoption, bought_before_start, take_in
from orders_pipeline.orders.rows import (
    insert_new_order,
    lock_orders,
    queue_states,
    record_announced_status,
)
from orders_pipeline.work.jobs import BACKFILLED
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import apart, error_location

# Small enough that a transaction lasts some tens of milliseconds; the loop goes on until nothing is pending.
EVENTS_A_BATCH = 200
NOTIFICATION = "notification"
STATUS_UNKNOWN = "UNKNOWN"


def apply_events(
    database: Database, *, account_id: str, marketplace_ids: Collection[str], deadline_seconds: float = 45.0
) -> Tally:
    """Take every pending event into its order; the outcomes count events by `EventAction`.

    Safe beside other processes doing the same: each event is locked by one of them. Orders of other marketplaces than
    these are recorded, and nothing is asked about them. If an order's events raise, they are set aside with the reason,
    and the other orders go on. After the deadline no further batch is begun.
    """
    tally, ends_at = Tally(), time.monotonic() + deadline_seconds
    while True:
        with database.transaction(account_id) as tx:
            events = claim_pending_events(tx, EVENTS_A_BATCH)
            if events:
                tally += _Batch(tx, marketplace_ids).apply(events)
            else:
                take_in(tx, marketplace_ids)
        if not events or time.monotonic() >= ends_at:
            return tally


class _Batch:
    """The events of one transaction."""

    def __init__(self, tx: AccountTransaction, marketplace_ids: Collection[str]) -> None:
        self._tx = tx
        self._marketplace_ids = marketplace_ids
        self._awaiting_fetch: set[str] = set()
        self._echoes = Echoes({})

    def apply(self, events: Sequence[AnyRow]) -> Tally:
        by_order: defaultdict[str, list[AnyRow]] = defaultdict(list)
        for event in events:
            by_order[event.order_id].append(event)
        order_ids = sorted(by_order)
        rows = lock_orders(self._tx, order_ids)
        states = queue_states(self._tx, order_ids)
        self._awaiting_fetch = awaiting_fetch(self._tx, order_ids)
        self._echoes = Echoes.of(self._tx, order_ids)
        applied: list[int] = []
        tally = Tally()
        for order_id in order_ids:
            its = by_order[order_id]
            ids = [event.event_id for event in its]

            def apply(order_id: str = order_id, its: Sequence[AnyRow] = its) -> Counter[str]:
                return self._apply_to_order(order_id, its, rows.get(order_id), states.get(order_id))

            result = apart(self._tx.connection, apply)
            if isinstance(result, Exception):
                park_events(self._tx, ids, f"a defect of this program: {error_location(result)}")
                tally += Tally(parked=len(ids), errors={type(result).__name__: 1})
            else:
                applied += ids
                tally += Tally(result)
        mark_events_processed(self._tx.connection, applied)
        return tally

    def _apply_to_order(
        self, order_id: str, events: Sequence[AnyRow], row: AnyRow | None, queue_state: str | None
    ) -> Counter[str]:
        tx, actions = self._tx, Counter[str]()
        stored = _stored_facts(row, queue_state)
        fetch, told_at, marketplace_id = False, None, None
        for event in [one for one in events if is_fba_event(one)]:
            actions["fba_shipment" if apply_fba_event(tx, event) else EventAction.IGNORE.value] += 1
        events = [one for one in events if not is_fba_event(one)]
        for event in events:
            announced = self._event_facts(event, row, queue_state)
            action = decide_event(announced, stored)
            status = canonical_status(announced.status) if announced.status else STATUS_UNKNOWN
            if stored is None:
                taken_over = action is EventAction.RECORD and status != OrderStatus.CANCELLED
                inserted = insert_new_order(
                    tx,
                    order_id=order_id,
                    marketplace_id=event.marketplace_id,
                    status=status,
                    fulfilled_by=announced.fulfilled_by,
                    # An order that awaits its first fetch has no last-updated time yet.
                    last_updated_at=announced.changed_at if taken_over else None,
                    other_marketplace=announced.other_marketplace,
                )
                row = lock_orders(tx, [order_id])[order_id]
                stored = _stored_facts(row, queue_state)
                assert stored is not None
                if not inserted:
                    # Another process inserted the order meanwhile: decide again with its row.
                    announced = self._event_facts(event, row, queue_state)
                    action = decide_event(announced, stored)
                elif action is EventAction.RECORD and status == OrderStatus.CANCELLED:
                    stored = self._stop(order_id, announced, stored, over=True)
            elif action is EventAction.RECORD and status == OrderStatus.CANCELLED and stored.fulfilled_by != AMAZON:
                stored = self._stop(order_id, announced, stored, over=True)
                # A running fetch may return an older state: fetch again.
                fetch = fetch or order_id in self._awaiting_fetch
            if action is EventAction.RECORD and is_news(announced, stored):
                record_announced_status(tx, order_id=order_id, status=status, changed_at=announced.changed_at)
                times = [at for at in (announced.changed_at, stored.last_updated_at) if at is not None]
                stored = replace(stored, status=status, last_updated_at=max(times, default=None))
                # Without the time of the change we cannot compare a running fetch with it: fetch again.
                fetch = fetch or (announced.changed_at is None and order_id in self._awaiting_fetch)
            if action is EventAction.STOP:
                stored = self._stop(order_id, announced, stored, over=False)
            if action in (EventAction.FETCH, EventAction.STOP):
                fetch, told_at = True, max((at for at in (told_at, announced.changed_at) if at), default=None)
                marketplace_id = event.marketplace_id or marketplace_id
            actions[action.value] += 1
        if fetch or self._became_ours(events, row, queue_state):
            # What happens now goes before what happened on a day that somebody asked for.
            priority = BACKFILLED if all(event.source == Priority.BACKFILL.value for event in events) else 0
            request_fetch(tx, order_id=order_id, told_at=told_at, marketplace_id=marketplace_id, priority=priority)
        return actions

    def _became_ours(self, events: Sequence[AnyRow], row: AnyRow | None, queue_state: str | None) -> bool:
        """Whether a message makes an order ours that only a search had found: its address was not kept until now."""
        if row is None or row.has_address or row.status not in SHIPPABLE or row.fulfilled_by != MERCHANT:
            return False
        if row.purchased_at is None or queue_state not in (None, FulfillmentState.HELD):
            return False
        if not any(event.source == NOTIFICATION for event in events):
            return False
        is_old = bought_before_start(account_start(self._tx), row.purchased_at)
        return is_old and not awaits_adoption(self._tx, row)

    def _event_facts(self, event: AnyRow, row: AnyRow | None, queue_state: str | None) -> EventFacts:
        return EventFacts(
            status=event.status_told,
            fulfilled_by=event.fulfilled_by_told or UNKNOWN_FULFILLER,
            change_type=event.change_type,
            changed_at=_believed(event.changed_at, event.received_at),
            other_marketplace=self._is_other(event, row, queue_state),
            # A fetch that is on its way has to show this too.
            of_our_making=event.order_id not in self._awaiting_fetch and self._echoes.explain(event),
        )

    def _is_other(self, event: AnyRow, row: AnyRow | None, queue_state: str | None) -> bool:
        if queue_state is not None:
            # It was ours when it was queued, and is brought to its end.
            return False
        marketplace_id = event.marketplace_id
        if row is not None and (row.fetched_at is not None or marketplace_id is None):
            marketplace_id = row.marketplace_id
        return marketplace_id is not None and marketplace_id not in self._marketplace_ids

    def _stop(self, order_id: str, announced: EventFacts, stored: StoredFacts, *, over: bool) -> StoredFacts:
        record_announced_cancellation(self._tx, order_id=order_id, told_at=announced.changed_at, over=over)
        return replace(stored, cancellation_announced=True, status=OrderStatus.CANCELLED if over else stored.status)


def _believed(changed_at: datetime | None, received_at: datetime) -> datetime | None:
    return None if changed_at is None or changed_at > received_at + CLOCK_TOLERANCE else changed_at


def _stored_facts(row: AnyRow | None, queue_state: str | None) -> StoredFacts | None:
    if row is None:
        return None
    return StoredFacts(
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        last_updated_at=row.last_updated_at,
        fetched=row.fetched_at is not None,
        cancellation_announced=row.cancellation_told_at is not None,
        left=queue_state in LEFT,
    )
