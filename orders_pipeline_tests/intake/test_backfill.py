"""A backfill reads each page once, over as many runs as it takes, and asks Amazon only about what must still ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.errors import AmazonRoleMissing, AmazonUnavailable, LimitNotBefore
from orders_pipeline.intake import backfill
from orders_pipeline.intake.backfill import OUTAGE_ATTEMPTS, BackfillProgress, read_days
from orders_pipeline.intake.backfill_plan import Days
from orders_pipeline.intake.backfill_windows import end_request
from orders_pipeline.intake.fetch import FETCH_WORKERS
from orders_pipeline.model.order import Bucket, ReadQuota, SearchPage
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.work.backlog import seconds_until_due
from orders_pipeline.work.jobs import BACKFILLED, Queue
from orders_pipeline.work.queue import claim
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

TODAY = datetime.now(UTC).date()
LATER = datetime(2099, 1, 1, tzinfo=UTC)
AWAY = AmazonUnavailable("searchOrders answered 503", operation="searchOrders", status=503)


def _day(ago: int) -> date:
    return TODAY - timedelta(days=ago)


@pytest.fixture(autouse=True)
def _listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the first minutes of a day."""
    monkeypatch.setattr(backfill, "DAY_IS_LISTED_AFTER", timedelta())


@pytest.fixture
def days() -> Days:
    return Days(_day(30), _day(1))


def _orders(world: World, *ago: int, status: str = "SHIPPED", **more: Any) -> list[str]:
    """An order that last changed so many days ago, for each of them."""
    made = [world.order(hear=False, status=status, **more) for _ in ago]
    for order_id, day in zip(made, ago, strict=True):
        order = world.amazon.orders[order_id]
        order.last_updated = datetime.combine(_day(day), time(12), UTC)
        order.created = order.last_updated - timedelta(hours=1)
    world.notified.clear()
    return made


def _read(world: World, days: Days, request: str = "run-1", fulfilled_by: tuple[str, ...] = ()) -> BackfillProgress:
    return read_days(
        world.ports,
        world.database,
        days,
        account_id=SELLER,
        request=request,
        marketplace_ids=(MARKETPLACE,),
        fulfilled_by=fulfilled_by,
    )


def _out_of_quota(world: World, page: str) -> None:
    world.faults.fail("search_orders", LimitNotBefore("no token", operation="searchOrders", not_before=LATER), page)


def _asked(world: World) -> Sequence[str | None]:
    return [token for _, token in world.ports.searched]


def test_a_month_of_a_small_shop_costs_the_pages_that_its_orders_fill(world: World, days: Days):
    _orders(world, *(ago for ago in range(1, 31) for _ in range(7)))
    progress = _read(world, days)
    assert (progress.pages, progress.orders_seen, progress.events_new, progress.resume_at) == (3, 210, 210, None)
    assert progress.complete == (days,)


def test_no_day_is_complete_before_its_search_is_at_its_end(world: World, days: Days):
    world.ports.page_size = 2
    _orders(world, 9, 8, 3, 2, 1)
    _out_of_quota(world, "4")
    stopped = _read(world, days)
    assert (stopped.pages, stopped.complete, stopped.resume_at, stopped.waits_for) == (2, (), LATER, "the quota")
    finished = _read(world, days)
    assert (finished.pages, finished.complete, finished.resume_at) == (3, (days,), None)


def test_the_run_after_a_killed_one_asks_for_no_page_that_was_read(world: World, days: Days):
    """Whether it was killed between two pages, between two windows or after the last."""
    world.ports.page_size = 2
    _seen_before(world, orders_a_day=3_100)
    _orders(world, *(ago for ago in range(1, 31) for _ in range(3)))
    while True:
        if not _asked(world):
            _out_of_quota(world, "2")
        elif len(_asked(world)) == 9:
            _out_of_quota(world, "first")
        if _read(world, days).resume_at is None:
            break
    windows = {asked for asked, _ in world.ports.searched}
    assert len(windows) == 15, "cut to fit pages"
    assert len(set(world.ports.searched)) == len(world.ports.searched) == 45
    assert _read(world, days).complete == _read(world, days).complete
    assert len(world.ports.searched) == 45
    assert len(world.rows("pipeline.order_events")) == 90


def test_who_asks_for_the_days_again_has_them_read_anew(world: World, days: Days):
    _orders(world, 2, 1)
    _read(world, days)
    assert _read(world, days, "run-2").events_new == 0
    with world.database.transaction(SELLER) as tx:
        end_request(tx, "run-2")
    _read(world, days, "run-2")
    assert _asked(world) == [None] * 3


def test_what_an_earlier_request_left_unfinished_is_gone_on_with_while_its_token_lives(world: World, days: Days):
    world.ports.page_size = 2
    _orders(world, 9, 8, 3, 2, 1)
    _out_of_quota(world, "4")
    _read(world, Days(_day(20), _day(1)))
    world.ports.searched.clear()
    assert _read(world, days, "run-2").resume_at is None
    assert [(Days.of(asked.updated_after, asked.updated_before), token) for asked, token in world.ports.searched] == [
        (Days(_day(30), _day(21)), None),
        (Days(_day(20), _day(1)), "4"),
    ]


def test_what_another_request_took_over_is_read_anew_by_the_one_that_had_begun_it(world: World, days: Days):
    """A killed backfill's retry, after somebody asked for some of its days by another backfill."""
    world.ports.page_size = 2
    _seen_before(world, orders_a_day=3_100)
    _orders(world, *(ago for ago in range(1, 31) for _ in range(3)))
    _out_of_quota(world, "2")
    _read(world, days)
    taken = Days(_day(30), _day(29))
    assert _read(world, taken, "run-2").complete == (taken,)
    retried = _read(world, days)
    assert retried.resume_at is None
    assert sorted(day for span in retried.complete for day in span.each) == days.each


def test_a_window_of_other_fulfillers_or_with_an_old_token_is_not_gone_on_with(world: World, days: Days):
    world.ports.page_size = 2
    _orders(world, 9, 8, 3)
    _out_of_quota(world, "2")
    _read(world, days)
    _out_of_quota(world, "2")
    _read(world, days, "run-2", ("MERCHANT",))
    world.sql("update pipeline.search_windows set page_token_at = page_token_at - interval '24 hours'")
    _read(world, days, "run-3", ("MERCHANT",))
    assert _asked(world) == [None, None, None, "2"]
    assert world.ports.searched[-1][0].fulfilled_by == ("MERCHANT",)


def test_a_day_is_not_searched_before_amazon_lists_its_end(world: World, days: Days, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backfill, "DAY_IS_LISTED_AFTER", timedelta(days=1, minutes=5))
    progress = _read(world, days)
    assert progress.resume_at == days.end + timedelta(days=1, minutes=5)
    assert (_asked(world), progress.complete) == ([], ())


def test_a_day_of_which_amazon_lists_the_end_later_than_our_clocks_say_is_not_complete(
    world: World, days: Days, monkeypatch: pytest.MonkeyPatch
):
    """The client asks for what Amazon lists by Amazon's clock, which may be behind the database's."""
    _orders(world, 2, 1)
    search = world.ports.search_orders

    def lags(*args: Any, **options: Any) -> SearchPage:
        return replace(search(*args, **options), listed_until=days.end - timedelta(minutes=2))

    monkeypatch.setattr(world.ports, "search_orders", lags)
    before = world.database.now()
    stopped = _read(world, days)
    assert stopped.resume_at is not None
    assert timedelta(minutes=2) <= stopped.resume_at - before < timedelta(minutes=3)
    assert (stopped.complete, stopped.waits_for) == ((), "Amazon to list the end of the last day")
    monkeypatch.undo()
    assert _read(world, days).complete == (days,)


def test_an_outage_is_waited_for_and_told_once_it_has_lasted_for_a_day(world: World, days: Days):
    _orders(world, 1)
    world.faults.fail("search_orders", AWAY, times=OUTAGE_ATTEMPTS)
    for attempt in range(1, OUTAGE_ATTEMPTS):
        progress = _read(world, days)
        assert progress.resume_at is not None
        assert f"AmazonUnavailable, {attempt} times" in progress.waits_for
    with pytest.raises(AmazonUnavailable):
        _read(world, days)
    assert _read(world, days).complete == (days,)


def test_what_waiting_does_not_mend_is_raised(world: World, days: Days):
    refused = AmazonRoleMissing("searchOrders answered 403", operation="searchOrders", status=403)
    world.faults.fail("search_orders", refused)
    with pytest.raises(AmazonRoleMissing):
        _read(world, days)


def test_what_the_listing_tells_is_stored_without_a_call_and_details_are_asked_for_what_must_ship(
    world: World, days: Days
):
    _started_long_ago(world)
    shipped, cancelled, pending, fba, to_ship, old = (
        *_orders(world, 3),
        *_orders(world, 3, status="CANCELLED"),
        *_orders(world, 3, status="PENDING"),
        *_orders(world, 3, fulfilled_by="AMAZON"),
        *_orders(world, 3, status="UNSHIPPED"),
        *_orders(world, 3, status="UNSHIPPED"),
    )
    world.amazon.orders[old].created -= timedelta(days=300)
    _read(world, days)
    world.sync()
    assert [order_id for order_id, _ in world.ports.asked] == [to_ship]
    statuses = [(shipped, "SHIPPED"), (cancelled, "CANCELLED"), (pending, "PENDING"), (fba, "SHIPPED")]
    for order_id, status in [*statuses, (to_ship, "UNSHIPPED"), (old, "UNSHIPPED")]:
        row = world.one("pipeline.orders", order_id)
        assert (row.status, row.purchased_at is not None, row.last_updated_at is not None) == (status, True, True)
    assert world.state(to_ship) == "accepted"
    assert world.state(old) == "held", "an old process ships it, until a person adopts it"


def test_a_listing_takes_nothing_back_that_an_answer_has_told(world: World, days: Days):
    (order_id,) = _orders(world, 3, status="UNSHIPPED")
    world.request_fetch(order_id)
    _read(world, days)
    world.sync()
    price = world.one("pipeline.order_items", order_id).unit_price
    assert price is not None
    _read(world, days, "run-2")
    world.sync()
    assert world.one("pipeline.order_items", order_id).unit_price == price


def test_a_live_order_is_fetched_and_pushed_before_what_a_backfill_found(world: World, days: Days):
    _started_long_ago(world)
    backfilled = _orders(world, *range(1, 31), status="UNSHIPPED")
    _read(world, days)
    world.absorb()
    assert {_priority(world, order_id) for order_id in backfilled} == {BACKFILLED}
    live = world.order()
    again = backfilled[7]
    world.amazon.change_status(again, "UNSHIPPED")
    world.hear()
    world.drain()
    world.absorb()
    assert (_priority(world, live), _priority(world, again)) == (0, 0), "a notification makes a backfilled order live"
    world.sync()
    # As many are asked for at once as there are workers.
    assert {live, again} <= {order_id for order_id, _ in world.ports.asked[:FETCH_WORKERS]}


def test_what_a_backfill_found_leaves_live_orders_their_tokens_and_does_not_hold_them_up(world: World, days: Days):
    _started_long_ago(world)
    world.ports.quota = ReadQuota(single=Bucket(10, 0.5, 30, kept=10), listing=Bucket(0, 0.0056, 20))
    backfilled = _orders(world, *range(1, 16), status="UNSHIPPED")
    _read(world, days)
    world.absorb()
    live = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    assert [order_id for order_id, _ in world.ports.asked] == [live]
    with world.database.transaction(SELLER) as tx:
        assert claim(tx, Queue.FETCH, limit=10, lease=timedelta(minutes=1)) == []
        wait = seconds_until_due(tx, [Queue.FETCH])[Queue.FETCH]
    assert 0 < wait <= 2, "until the next token; no run is started for nothing"
    later = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    assert [order_id for order_id, _ in world.ports.asked] == [live, later]
    world.ports.quota = ReadQuota(single=Bucket(29, 0.5, 30, kept=10), listing=Bucket(0, 0.0056, 20))
    world.sql("delete from pipeline.paused_dependencies")
    world.make_due()
    world.fetch()
    assert {order_id for order_id, _ in world.ports.asked} == {live, later, *backfilled}


@pytest.mark.parametrize("why", ["older than a message", "without an address"])
def test_what_a_backfill_asked_for_is_asked_for_again_behind_live_orders(world: World, days: Days, why: str):
    _started_long_ago(world)
    (order_id,) = _orders(world, 3, status="UNSHIPPED")
    _read(world, days)
    world.absorb()
    if why == "without an address":
        world.amazon.withhold_address(order_id, 1e6)
    else:
        world.sql("update pipeline.orders set told_at = clock_timestamp()")
    world.fetch()
    assert [asked for asked, _ in world.ports.asked] == [order_id]
    assert _priority(world, order_id) == BACKFILLED


def _priority(world: World, order_id: str) -> int:
    job = world.job(Queue.FETCH, order_id)
    assert job is not None
    return job.priority


def _seen_before(world: World, *, orders_a_day: int) -> None:
    """A sweep has met so many."""
    world.sql(
        "insert into pipeline.search_windows (account_id, purpose, updated_after, updated_before, parameters, "
        "orders_seen, finished_at) values (:account, 'sweep', clock_timestamp() - interval '1 day', clock_timestamp(), "
        "'{}', :orders, clock_timestamp())",
        account=SELLER,
        orders=orders_a_day,
    )


def _started_long_ago(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_start(tx, None)
    world.sql("update pipeline.account_starts set first_started_at = first_started_at - interval '100 days'")


def test_an_order_of_which_the_listing_leaves_out_who_ships_it_is_asked_about(world: World, days: Days):
    """It may be ours to ship; nothing else would ask about it again."""

    def leave_out(order: dict[str, Any]) -> None:
        del order["fulfillment"]["fulfilledBy"]

    (order_id,) = _orders(world, 2, status="UNSHIPPED")
    world.ports.alter = leave_out
    _read(world, days)
    world.ports.alter = None
    world.run_until_idle()
    assert world.state(order_id) == "accepted"


def test_a_message_that_comes_after_the_backfill_makes_an_old_order_ours(world: World, days: Days):
    """Its queue was full when the account was started: what a notification announces is ours, and ships."""
    with world.database.transaction(SELLER) as tx:
        note_start(tx, None)
    (order_id,) = _orders(world, 2, status="UNSHIPPED")
    _read(world, days)
    world.absorb()
    world.decide()
    assert world.state(order_id) == "held"
    announce(world, order_id, "Unshipped", world.amazon.orders[order_id].last_updated)
    world.run_until_idle()
    assert world.state(order_id) == "accepted"
