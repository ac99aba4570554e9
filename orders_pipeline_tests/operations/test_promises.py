"""What the checks of the flow count."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from orders_pipeline.intake.fetch_pages import LISTING
from orders_pipeline.intake.sweep import SWEEP
from orders_pipeline.operations.promises import found_in_silence, missed_in_a_day, unshipped_past_deadline
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _found(world: World, source: str, order_id: str, changed_at: datetime) -> None:
    event = NewOrderEvent(
        account_id=SELLER,
        order_id=order_id,
        source=source,
        deduplication_key=f"updated:{changed_at.isoformat()}",
        published_at=changed_at,
        partition_day=changed_at.date(),
        changed_at=changed_at,
    )
    with world.database.begin() as connection:
        insert_order_events(connection, [event])


def _counts(world: World) -> tuple[int, int]:
    with world.database.transaction(SELLER) as tx:
        return missed_in_a_day(tx), found_in_silence(tx)


@pytest.mark.parametrize("source", [SWEEP, LISTING, "backfill"])
def test_what_no_notification_told_counts_whichever_search_of_the_present_found_it(world: World, source: str):
    """What a page found beside a crowd, the next sweep does not find. A backfill looks at what nobody was told of."""
    _found(world, source, "111-1", world.database.now() - timedelta(minutes=5))
    expected = 0 if source == "backfill" else 1
    assert _counts(world) == (expected, expected)


def test_what_a_notification_told_later_was_not_missed(world: World):
    """After an outage messages wait, and pages are read meanwhile."""
    changed_at = world.database.now() - timedelta(minutes=30)
    _found(world, LISTING, "111-1", changed_at)
    announce(world, "111-1", "Unshipped", changed_at - timedelta(hours=1))
    assert _counts(world) == (1, 0), "it told an earlier change"
    announce(world, "111-1", "Unshipped", changed_at - timedelta(seconds=30))
    assert _counts(world) == (0, 0)


def test_an_order_of_a_marketplace_that_nobody_serves_here_is_not_late(world: World):
    ours, elsewhere = world.accepted(), world.accepted()
    world.sql("update pipeline.orders set ship_by = clock_timestamp() - interval '1 minute'")
    world.sql("update pipeline.orders set other_marketplace = true where order_id = :id", id=elsewhere)
    with world.database.transaction(SELLER) as tx:
        assert unshipped_past_deadline(tx) == 1, ours
