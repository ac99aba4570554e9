"""Messages that anybody who can write to the queue could have written, as the events that they become."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

_numbers = count(1)


def announce(
    world: World,
    order_id: str,
    status: str,
    at: datetime | None = None,
    *,
    fulfilled_by: str = "MERCHANT",
    marketplace_id: str | None = None,
) -> None:
    now = datetime.now(UTC)
    event = NewOrderEvent(
        account_id=SELLER,
        order_id=order_id,
        source="notification",
        deduplication_key=f"test:{next(_numbers)}",
        published_at=now,
        partition_day=now.date(),
        change_type="OrderStatusChange",
        marketplace_id=marketplace_id,
        status_told=status,
        fulfilled_by_told=fulfilled_by,
        changed_at=at,
    )
    with world.database.begin() as connection:
        insert_order_events(connection, [event])
