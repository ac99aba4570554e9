"""A crowd of orders is answered from pages, over HTTP: what that costs; nothing is lost, nor wrongly believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection

from orders_pipeline.channels.amazon import listed_jobs
from orders_pipeline.channels.amazon.listed_jobs import BY_ID_FIRST, ListedJobs
from orders_pipeline.database.engine import Database, database_now
from orders_pipeline.intake import fetch_pages
from orders_pipeline.intake.fetch_one import WITH_DETAILS, FetchOne, Prepared
from orders_pipeline.intake.fetch_pages import FetchPages
from orders_pipeline.model.order import Bucket, ReadQuota, SearchPage
from orders_pipeline.privacy.checks.checks import every_reading_is_audited
from orders_pipeline.work.jobs import BACKFILLED, Job, Queue
from orders_pipeline.work.pauses import pause_until
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.served_crowd import LISTED, UNLISTED, Crowd, served_crowd
from orders_pipeline_tests.world import World


@pytest.fixture
def crowd(database: Database, tmp_path: Path) -> Iterator[Crowd]:
    with served_crowd(database, tmp_path) as crowd:
        yield crowd


def test_hundreds_of_waiting_orders_cost_a_page_for_a_hundred(crowd: Crowd):
    crowd.orders(300)
    tally = crowd.fetch(seconds=120)
    assert tally.outcomes == {WITH_DETAILS: 300}
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.calls["searchOrders"] in (3, 4)
    assert crowd.calls.get("getOrder", 0) == 0
    assert crowd.sandbox.amazon.ledger.throttled == {}
    assert tally.notes["calls_saved"] == 300 - crowd.calls["searchOrders"]
    assert crowd.client.orders.read_quota().listing.tokens >= 4, "the sweep's"
    assert every_reading_is_audited(crowd.world.database, account_id=SELLER).passed
    assert crowd.world.jobs(Queue.FETCH) == []


def test_a_first_page_of_orders_that_were_asked_by_their_ids_meanwhile_does_not_end_the_pages(crowd: Crowd):
    later = crowd.orders(230)[110:]
    due = "update pipeline.jobs set due_at = clock_timestamp() + cast(:after as interval) where subject = any(:ids)"
    crowd.world.sql(due, after="1 day", ids=later)
    crowd.fetch()
    # As if nobody knew how far the window was read.
    crowd.world.sql("delete from pipeline.search_windows")
    crowd.world.sql(due, after="0", ids=later)
    before = crowd.calls["searchOrders"], crowd.calls.get("getOrder", 0)
    assert crowd.fetch().outcomes == {WITH_DETAILS: 120}
    assert (crowd.calls["searchOrders"], crowd.calls.get("getOrder", 0)) == (before[0] + 3, before[1])


def test_pages_that_a_run_s_end_cut_off_go_on_where_they_were(crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    """To begin the window again costs its first pages again: after so many the others were asked one by one."""
    monkeypatch.setattr(listed_jobs, "POOR_PAGES", 1)
    crowd.orders(260)
    runs = 0
    while crowd.world.jobs(Queue.FETCH):
        crowd.fetch(seconds=0.5)
        runs += 1
    assert runs > 1, "cut off"
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.calls["searchOrders"] in (3, 4)
    assert crowd.calls.get("getOrder", 0) <= 30, "what is asked at once beside the pages"


def test_the_next_window_begins_where_the_last_one_ended(crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    """A crowd that goes on: what was listed two minutes before it is not read again."""
    monkeypatch.setattr(listed_jobs, "POOR_PAGES", 1)
    crowd.orders(150)
    crowd.fetch()
    before = crowd.calls["searchOrders"]
    later = crowd.orders(60, ago=LISTED - timedelta(minutes=1))
    crowd.fetch()
    assert crowd.calls["searchOrders"] == before + 1
    assert crowd.calls.get("getOrder", 0) == 0
    assert {crowd.world.status(order_id) for order_id in later} == {"UNSHIPPED"}


def test_a_page_token_that_amazon_takes_no_more_is_forgotten(crowd: Crowd):
    crowd.orders(130)
    crowd.fetch(seconds=0.1)
    crowd.world.sql("update pipeline.search_windows set page_token = 'gone'")
    while crowd.world.jobs(Queue.FETCH):
        crowd.world.sql("delete from pipeline.paused_dependencies")
        crowd.fetch()
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert "gone" not in {
        row.page_token for row in crowd.world.rows("pipeline.search_windows", "window_id, page_token")
    }
    assert crowd.calls.get("getOrder", 0) <= 60, "the crowd is not asked one by one"


def test_what_changed_a_moment_ago_is_asked_by_its_id_and_what_is_listed_by_a_page(crowd: Crowd):
    listed, fresh = crowd.orders(60), crowd.orders(5, ago=UNLISTED)
    crowd.fetch()
    assert crowd.calls["searchOrders"] == 1
    reads = crowd.sandbox.amazon.ledger.reads
    assert {order_id for order_id in (*listed, *fresh) if reads.get(order_id)} >= set(fresh)
    assert crowd.calls["getOrder"] == len(fresh)
    assert crowd.statuses() == {("UNSHIPPED", True)}


def test_a_quiet_shop_asks_at_once(crowd: Crowd):
    crowd.orders(15)
    crowd.fetch()
    assert (crowd.calls["getOrder"], crowd.calls.get("searchOrders", 0)) == (15, 0)


def test_an_order_that_a_page_does_not_show_or_cannot_show_is_asked_by_its_id(crowd: Crowd):
    hidden, broken, *_ = crowd.orders(60)
    crowd.sandbox.amazon.orders[hidden].unlisted = True
    crowd.sandbox.amazon.faults.add("unreadable_entry", "searchOrders", order_id=broken, times=None)
    crowd.fetch()
    assert crowd.calls == {**crowd.calls, "searchOrders": 1, "getOrder": 2}
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.world.jobs(Queue.FETCH) == []


def test_a_page_that_lags_further_behind_than_it_should_is_not_believed(crowd: Crowd):
    """Told eight minutes ago that it was cancelled; the page shows it as it was before."""
    cancelled, *_ = crowd.orders(60)
    crowd.sandbox.amazon.cancel(cancelled, notify=False)
    crowd.sandbox.amazon.orders[cancelled].last_updated -= timedelta(seconds=1)
    crowd.world.sql(
        "update pipeline.orders set told_at = clock_timestamp() - interval '8 minutes' where order_id = :id",
        id=cancelled,
    )
    crowd.fetch()
    assert crowd.world.status(cancelled) == "CANCELLED"
    assert crowd.calls["getOrder"] == 1


def test_what_a_page_shows_of_others_is_taken_in_from_it(crowd: Crowd):
    """Messages that are late, or lost, and orders that nobody has to be asked about."""
    crowd.world.clock.advance(-LISTED)
    unheard = [crowd.world.order(hear=False) for _ in range(5)]
    pending = crowd.world.order(hear=False, status="Pending")
    crowd.world.notified.clear()
    crowd.world.clock.advance(LISTED)
    crowd.orders(60)
    # Who asks one by one beside the page would be quicker with some of them than the page's own claim.
    _calls_are_spent(crowd.world)
    crowd.fetch()
    assert (crowd.calls["searchOrders"], crowd.calls.get("getOrder", 0)) == (1, 0)
    assert {crowd.world.status(order_id) for order_id in unheard} == {"UNSHIPPED"}
    assert crowd.world.status(pending) == "PENDING"
    assert {row.source for row in crowd.world.rows("pipeline.order_events", "source, order_id")} == {
        "listing",
        "notification",
    }


def test_what_a_page_shows_of_orders_that_amazon_ships_is_noted_only_where_they_are_watched(crowd: Crowd):
    crowd.world.clock.advance(-LISTED)
    theirs, ours = crowd.world.order(hear=False, fulfilled_by="AMAZON"), crowd.world.order(hear=False)
    crowd.world.notified.clear()
    crowd.world.clock.advance(LISTED)
    unclear, *_ = crowd.orders(60)
    # Of one of the crowd no message said who ships it: so the page is not of the merchant's alone.
    crowd.world.sql("update pipeline.orders set fulfilled_by = 'UNKNOWN' where order_id = :id", id=unclear)
    crowd.fetch(fulfilled_by=("MERCHANT",))
    known = {row.order_id for row in crowd.world.rows("pipeline.orders", "order_id, status")}
    assert (ours in known, theirs in known) == (True, False)
    for order_id in known:
        crowd.world.request_fetch(order_id)
    crowd.world.sql("update pipeline.orders set fulfilled_by = 'UNKNOWN' where order_id = :id", id=unclear)
    crowd.fetch()
    assert crowd.world.status(theirs) == "UNSHIPPED"


def test_addresses_are_asked_for_only_if_one_of_the_crowd_needs_them(crowd: Crowd):
    orders = crowd.orders(60)
    crowd.fetch()
    crowd.world.sql("update pipeline.orders set status = 'SHIPPED'")
    for order_id in orders:
        crowd.sandbox.amazon.orders[order_id].status = "SHIPPED"
        crowd.world.request_fetch(order_id)
    crowd.fetch()
    asked = [call.included_data for call in crowd.sandbox.amazon.ledger.calls if call.operation == "searchOrders"]
    assert ["RECIPIENT" in included for included in asked] == [True, False]


def test_a_process_killed_between_a_page_and_its_storing_loses_nothing(crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    crowd.orders(60)
    kept: list[str] = []
    keep = FetchOne.keep

    def killed(self: FetchOne, prepared: Prepared, *arguments: Any, **named: Any) -> str:
        kept.append(prepared.before.job.order_id)
        if len(kept) > 20:
            raise Killed
        return keep(self, prepared, *arguments, **named)

    with monkeypatch.context() as dying:
        dying.setattr(FetchOne, "keep", killed)
        # Who is killed gives nothing back.
        dying.setattr(ListedJobs, "give_back", lambda *_: None)
        with pytest.raises(Killed):
            crowd.fetch()
    left = crowd.world.jobs(Queue.FETCH)
    assert 30 <= len(left) <= 40
    assert crowd.fetch().outcomes == {}, "leased"
    crowd.world.make_due()
    crowd.refill_calls()
    crowd.fetch()
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.world.jobs(Queue.FETCH) == []
    assert crowd.calls["searchOrders"] == 1, "who was in hand when a process died is asked for alone"


def test_pages_that_amazon_refuses_leave_the_crowd_to_single_calls(crowd: Crowd):
    crowd.sandbox.amazon.faults.add("forbidden", "searchOrders", times=None)
    crowd.orders(40)
    crowd.refill_calls()
    tally = crowd.fetch(seconds=120)
    assert crowd.statuses() == {("UNSHIPPED", True)}
    assert crowd.calls["getOrder"] == 40
    assert sum(tally.errors.values()) == 1


def test_once_a_refusal_s_pause_is_over_pages_are_tried_again(crowd: Crowd):
    crowd.sandbox.amazon.faults.add("forbidden", "searchOrders", times=None)
    crowd.orders(40)
    crowd.refill_calls()
    crowd.fetch(seconds=120)
    crowd.sandbox.amazon.faults.clear()
    assert crowd.calls["getOrder"] == 40
    crowd.world.sql("update pipeline.paused_dependencies set until = clock_timestamp() where until is not null")
    # As Amazon's own rate would have left it.
    crowd.world.sql("update pipeline.amazon_rate_limits set rate = 0.5, tokens = 0 where operation = 'getOrder'")
    crowd.orders(40)
    crowd.fetch(seconds=120)
    assert crowd.calls["getOrder"] == 40, "the second crowd is read by pages"
    assert crowd.world.rows("pipeline.paused_dependencies") == []


def test_what_came_while_a_page_was_read_is_not_answered_from_it(world: World, monkeypatch: pytest.MonkeyPatch):
    """A message without the time of its change: no answer can be seen to be older than it."""
    for _ in range(30):
        world.order(hear=False)
    late, *_ = orders = [*world.amazon.orders]
    for order_id in orders:
        world.amazon.orders[order_id].last_updated -= LISTED
        announce(world, order_id, "Unshipped", world.amazon.orders[order_id].last_updated)
    world.absorb()
    its = {"id": late, "at": timedelta(seconds=150)}
    world.sql(
        "update pipeline.order_events set changed_at = null, received_at = clock_timestamp() - cast(:at as interval) "
        "where order_id = :id",
        **its,
    )
    world.sql("update pipeline.orders set told_at = null where order_id = :id", id=late)
    _calls_are_spent(world)
    world.ports.quota = ReadQuota(single=Bucket(0, 0.5, 30), listing=Bucket(19, 0.0056, 20))
    # The plan is made a minute before its page is answered.
    passed = [timedelta(minutes=1)]

    def now(connection: Connection) -> datetime:
        return database_now(connection) - (passed.pop() if passed else timedelta())

    monkeypatch.setattr(fetch_pages, "database_now", now)
    world.fetch()
    assert len(world.ports.searched) == 1
    assert [job.subject for job in world.jobs(Queue.FETCH)] == [late]


def test_an_order_that_comes_while_a_page_is_on_its_way_does_not_wait_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(30):
        world.order(hear=False)
    for order_id, order in world.amazon.orders.items():
        order.last_updated -= LISTED
        announce(world, order_id, "Unshipped", order.last_updated)
    world.absorb()
    world.ports.quota = ReadQuota(single=Bucket(0, 0.5, 30), listing=Bucket(19, 0.0056, 20))
    world.notified.clear()
    nothing_else_is_due, fetched = Event(), Event()
    read, stop = world.ports.search_orders, FetchPages.stop

    def stopped(pages: FetchPages) -> None:
        nothing_else_is_due.set()
        stop(pages)

    def slow(*args: Any, **options: Any) -> SearchPage:
        assert nothing_else_is_due.wait(10)
        world.order()
        world.drain()
        world.absorb()
        assert fetched.wait(5), "the new order waits for the page"
        return read(*args, **options)

    monkeypatch.setattr(FetchPages, "stop", stopped)
    world.ports.search_orders = slow
    world.ports.meanwhile = lambda _: fetched.set()
    world.fetch()
    assert len(world.ports.asked) == 1


@pytest.mark.parametrize(("listing", "are_read"), [(19.0, True), (8.9, False)])
def test_what_only_a_backfill_asks_for_has_the_pages_that_live_orders_leave(
    world: World, listing: float, are_read: bool
):
    """Eight tokens of the listing are for live work."""
    world.ports.quota = ReadQuota(single=Bucket(0, 0.5, 30, kept=10), listing=Bucket(listing, 0.0056, 20, kept=8))
    live, backfilled = _told(world, 80, LISTED), _told(world, 40, timedelta(hours=3))
    _calls_are_spent(world)
    world.sql("update pipeline.jobs set priority = :low where subject = any(:ids)", low=BACKFILLED, ids=backfilled)
    tally = world.fetch()
    read = {order_id for order_id in (*live, *backfilled) if world.status(order_id) == "UNSHIPPED"}
    assert read == {*live, *(backfilled if are_read else [])}
    assert [window.updated_after > world.database.now() - 2 * LISTED for window, _ in world.ports.searched] == (
        [True, False] if are_read else [True]
    ), "the live ones first"
    assert str(tally.notes["plan"]).startswith("of a backfill, 40 ")


def test_by_ids_a_page_would_spare_a_backfill_no_call(world: World):
    """The items of each order are asked for all the same."""
    world.ports.api_version = "v0"
    world.ports.quota = ReadQuota(single=Bucket(29, 0.5, 30, kept=10), listing=Bucket(19, 0.0167, 20, kept=8))
    live, backfilled = _told(world, 30, LISTED), _told(world, 20, LISTED)
    world.sql("update pipeline.jobs set priority = :low where subject = any(:ids)", low=BACKFILLED, ids=backfilled)
    world.fetch()
    assert {order_id for order_id, _ in world.ports.asked} == {*backfilled}
    assert {world.status(order_id) for order_id in live} == {"UNSHIPPED"}


def test_what_no_page_shows_of_a_backfill_is_asked_for_after_live_orders(crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    backfilled = crowd.orders(363)[::11]
    crowd.world.sql("delete from pipeline.jobs where subject <> all(:ids)", ids=backfilled)
    crowd.world.sql("update pipeline.jobs set priority = :low", low=BACKFILLED)
    (live,) = crowd.orders(1, ago=UNLISTED)
    priorities: list[int] = []
    ask_by_id = ListedJobs.ask_by_id

    def noted(self: ListedJobs, job: Job) -> str:
        word = ask_by_id(self, job)
        priorities.extend(one.priority for one in crowd.world.jobs(Queue.FETCH) if one.subject == job.subject)
        return word

    monkeypatch.setattr(ListedJobs, "ask_by_id", noted)
    crowd.fetch(seconds=60)
    asked = [call.order_id for call in crowd.sandbox.amazon.ledger.calls if call.operation == "getOrder"]
    assert asked[0] == live
    assert set(priorities) == {BACKFILLED + BY_ID_FIRST}
    assert crowd.client.orders.read_quota().single.tokens >= 9, "those of live orders"


def _calls_are_spent(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        pause_until(tx, "fetch.quota", world.database.now() + timedelta(hours=1), "the quota is spent")


def _told(world: World, count: int, ago: timedelta) -> list[str]:
    """Orders that changed so long ago, each told by a message that was applied."""
    orders = [world.order(hear=False) for _ in range(count)]
    world.notified.clear()
    for order_id in orders:
        order = world.amazon.orders[order_id]
        order.last_updated -= ago
        announce(world, order_id, "Pending", order.last_updated)
    world.absorb()
    for order_id in orders:
        world.request_fetch(order_id)
    return orders


def test_an_answer_of_a_page_is_the_answer_of_a_call(crowd: Crowd):
    columns = "order_id, status, fulfilled_by, ship_by, deliver_by, total_amount, programs, service_level"
    item_columns = "order_id, position, sku, quantity_ordered, unit_price, title"
    orders = crowd.orders(60)
    crowd.fetch()
    paged = crowd.world.rows("pipeline.orders", columns), crowd.world.rows("pipeline.order_items", item_columns)
    crowd.world.sql("update pipeline.orders set total_amount = null, deliver_by = null")
    for batch in (orders[:15], orders[15:30]):
        for order_id in batch:
            crowd.world.request_fetch(order_id)
        crowd.fetch()
    assert (crowd.calls["searchOrders"], crowd.calls["getOrder"]) == (1, 30)
    again = [row for row in crowd.world.rows("pipeline.orders", columns) if row.total_amount is not None]
    assert again == [row for row in paged[0] if row.order_id in orders[:30]]
    assert crowd.world.rows("pipeline.order_items", item_columns) == paged[1]
