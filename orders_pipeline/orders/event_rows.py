"""Queries of order events and of parked messages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.database.notifications import notify
from orders_pipeline.model.order import Priority
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.orders.tables import order_events, parked_messages

# The topic under which new ones are notified.
ORDER_EVENTS = "order_events"
# The first day that order events are partitioned by. A year and a half of days keeps the UI quick.
EARLIEST_PARTITION_DAY = date(2026, 1, 1)


def partition_day(published_at: datetime, now: datetime) -> date:
    """The UTC day of an event; today for one that is older than the partitions, or from the future."""
    day = published_at.astimezone(UTC).date()
    return day if EARLIEST_PARTITION_DAY <= day <= now.astimezone(UTC).date() else now.astimezone(UTC).date()


# Ignore a change time further in the future than this: it would outrank every answer of Amazon's.
CLOCK_TOLERANCE = timedelta(minutes=5)
# A message that was set aside stays two weeks at most, whatever its row says of its end.
PARKED_MESSAGE_LIFE = timedelta(days=14)
# The type of an entry of a search that is set aside.
SEARCH_ENTRY = "search entry"


@dataclass(frozen=True, slots=True)
class NewOrderEvent:
    """One thing that Amazon told us. `deduplication_key` makes a second telling a no-op; times aware, UTC.

    `partition_day` is the UTC day under which the UI shows it: see `partition_day`.
    """

    account_id: str
    order_id: str
    source: str
    deduplication_key: str
    published_at: datetime
    partition_day: date
    marketplace_id: str | None = None
    change_type: str | None = None
    level: str | None = None
    status_told: str | None = None
    fulfilled_by_told: str | None = None
    changed_at: datetime | None = None
    details: dict[str, object] | None = None


def insert_order_events(connection: Connection, events: Sequence[NewOrderEvent]) -> list[date]:
    """Record events; return the partition day (UTC) of each that was new, in any order."""
    if not events:
        return []
    rows = [
        {
            "account_id": event.account_id,
            "order_id": event.order_id,
            "source": event.source,
            "deduplication_key": event.deduplication_key,
            "marketplace_id": event.marketplace_id,
            "change_type": event.change_type,
            "level": event.level,
            "status_told": event.status_told,
            "fulfilled_by_told": event.fulfilled_by_told,
            "changed_at": event.changed_at,
            "published_at": event.published_at,
            "partition_day": event.partition_day,
            "details": event.details or {},
        }
        # In one order, whatever the queue's: two processes with the same messages must not wait for each other.
        for event in sorted(events, key=lambda event: (event.order_id, event.deduplication_key))
    ]
    # As many rows of one statement, not as one statement of many rows: that one is compiled anew for each number of
    # rows, and five thousand take 5.4 s instead of 0.8.
    statement = insert(order_events).on_conflict_do_nothing()
    new = connection.execute(statement.returning(order_events.c.account_id, order_events.c.partition_day), rows).all()
    for account_id in sorted({row.account_id for row in new}):
        notify(connection, account_id, ORDER_EVENTS)
    return [row.partition_day for row in new]


def claim_pending_events(tx: AccountTransaction, limit: int) -> Sequence[AnyRow]:
    """Lock events that are still to be applied, skipping those another process holds: a past month's after all others.

    Each of the two is in the order in which it came.
    """
    events, past = order_events.c, Priority.BACKFILL.value
    claimed: list[AnyRow] = []
    for is_next in (events.source != past, events.source == past):
        statement = (
            select(order_events)
            .where(
                events.account_id == tx.account_id,
                events.processed_at.is_(None),
                events.parked_at.is_(None),
                is_next,
            )
            .order_by(events.event_id)
            .limit(limit - len(claimed))
            .with_for_update(skip_locked=True)
        )
        claimed += tx.execute(statement)
        if len(claimed) == limit:
            break
    return claimed


def mark_events_processed(connection: Connection, event_ids: Sequence[int]) -> None:
    if event_ids:
        connection.execute(
            update(order_events)
            .where(order_events.c.event_id.in_(event_ids))
            .values(processed_at=func.clock_timestamp())
        )


def park_events(tx: AccountTransaction, event_ids: Sequence[int], reason: str) -> None:
    """Set events aside that could not be applied. Their order is not pushed until they are replayed."""
    tx.execute(
        update(order_events)
        .where(order_events.c.event_id.in_(event_ids))
        .values(parked_at=func.clock_timestamp(), park_reason=bounded_text(reason, LONGEST_ERROR))
    )


def replay_events(tx: AccountTransaction, order_id: str) -> int:
    """Have the events of this order that were set aside applied again; how many."""
    statement = (
        update(order_events)
        .where(
            order_events.c.account_id == tx.account_id,
            order_events.c.order_id == order_id,
            order_events.c.parked_at.is_not(None),
        )
        .values(parked_at=None, park_reason=None)
    )
    replayed = tx.execute(statement).rowcount
    if replayed:
        notify(tx.connection, tx.account_id, ORDER_EVENTS)
    return replayed


def pending_event(tx: AccountTransaction, order_id: str) -> AnyRow | None:
    """(parked_at) of something that Amazon told about this order and its state does not hold yet.

    One that will be applied before one that was set aside.
    """
    statement = (
        select(order_events.c.parked_at)
        .where(
            order_events.c.account_id == tx.account_id,
            order_events.c.order_id == order_id,
            order_events.c.processed_at.is_(None),
        )
        .order_by(order_events.c.parked_at.asc().nulls_first())
        .limit(1)
    )
    return tx.execute(statement).first()


def latest_change_told(tx: AccountTransaction, order_id: str, since: datetime) -> datetime | None:
    """The latest change of the order by credible events that were applied after `since` (aware, UTC)."""
    c = order_events.c
    statement = select(func.max(c.changed_at)).where(
        c.account_id == tx.account_id,
        c.order_id == order_id,
        c.processed_at > since,
        c.changed_at <= c.received_at + CLOCK_TOLERANCE,
    )
    return tx.execute(statement).scalar_one()


def insert_parked_message(
    tx: AccountTransaction, *, message_id: str, notification_type: str | None, reason: str, body_bytes: int
) -> uuid.UUID | None:
    """Note a message that is set aside; None if the same message was parked before. Its body goes to the vault."""
    statement = (
        insert(parked_messages)
        .values(
            parked_id=uuid.uuid4(),
            account_id=tx.account_id,
            message_id=message_id,
            notification_type=notification_type,
            reason=reason,
            body_bytes=body_bytes,
        )
        .on_conflict_do_nothing()
        .returning(parked_messages.c.parked_id)
    )
    return tx.execute(statement).scalar_one_or_none()


def park_search_entry(tx: AccountTransaction, *, message_id: str, reason: str) -> None:
    """Note an entry of a search that cannot be read, or that it cannot be read once more."""
    statement = insert(parked_messages).values(
        parked_id=uuid.uuid4(),
        account_id=tx.account_id,
        message_id=message_id,
        notification_type=SEARCH_ENTRY,
        reason=reason,
        body_bytes=0,
    )
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=[parked_messages.c.account_id, parked_messages.c.message_id], set_={"replayed_at": None}
        )
    )


def finish_search_entries(tx: AccountTransaction) -> None:
    """Note that the entries of searches that could not be read are over."""
    tx.execute(
        update(parked_messages)
        .where(
            parked_messages.c.account_id == tx.account_id,
            parked_messages.c.notification_type == SEARCH_ENTRY,
            parked_messages.c.replayed_at.is_(None),
        )
        .values(replayed_at=func.clock_timestamp())
    )


def parked_messages_by_reason(tx: AccountTransaction, limit: int = 20) -> Sequence[AnyRow]:
    """(notification_type, reason, messages, newest) of what was set aside in the last two weeks, most first."""
    statement = (
        select(
            parked_messages.c.notification_type,
            parked_messages.c.reason,
            func.count().label("messages"),
            func.max(parked_messages.c.parked_at).label("newest"),
        )
        .where(
            parked_messages.c.account_id == tx.account_id,
            parked_messages.c.parked_at > func.clock_timestamp() - text("interval '14 days'"),
        )
        .group_by(parked_messages.c.notification_type, parked_messages.c.reason)
        .order_by(text("messages desc"))
        .limit(limit)
    )
    return list(tx.execute(statement))
