"""What becomes of an entry of a search that cannot be read: it is set aside, and its order asked for by its id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.model.order import UnreadableEntry
from orders_pipeline.orders.event_rows import (
    NewOrderEvent,
    insert_order_events,
    insert_parked_message,
    partition_day,
)

ALERT = "search.unreadable_entries"
IDS_SHOWN = 5


def park_entries(tx: AccountTransaction, purpose: str, entries: Sequence[UnreadableEntry]) -> int:
    """Set these entries aside, once a day each; how many orders are to be fetched by their ids for it."""
    if not entries:
        return 0
    now = database_now(tx.connection)
    today = partition_day(now, now).isoformat()
    events: list[NewOrderEvent] = []
    for entry in entries:
        subject = entry.order_id or "without id " + hashlib.sha256(entry.problem.encode()).hexdigest()[:12]
        insert_parked_message(
            tx,
            message_id=f"{purpose}:{today}:{subject}",
            notification_type="search entry",
            reason=entry.problem[:200],
            body_bytes=0,
        )
        if entry.order_id is not None:
            # The search entry is unreadable. Fetch the order itself; if that is unreadable too, it is parked.
            events.append(
                NewOrderEvent(
                    account_id=tx.account_id,
                    order_id=entry.order_id,
                    source=purpose,
                    deduplication_key=f"unreadable:{today}",
                    published_at=now,
                    partition_day=partition_day(now, now),
                    change_type="Search",
                    details={},
                )
            )
    ids = sorted({entry.order_id for entry in entries if entry.order_id is not None})
    named = ", ".join(ids[:IDS_SHOWN]) + (" and others" if len(ids) > IDS_SHOWN else "") if ids else "none has an id"
    raise_alert(
        tx,
        key=ALERT,
        severity="warning",
        message=f"{len(entries)} entries of a search cannot be read ({named}). The rest of the page is recorded.",
        what_to_do="Orders with an id are fetched one by one. For those without, see pipeline.parked_messages and "
        "Seller Central, and report Amazon's answer as a defect.",
    )
    return len(insert_order_events(tx.connection, events))


def close_unreadable(tx: AccountTransaction) -> None:
    """A whole sweep could be read: whatever could not be before is over."""
    close_alert(tx, key=ALERT)
