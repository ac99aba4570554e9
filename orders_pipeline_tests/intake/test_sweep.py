"""What only a sweep saw is news; what it cannot read is set aside; a window that always fails is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonUnavailable
from orders_pipeline.fulfillment.alerts import FEWER_PIECES
from orders_pipeline.intake.search import search_events
from orders_pipeline.intake.sweep import (
    OUTAGE_ATTEMPTS,
    WINDOW_ATTEMPTS,
    SweepTotals,
    is_missed,
    sweep_orders,
    sweep_window,
)
from orders_pipeline.model.order import Order, OrderItem, Priority, SearchWindow
from orders_pipeline.model.untrusted_text import LONGEST_ERROR
from orders_pipeline.orders.known_orders import KnownOrder
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ITEM = OrderItem("1", 3, 0)
ORDER = Order("115-1", MARKETPLACE, "UNSHIPPED", "MERCHANT", NOON, NOON, (ITEM,), ship_by=NOON)
KNOWN = KnownOrder("UNSHIPPED", "MERCHANT", NOON - timedelta(hours=1), True, False, False, False, NOON, {"1": 3})
REFUSED = AmazonBadRequest("searchOrders answered 400", operation="searchOrders", status=400)
AWAY = AmazonUnavailable("searchOrders answered 503", operation="searchOrders", status=503)


@pytest.fixture(autouse=True)
def _listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orders_pipeline.intake.sweep.SEARCH_HOLDBACK", timedelta(seconds=-5))


def _sweep(world: World) -> SweepTotals:
    return sweep_orders(world.ports, world.database, account_id=SELLER, marketplace_ids=(MARKETPLACE,))


def test_a_buyers_request_that_only_the_sweep_saw_holds_the_order_at_the_warehouse(world: World):
    order_id = world.accepted()
    world.amazon.request_cancellation(order_id, notify=False)
    assert _sweep(world).missed == 1
    world.sync()
    assert world.state(order_id) == "holding"
    assert _sweep(world).missed == 0


def test_a_partial_cancellation_found_by_a_sweep_reduces_the_push_or_alerts(world: World):
    accepted, waiting = world.accepted(quantities=(3,)), world.order(quantities=(3,), hear=False)
    world.amazon.withhold_address(waiting, 3600)
    world.hear()
    world.sync()
    for order_id in (accepted, waiting):
        world.amazon.orders[order_id].items[0].quantity = 1
        world.amazon.change_status(order_id, "UNSHIPPED", notify=False)
    # Nothing else would ask for it before the sweep does.
    world.sql("delete from pipeline.jobs where queue = 'fetch'")
    world.clock.advance(timedelta(hours=2))
    assert _sweep(world).missed == 2
    world.sync()
    assert "order.fewer_pieces" in world.alerts([FEWER_PIECES])
    assert [row.quantity_ordered for row in world.rows("pipeline.order_items", "order_id, quantity_ordered")] == [1, 1]
    assert world.state(waiting) == "accepted"


@pytest.mark.parametrize(
    ("change", "known", "missed"),
    [
        ({}, {}, False),
        ({}, {"status": "PENDING"}, True),
        ({}, {"fulfilled_by": "AMAZON"}, True),
        ({"fulfilled_by": "UNKNOWN"}, {}, False),
        ({}, {"fetched": False}, True),
        ({}, {"fetched": False, "fetch_is_due": True}, False),
        ({}, {"cancellation_requested": True}, True),
        ({"items": (replace(ITEM, cancellation_requested=True),)}, {}, True),
        ({"items": (replace(ITEM, quantity_ordered=2),)}, {}, True),
        ({"items": (replace(ITEM, cancelled=True),)}, {}, True),
        ({"ship_by": NOON + timedelta(days=1)}, {}, True),
        # An older listing than what was read, or an order that is over.
        ({"items": (replace(ITEM, quantity_ordered=2),)}, {"last_updated_at": NOON + timedelta(hours=1)}, False),
        ({"status": "SHIPPED", "items": ()}, {"status": "SHIPPED"}, False),
        # v0 lists no items: any change may be theirs.
        ({"items": ()}, {}, True),
        ({"items": ()}, {"last_updated_at": NOON}, False),
    ],
)
def test_a_listing_is_news_where_it_tells_what_matters(change: dict[str, Any], known: dict[str, Any], missed: bool):
    assert is_missed(replace(ORDER, **change), replace(KNOWN, **known)) is missed


def _break(world: World, order_id: str, **fields: Any) -> None:
    def alter(body: dict[str, Any]) -> None:
        if body["orderId"] == order_id:
            for name, value in fields.items():
                body[name] = value

    world.ports.alter = alter


@pytest.mark.parametrize(
    ("fields", "has_id"),
    [
        ({"lastUpdatedTime": "yesterday"}, True),
        ({"orderItems": "none"}, True),
        ({"fulfillment": {"fulfillmentStatus": "A\x00B"}, "lastUpdatedTime": None}, True),
        ({"orderId": "x" * 9000}, False),
        ({"orderId": None}, False),
    ],
)
def test_an_unreadable_entry_is_parked_and_the_sweep_goes_on(world: World, fields: dict[str, Any], has_id: bool):
    bad, good = world.order(hear=False), world.order(hear=False)
    world.notified.clear()
    _break(world, bad, **fields)
    swept = _sweep(world)
    assert (swept.search.finished, swept.search.unreadable) == (True, 1)
    (parked,) = world.rows("pipeline.parked_messages", "message_id, reason")
    assert (bad in parked.message_id) is has_id
    assert "search.unreadable_entries" in world.alerts()
    assert (bad in world.alerts()["search.unreadable_entries"].message) is has_id
    world.ports.alter = None
    world.sync()
    assert world.state(good) == "accepted"
    if has_id:
        assert world.state(bad) == "accepted", "fetched by its id"
    _sweep(world)
    assert "search.unreadable_entries" not in world.alerts()


def test_texts_that_no_database_takes_neither_stop_the_page_nor_the_order(world: World):
    order_id = world.order(hear=False)
    world.notified.clear()

    def alter(body: dict[str, Any]) -> None:
        body["salesChannel"]["marketplaceName"] = "\x00"
        body["orderItems"][0]["product"]["title"] = "\ud800"
        body["fulfillment"]["fulfillmentServiceLevel"] = "A\x00"
        if "recipient" in body:
            body["recipient"]["deliveryAddress"]["name"] = "N\x00 N"

    world.ports.alter = alter
    assert _sweep(world).missed == 1
    world.sync()
    assert world.state(order_id) == "accepted"


def test_a_window_that_always_fails_is_given_up_told_and_the_next_begins_after_it(world: World):
    world.order(hear=False)
    world.faults.fail("search_orders", REFUSED, times=WINDOW_ATTEMPTS)
    for _ in range(WINDOW_ATTEMPTS - 1):
        with pytest.raises(AmazonBadRequest):
            _sweep(world)
    assert world.alerts() == {}
    first = world.ports.searched
    swept = _sweep(world)
    assert swept.search.finished
    assert first == world.ports.searched
    (given_up,) = world.rows("pipeline.search_windows", "updated_before, failures", "given_up_at is not null")
    assert given_up.failures == WINDOW_ATTEMPTS
    assert swept.window is not None
    assert swept.window.updated_after == given_up.updated_before
    alert = world.alerts()["search.given_up"]
    assert "order_events" in alert.what_to_do
    # A person has the days searched again: then it is made good.
    end = datetime.now(UTC) + timedelta(minutes=10)
    window = SearchWindow(end - timedelta(days=2), end, (MARKETPLACE,))
    search_events(
        world.ports, world.database, window, account_id=SELLER, purpose="backfill", priority=Priority.BACKFILL
    )
    _sweep(world)
    assert "search.given_up" not in world.alerts()


def test_an_outage_of_amazons_gives_no_window_up(world: World):
    away = AmazonUnavailable("searchOrders answered 503", operation="searchOrders", status=503)
    world.faults.fail("search_orders", away, times=WINDOW_ATTEMPTS + 2)
    for _ in range(WINDOW_ATTEMPTS + 2):
        with pytest.raises(AmazonUnavailable):
            _sweep(world)
    assert _sweep(world).search.finished
    assert world.rows("pipeline.search_windows", "window_id, failures", "given_up_at is not null") == []


@pytest.mark.parametrize("refused_page", [2, 3])
def test_a_window_whose_later_page_always_fails_is_given_up_too(world: World, refused_page: int):
    for _ in range(6):
        world.order(hear=False)
    world.ports.page_size = 2
    token = str(2 * (refused_page - 1))
    world.faults.fail("search_orders", REFUSED, token, times=1000)
    for _ in range(WINDOW_ATTEMPTS - 1):
        with pytest.raises(AmazonBadRequest):
            _sweep(world)
    assert _sweep(world).search.finished
    assert "search.given_up" in world.alerts()
    world.faults.clear()


def test_an_outage_of_amazons_does_not_begin_a_window_of_many_pages_anew(world: World):
    for _ in range(6):
        world.order(hear=False)
    world.ports.page_size = 2
    for token in ("2", "4"):
        world.faults.fail("search_orders", AWAY, token)
        with pytest.raises(AmazonUnavailable):
            _sweep(world)
    assert _sweep(world).search.finished
    assert [token for _, token in world.ports.searched] == [None, "2", "4"]


def test_outages_do_not_count_as_the_windows_own_failures(world: World):
    world.order(hear=False)
    world.faults.fail("search_orders", AWAY, times=WINDOW_ATTEMPTS)
    world.faults.fail("search_orders", REFUSED)
    for error in (*[AmazonUnavailable] * WINDOW_ATTEMPTS, AmazonBadRequest):
        with pytest.raises(error):
            _sweep(world)
    assert _sweep(world).search.finished
    assert world.alerts() == {}


def test_a_page_that_amazon_never_serves_is_given_up_although_its_token_expires(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(4):
        world.order(hear=False)
    world.ports.page_size = 2
    world.faults.fail("search_orders", AWAY, "2", times=1000)
    for _ in range(OUTAGE_ATTEMPTS - 1):
        # Each time the window begins anew: its first page is read, and says nothing about the second.
        monkeypatch.setattr("orders_pipeline.intake.search.PAGE_TOKEN_LIFE", timedelta())
        with pytest.raises(AmazonUnavailable):
            _sweep(world)
    assert _sweep(world).search.finished
    assert "search.given_up" in world.alerts()


def test_only_the_sweep_after_midnight_looks_back_into_what_was_given_up():
    last, gap = NOON - timedelta(hours=1), NOON - timedelta(minutes=70)
    hourly = sweep_window(last, NOON, (MARKETPLACE,), after_gap=gap)
    assert hourly is not None
    assert hourly.updated_after == gap
    daily = sweep_window(last - timedelta(days=1), NOON, (MARKETPLACE,), after_gap=gap)
    assert daily is not None
    assert daily.updated_after == last - timedelta(days=2)


def test_the_next_sweep_begins_at_the_earliest_gap(world: World):
    now = world.database.now()
    for begun, ended in ((timedelta(hours=49), timedelta(hours=24)), (timedelta(hours=80), timedelta(hours=60))):
        world.sql(
            "insert into pipeline.search_windows "
            "(account_id, purpose, updated_after, updated_before, parameters, given_up_at) "
            "values (:seller, 'sweep', :begun, :ended, '{}', now())",
            seller=SELLER,
            begun=now - begun,
            ended=now - ended,
        )
    swept = _sweep(world)
    assert swept.window is not None
    assert swept.window.updated_after == now - timedelta(hours=49), "the other one is more than three days ago"
    world.alerts()
    open_keys = [row.key for row in world.rows("pipeline.alerts", "key, message", "closed_at is null")]
    assert open_keys == ["search.given_up:2"]


@pytest.mark.parametrize("said", ["bad \x00", "bad \ud800", "x" * 60_000])
def test_whatever_a_refusal_says_its_window_is_given_up_all_the_same(world: World, said: str):
    refused = AmazonBadRequest(said, operation="searchOrders", status=400)
    world.faults.fail("search_orders", refused, times=WINDOW_ATTEMPTS)
    for _ in range(WINDOW_ATTEMPTS - 1):
        with pytest.raises(AmazonBadRequest):
            _sweep(world)
    assert _sweep(world).search.finished
    (given_up,) = world.rows("pipeline.search_windows", "last_error, updated_before", "given_up_at is not null")
    assert 0 < len(given_up.last_error) <= LONGEST_ERROR
