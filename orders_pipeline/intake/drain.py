"""Take notifications off the queue as order events: record, commit, and only then delete.

Every call does a bounded amount of work, and any number of calls may overlap: a sensor tick that runs past its
time-out goes on while the next one starts, and SQS delivers at least once, in no order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.intake.fba_shipments import fba_event
from orders_pipeline.intake.notification import (
    FBA_SHIPMENT_STATUS,
    ORDER_CHANGE,
    FbaShipmentStatus,
    MalformedNotification,
    OrderChange,
    OtherNotification,
    parse_notification,
)
from orders_pipeline.intake.queue import NotificationQueue, QueueMessage, QueueUnavailable
from orders_pipeline.orders.event_rows import (
    PARKED_MESSAGE_LIFE,
    NewOrderEvent,
    insert_order_events,
    insert_parked_message,
    partition_day,
)
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable
from orders_pipeline.work.jobs import KEYS, NOTIFICATIONS
from orders_pipeline.work.pauses import note_refusal, note_success

PARKED_MESSAGE = "parked_message"
# Followed by the type.
NOT_AN_ORDER_CHANGE = "not an order change"


@dataclass(slots=True)
class DrainTotals:
    """What one drain did. `days` holds the UTC days that got a new event."""

    received: int = 0
    new_events: int = 0
    duplicates: int = 0
    parked: int = 0
    undeleted: int = 0
    days: set[date] = field(default_factory=set)
    oldest_sent_at: datetime | None = None
    unavailable: QueueUnavailable | None = None

    def __add__(self, other: DrainTotals) -> DrainTotals:
        sent = [at for at in (self.oldest_sent_at, other.oldest_sent_at) if at is not None]
        return DrainTotals(
            received=self.received + other.received,
            new_events=self.new_events + other.new_events,
            duplicates=self.duplicates + other.duplicates,
            parked=self.parked + other.parked,
            undeleted=self.undeleted + other.undeleted,
            days=self.days | other.days,
            oldest_sent_at=min(sent, default=None),
            unavailable=other.unavailable,
        )

    def as_metadata(self) -> dict[str, int]:
        return {
            "received": self.received,
            "new_events": self.new_events,
            "duplicates": self.duplicates,
            "parked": self.parked,
            "undeleted": self.undeleted,
        }


def drain_notifications(
    queue: NotificationQueue,
    database: Database,
    vault: Vault,
    *,
    account_id: str,
    sellers: Mapping[str, str] | None = None,
    wait_seconds: int = 10,
    budget_seconds: float = 20.0,
    clock: Callable[[], float] = time.monotonic,
) -> DrainTotals:
    """Drain until the queue is empty or the budget is spent; wait (long poll) only for the first message.

    `sellers`: the account of each seller whose messages come by this queue (default: the account's id is its seller's).
    What is of nobody among them is parked under `account_id`.

    A queue that is away is noted until it is read again, and no reason to stop: `unavailable` says why. Raises what
    the database raises; nothing that was not committed has been deleted by then.
    """
    totals, sellers = DrainTotals(), sellers or {account_id: account_id}
    try:
        _drain(queue, database, vault, account_id, sellers, totals, wait_seconds, budget_seconds, clock)
    except QueueUnavailable as error:
        totals.unavailable = error
    for reader in sorted({account_id, *sellers.values()}):
        with database.transaction(reader) as tx:
            if totals.unavailable is None:
                note_success(tx, NOTIFICATIONS)
            else:
                note_refusal(tx, NOTIFICATIONS, None, str(totals.unavailable))
    return totals


def _drain(
    queue: NotificationQueue,
    database: Database,
    vault: Vault,
    account_id: str,
    sellers: Mapping[str, str],
    totals: DrainTotals,
    wait_seconds: int,
    budget_seconds: float,
    clock: Callable[[], float],
) -> None:
    started = clock()
    wait = wait_seconds
    while messages := queue.receive(wait_seconds=wait):
        wait = 0
        recorded = _record(messages, database, vault, account_id, sellers, totals)
        totals.undeleted += len(messages) - len(recorded)
        try:
            totals.undeleted += queue.delete(recorded)
        except QueueUnavailable:
            # They come again, and are recognised.
            totals.undeleted += len(recorded)
            raise
        if clock() - started >= budget_seconds:
            return


def _record(
    messages: Sequence[QueueMessage],
    database: Database,
    vault: Vault,
    account_id: str,
    sellers: Mapping[str, str],
    totals: DrainTotals,
) -> Sequence[QueueMessage]:
    """Commit what the messages say; those of them that may be deleted now.

    What cannot be read is sealed and set aside. While the keys are away it stays on the queue, and holds up no order.
    """
    changes: list[tuple[OrderChange | FbaShipmentStatus, QueueMessage]] = []
    to_park: list[tuple[QueueMessage, str, str | None]] = []
    for message in messages:
        try:
            notification = parse_notification(message.body)
        except MalformedNotification as error:
            to_park.append((message, error.reason, error.notification_type))
            continue
        if isinstance(notification, OtherNotification):
            notification_type = notification.notification_type
            to_park.append((message, f"{NOT_AN_ORDER_CHANGE}: {notification_type}", notification_type))
        elif notification.seller_id not in sellers:
            kind = FBA_SHIPMENT_STATUS if isinstance(notification, FbaShipmentStatus) else ORDER_CHANGE
            to_park.append((message, "another seller's", kind))
        else:
            changes.append((notification, message))
    with database.begin() as connection:
        now = database_now(connection)
        events = [_event_of(change, message, now, sellers[change.seller_id]) for change, message in changes]
        new_days = insert_order_events(connection, events)
    recorded, parked = messages, 0
    try:
        if to_park:
            with database.transaction(account_id) as tx:
                parked = _park(tx, vault, to_park, now)
                if parked:
                    note_success(tx, KEYS)
    except KeyProviderUnavailable as error:
        recorded = [message for _, message in changes]
        with database.transaction(account_id) as tx:
            note_refusal(tx, KEYS, None, str(error))
    totals.received += len(messages)
    totals.parked += parked
    totals.new_events += len(new_days)
    totals.duplicates += len(events) - len(new_days)
    totals.days.update(new_days)
    for message in messages:
        if message.sent_at and (totals.oldest_sent_at is None or message.sent_at < totals.oldest_sent_at):
            totals.oldest_sent_at = message.sent_at
    return recorded


def _event_of(
    told: OrderChange | FbaShipmentStatus, message: QueueMessage, now: datetime, account_id: str
) -> NewOrderEvent:
    if isinstance(told, FbaShipmentStatus):
        return fba_event(told, message, now, account_id)
    return _event(told, message, now, account_id)


def _event(change: OrderChange, message: QueueMessage, now: datetime, account_id: str) -> NewOrderEvent:
    # Without a notification id the transport's own id still recognises a redelivery.
    identity = change.notification_id or f"sqs-{message.message_id}"
    published_at = change.published_at or message.sent_at or now
    return NewOrderEvent(
        account_id=account_id,
        order_id=change.order_id,
        source="notification",
        deduplication_key=f"notification:{identity}",
        published_at=published_at,
        partition_day=partition_day(published_at, now),
        marketplace_id=change.marketplace_id,
        change_type=change.change_type,
        level=change.level,
        status_told=change.status,
        fulfilled_by_told=change.fulfilled_by,
        changed_at=change.changed_at,
        details=change.details,
    )


def _park(
    tx: AccountTransaction, vault: Vault, to_park: Sequence[tuple[QueueMessage, str, str | None]], now: datetime
) -> int:
    """Set messages aside; how many were not before. Rows are locked in one order by every process."""
    parked = 0
    for message, reason, notification_type in sorted(to_park, key=lambda one: one[0].message_id):
        body = message.body.encode("utf-8", errors="replace")
        parked_id = insert_parked_message(
            tx, message_id=message.message_id, notification_type=notification_type, reason=reason, body_bytes=len(body)
        )
        if parked_id is None:
            continue
        parked += 1
        vault.store(
            tx, kind=PARKED_MESSAGE, subject_id=str(parked_id), plaintext=body, expires_at=now + PARKED_MESSAGE_LIFE
        )
    return parked
