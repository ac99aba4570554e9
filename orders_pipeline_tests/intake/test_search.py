"""Searches resume where they stopped, with the first page's parameters, and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.errors import AmazonPageTokenInvalid, LimitNotBefore
from orders_pipeline.intake.search import SearchTotals, search_events
from orders_pipeline.model.order import Priority, SearchWindow
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXPIRED = AmazonPageTokenInvalid("searchOrders answered 400", operation="searchOrders", status=400)


@pytest.fixture
def window(world: World) -> SearchWindow:
    """A window with five orders, on three pages."""
    for _ in range(5):
        world.order(hear=False)
    world.notified.clear()
    world.ports.page_size = 2
    now = datetime.now(UTC)
    return SearchWindow(now - timedelta(days=1), now + timedelta(minutes=1), (MARKETPLACE,))


def _search(world: World, window: SearchWindow) -> SearchTotals:
    return search_events(
        world.ports, world.database, window, account_id=SELLER, purpose="backfill", priority=Priority.BACKFILL
    )


def _out_of_quota(world: World, page: str) -> None:
    limit = LimitNotBefore("no token", operation="searchOrders", not_before=NOON)
    world.faults.fail("search_orders", limit, page)


def test_every_order_becomes_an_event_once_and_a_day_can_be_read_again(world: World, window: SearchWindow):
    first, again = _search(world, window), _search(world, window)
    assert (first.pages, first.orders_seen, first.events_new, first.finished) == (3, 5, 5, True)
    assert (again.pages, again.orders_seen, again.events_new, again.finished) == (3, 5, 0, True)
    assert world.absorb().outcomes == {"fetch": 5}


def test_a_search_goes_on_after_the_quota_ran_out_with_the_first_pages_parameters(world: World, window: SearchWindow):
    _out_of_quota(world, "2")
    stopped = _search(world, window)
    assert (stopped.pages, stopped.finished, stopped.resume_at) == (1, False, NOON)
    finished = _search(world, window)
    assert (finished.pages, finished.finished) == (2, True)
    assert [token for _, token in world.ports.searched] == [None, "2", "4"]
    assert len({asked for asked, _ in world.ports.searched}) == 1
    assert len(world.rows("pipeline.order_events")) == 5


def test_a_page_token_that_amazon_no_longer_takes_begins_the_window_again(world: World, window: SearchWindow):
    world.faults.fail("search_orders", EXPIRED, "2")
    totals = _search(world, window)
    assert totals.finished
    assert [token for _, token in world.ports.searched] == [None, None, "2", "4"]


def test_a_page_token_that_has_outlived_its_day_is_not_even_tried(world: World, window: SearchWindow):
    _out_of_quota(world, "4")
    _search(world, window)
    world.sql("update pipeline.search_windows set page_token_at = page_token_at - interval '24 hours'")
    assert _search(world, window).finished
    assert [token for _, token in world.ports.searched] == [None, "2", None, "2", "4"]


def test_a_window_whose_second_page_is_always_refused_is_not_begun_again_for_ever(world: World, window: SearchWindow):
    world.faults.fail("search_orders", EXPIRED, "2", times=1000)
    with pytest.raises(AmazonPageTokenInvalid):
        _search(world, window)
    assert len(world.ports.searched) == 2


def test_what_a_notification_told_already_is_not_fetched_again(world: World, window: SearchWindow):
    order_id = world.order()
    world.sync()
    world.sweep()
    world.ports.asked.clear()
    world.absorb()
    world.fetch()
    assert order_id not in [asked for asked, _ in world.ports.asked]
    assert len(world.ports.asked) == 5
