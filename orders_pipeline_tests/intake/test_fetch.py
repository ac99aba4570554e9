"""From events to the state of the orders: which calls are made, and what an answer, or a failure, changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.errors import (
    AmazonBadRequest,
    AmazonNotFound,
    AmazonProtocolError,
    AmazonRoleMissing,
    AmazonTokenExpired,
    AmazonUnavailable,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.failures import READ_POLICY
from orders_pipeline.intake.fetch_one import FETCHED, WITH_DETAILS, WITHOUT_ADDRESS
from orders_pipeline.model.order import OrderParts
from orders_pipeline.model.untrusted_text import LONGEST_ERROR
from orders_pipeline.operations.pending_work import has_due_jobs
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

UNAVAILABLE = AmazonUnavailable("getOrder answered 503", operation="getOrder", status=503)
SILENT = AmazonUnavailable("getOrder got no answer", operation="getOrder")
TOKEN_EXPIRED = AmazonTokenExpired("getOrder answered 403: the token has expired", operation="getOrder", status=403)
ROLE_MISSING = AmazonRoleMissing(
    "getOrder answered 403 for seller A1: the application lacks a role. Add it in the developer profile.",
    operation="getOrder",
    status=403,
)


def _look(world: World) -> None:
    world.drain()
    world.absorb()
    world.fetch()


def test_one_call_brings_an_order_its_items_and_its_encrypted_details(world: World):
    order_id = world.order(quantities=(2, 1))
    _look(world)
    assert world.ports.asked == [(order_id, OrderParts.SHIPPING_DETAILS)]
    assert world.status(order_id) == "UNSHIPPED"
    assert [row.quantity_ordered for row in world.rows("pipeline.order_items", "position, quantity_ordered")] == [2, 1]
    assert world.one("pipeline.orders", order_id).has_address
    stored, address = world.everything_stored(), world.amazon.orders[order_id].address
    assert address.name
    assert address.name not in stored
    details = world.vault.reveal(account_id=SELLER, kind="shipping_details", subject_id=order_id, purpose="a test")
    assert address.name.encode() in details


@pytest.mark.parametrize("status", ["SHIPPED", "CANCELLED"])
def test_the_end_of_an_order_is_believed_once_amazon_itself_says_so(world: World, status: str):
    order_id = world.order()
    _look(world)
    world.ports.asked.clear()
    world.amazon.change_status(order_id, status)
    world.hear()
    _look(world)
    assert [asked for asked, _ in world.ports.asked] == [order_id]
    assert world.status(order_id) == status


def test_a_shipment_that_our_warehouse_reported_costs_no_call(world: World):
    order_id = world.accepted()
    world.ship(order_id)
    world.confirm_and_verify()
    world.decide()
    assert world.state(order_id) == "closed"
    world.ports.asked.clear()
    world.hear()
    _look(world)
    assert world.ports.asked == []
    assert world.status(order_id) == "SHIPPED"


def test_orders_that_amazon_ships_and_orders_that_are_not_paid_cost_no_call(world: World):
    amazons = world.order(fulfilled_by="AFN")
    pending = world.order(status="Pending")
    _look(world)
    assert world.ports.asked == []
    assert (world.status(amazons), world.status(pending)) == ("UNSHIPPED", "PENDING")


def test_an_order_that_is_cancelled_before_it_is_paid_costs_no_call(world: World):
    order_id = world.order(status="Pending")
    world.amazon.cancel(order_id)
    world.hear()
    _look(world)
    assert world.ports.asked == []
    assert world.status(order_id) == "CANCELLED"


def test_the_buyers_details_are_asked_for_only_while_they_are_needed(world: World):
    shipped = world.order(status="Shipped")
    accepted = world.accepted()
    world.ports.asked.clear()
    world.amazon.request_cancellation(accepted)
    world.amazon.notify(shipped)
    world.hear()
    _look(world)
    assert dict(world.ports.asked) == {accepted: OrderParts.STATE}


def test_an_event_that_comes_during_a_look_keeps_the_order_due(world: World):
    order_id = world.order()
    looks = 0

    def request_meanwhile(_: str) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            world.amazon.request_cancellation(order_id)
            world.hear()
            world.drain()
            world.absorb()

    world.ports.meanwhile = request_meanwhile
    _look(world)
    assert looks == 2
    assert world.one("pipeline.orders", order_id).cancellation_requested


def test_a_late_answer_does_not_take_back_a_cancellation(world: World):
    for at in (datetime.now(UTC) - timedelta(seconds=1), None):
        order_id = world.order()

        def cancel_meanwhile(asked: str, order_id: str = order_id, at: datetime | None = at) -> None:
            if asked == order_id:
                world.ports.meanwhile = None
                world.amazon.cancel(order_id, notify=False)
                _announce(world, order_id, "Canceled", at)
                world.absorb()

        world.ports.meanwhile = cancel_meanwhile
        world.sync()
        assert world.status(order_id) == "CANCELLED"
        assert order_id not in world.warehouse.orders


def test_a_shipment_that_was_told_without_a_time_during_a_look_is_looked_at_again(world: World):
    order_id = world.order()
    _look(world)
    world.amazon.request_cancellation(order_id)
    world.hear()

    def ship_meanwhile(_: str) -> None:
        world.ports.meanwhile = None
        world.amazon.change_status(order_id, "SHIPPED", notify=False)
        _announce(world, order_id, "Shipped", None)
        world.absorb()

    world.ports.meanwhile = ship_meanwhile
    _look(world)
    assert world.status(order_id) == "SHIPPED"


def test_a_lease_of_a_process_that_died_runs_out(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()

    class Died(BaseException):
        pass

    world.faults.fail("get_order", Died())  # type: ignore[arg-type]
    with pytest.raises(Died):
        world.fetch()
    assert world.fetch().outcomes == {}, "leased"
    world.make_due()
    assert _fetched(world.fetch()) == 1
    assert world.status(order_id) == "UNSHIPPED"


def _fetched(tally: Tally) -> int:
    return sum(tally.outcomes.get(word, 0) for word in (FETCHED, WITH_DETAILS, WITHOUT_ADDRESS))


def _ready(world: World, orders: int) -> list[str]:
    ids = [world.order() for _ in range(orders)]
    world.drain()
    world.absorb()
    return ids


def _fetch_job(world: World, order_id: str) -> Job:
    job = world.job(Queue.FETCH, order_id)
    assert job is not None
    return job


def _pause(world: World) -> timedelta:
    """How long Amazon is not asked."""
    (row,) = world.rows("pipeline.paused_dependencies", "until - clock_timestamp() as left, kind")
    return row.left


def test_an_order_that_amazon_refuses_for_good_stops_itself_and_nobody_else(world: World):
    refused, *others = _ready(world, 40)
    world.faults.fail("get_order", ROLE_MISSING, refused, times=100)
    assert _fetched(world.fetch()) == len(others) == 39
    assert {world.status(order_id) for order_id in others} == {"UNSHIPPED"}
    for attempt in range(2, READ_POLICY.attempts + 1 if READ_POLICY.attempts else 0):
        world.make_due()
        assert world.fetch().paused == {}
        assert _fetch_job(world, refused).attempts == attempt
        # What comes while it is tried again is fetched at once.
        (later,) = _ready(world, 1)
        world.fetch()
        assert world.status(later) == "UNSHIPPED"
    job = _fetch_job(world, refused)
    assert (job.parked_at is not None, job.last_error) == (True, str(ROLE_MISSING))


@pytest.mark.parametrize("error", [UNAVAILABLE, SILENT], ids=["503", "no answer"])
def test_an_order_that_amazon_cannot_read_stops_nobody(world: World, error: AmazonUnavailable):
    bad, *others = _ready(world, 40)
    world.faults.fail("get_order", error, bad, times=100)
    assert _fetched(world.fetch()) == len(others)
    assert world.rows("pipeline.paused_dependencies", where="until is not null") == []
    job = _fetch_job(world, bad)
    assert (job.attempts, job.parked_at) == (1, None)


def test_two_tokens_that_expire_in_one_second_cost_seconds_and_a_success_ends_it(world: World):
    orders = _ready(world, 20)
    world.faults.fail("get_order", TOKEN_EXPIRED, times=2)
    world.fetch()
    for row in world.rows("pipeline.paused_dependencies", "until - clock_timestamp() as left, step"):
        assert row.left <= timedelta(seconds=5)
    world.make_due()
    world.fetch()
    assert {world.status(order_id) for order_id in orders} == {"UNSHIPPED"}
    assert world.rows("pipeline.paused_dependencies") == []


def test_a_role_that_is_missing_pauses_the_account_and_no_order_pays_for_it(world: World):
    orders = _ready(world, 30)
    world.faults.fail("get_order", ROLE_MISSING, times=1000)
    assert world.fetch().paused.keys() == {"amazon"}
    asked = len(world.ports.asked)
    assert asked <= 5, "a try for each worker, and no more once a second order is refused"
    assert _pause(world) <= timedelta(seconds=5)
    for _ in range(10):
        world.make_due()
        world.fetch()
    assert timedelta(minutes=4) < _pause(world) <= timedelta(minutes=5), "doubled, up to five minutes"
    assert len(world.ports.asked) == asked + 10, "one order at a time tries whether it is mended"
    jobs = world.rows("pipeline.jobs", "subject, attempts, parked_at", "queue = 'fetch'")
    assert len(jobs) == len(orders)
    assert sum(job.attempts for job in jobs) <= 1
    assert {job.parked_at for job in jobs} == {None}
    world.faults.clear()
    world.make_due()
    world.fetch()
    world.make_due()
    world.fetch()
    assert {world.status(order_id) for order_id in orders} == {"UNSHIPPED"}


def test_a_quota_that_has_run_out_makes_all_wait_until_it_is_back(world: World):
    _ready(world, 25)
    back = world.database.now() + timedelta(minutes=7)
    limit = LimitNotBefore("no token", operation="getOrder", not_before=back)
    world.faults.fail("get_order", limit, times=100)
    assert world.fetch().not_before == back
    assert {row.attempts for row in world.rows("pipeline.jobs", "subject, attempts", "queue = 'fetch'")} == {0}
    asked = len(world.ports.asked)
    _ready(world, 1)
    with world.database.transaction(SELLER) as tx:
        assert not has_due_jobs(tx, [Queue.FETCH]), "no run is asked for meanwhile"
    assert _fetched(world.fetch()) == 0
    assert len(world.ports.asked) == asked


def test_what_may_have_to_be_stopped_is_fetched_first(world: World):
    stopped = world.accepted()
    _ready(world, 10)
    world.amazon.cancel(stopped)
    world.hear()
    world.drain()
    world.absorb()
    world.ports.asked.clear()
    world.fetch()
    assert stopped in [order_id for order_id, _ in world.ports.asked[:4]]


@pytest.mark.parametrize(
    ("error", "looks"),
    [
        (AmazonBadRequest("getOrder answered 400", operation="getOrder", status=400), 1),
        (AmazonNotFound("getOrder answered 404", operation="getOrder", status=404), 3),
        (AmazonProtocolError("getOrder answered 200: not JSON", operation="getOrder", status=200), 4),
        (UNAVAILABLE, 15),
        (ValueError("a defect, with a street in it: 7 Nightingale Row"), 4),
    ],
)
def test_a_bad_order_is_parked_after_its_tries_and_the_others_go_on(world: World, error: Exception, looks: int):
    bad, *others = [world.order() for _ in range(4)]
    world.drain()
    world.absorb()
    world.faults.fail("get_order", error, bad, times=100)
    for _ in range(looks):
        assert _fetch_job(world, bad).parked_at is None
        world.fetch()
        world.make_due()
    assert _fetch_job(world, bad).parked_at is not None
    assert [order_id for order_id, _ in world.ports.asked].count(bad) == looks
    assert {world.status(order_id) for order_id in others} == {"UNSHIPPED"}
    assert "Nightingale" not in world.everything_stored()
    # Something new about it is another chance.
    world.faults.clear()
    world.amazon.notify(bad)
    world.amazon.request_cancellation(bad)
    world.hear()
    _look(world)
    assert world.job(Queue.FETCH, bad) is None


def test_an_order_with_a_blank_address_is_rechecked_and_not_pushed(world: World):
    order_id = world.order(hear=False)
    world.amazon.withhold_address(order_id, 3600)
    world.hear()
    world.sync()
    assert world.state(order_id) == "held"
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["no_address"]
    assert timedelta(seconds=20) < world.due_in(order_id) < timedelta(minutes=1)
    world.make_due()
    world.sync()
    assert world.calls(order_id) == {}
    world.clock.advance(timedelta(hours=2))
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"


def test_a_long_pending_order_is_rechecked_for_its_address_within_a_minute(world: World):
    order_id = world.order(status="Pending")
    _look(world)
    world.sql("update pipeline.orders set first_seen_at = first_seen_at - interval '3 days'")
    world.amazon.withhold_address(order_id, 3600)
    world.amazon.change_status(order_id, "UNSHIPPED")
    world.hear()
    _look(world)
    assert world.due_in(order_id) < timedelta(minutes=2)


def test_two_processes_that_hear_of_the_same_new_order_lose_neither_word(world: World):
    """One is told Pending, the other Canceled; whoever is second meets the order of the first."""
    for number in range(20):
        order_id = f"115-0000000-{number:07d}"

        def absorb_one(status: str, order_id: str = order_id) -> None:
            _announce(world, order_id, status, datetime.now(UTC))
            world.absorb()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(absorb_one, ["Pending", "Canceled"]))
        assert world.status(order_id) == "CANCELLED"


def _announce(world: World, order_id: str, status: str, at: datetime | None) -> None:
    now = datetime.now(UTC)
    event = NewOrderEvent(
        account_id=SELLER,
        order_id=order_id,
        source="notification",
        deduplication_key=f"test:{status}:{now.isoformat()}",
        published_at=now,
        partition_day=now.date(),
        change_type="OrderStatusChange",
        status_told=status,
        fulfilled_by_told="MERCHANT",
        changed_at=at,
    )
    with world.database.begin() as connection:
        insert_order_events(connection, [event])


@pytest.mark.parametrize("said", ["bad \x00", "bad \ud800", "x" * 60_000])
def test_a_refusals_text_is_stored_bounded_and_stops_no_other_fetch(world: World, said: str):
    refused, fetched = world.order(), world.order()
    world.faults.fail("get_order", AmazonBadRequest(said, operation="getOrder", status=400), refused)
    _look(world)
    job = _fetch_job(world, refused)
    assert job.parked_at is not None
    assert 0 < len(job.last_error or "") <= LONGEST_ERROR
    assert world.status(fetched) == "UNSHIPPED"
