"""What becomes of an entry of a search that cannot be read: it is set aside, and its order asked for by its id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.model.order import UnreadableEntry
from orders_pipeline.orders.event_rows import (
    NewOrderEvent,
    insert_order_events,
    park_search_entry,
    partition_day,
)

# Before the digest of an entry that names no order.
WITHOUT_ID = "without id "


def park_entries(tx: AccountTransaction, purpose: str, entries: Sequence[UnreadableEntry]) -> int:
    """Set these entries aside, once a day each; how many orders are to be fetched by their ids for it."""
    if not entries:
        return 0
    now = database_now(tx.connection)
    today = partition_day(now, now).isoformat()
    events: list[NewOrderEvent] = []
    for entry in entries:
        subject = entry.order_id or WITHOUT_ID + hashlib.sha256(entry.problem.encode()).hexdigest()[:12]
        park_search_entry(tx, message_id=f"{purpose}:{today}:{subject}", reason=entry.problem[:200])
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
    return len(insert_order_events(tx.connection, events))
