"""From events to the state of the orders: which calls are made, and what an answer, or a failure, changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.channels.amazon.errors import (
    AmazonBadRequest,
    AmazonNotFound,
    AmazonRoleMissing,
    AmazonUnavailable,
    LimitNotBefore,
)
from orders_pipeline.model.order import OrderParts
from orders_pipeline.model.untrusted_text import LONGEST_ERROR
from orders_pipeline.orders.event_rows import NewOrderEvent, insert_order_events
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

UNAVAILABLE = AmazonUnavailable("getOrder answered 503", operation="getOrder", status=503)
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
    assert world.state(order_id) == "shipped"
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
    assert world.fetch().fetched == 0, "leased"
    world.make_due()
    assert world.fetch().fetched == 1
    assert world.status(order_id) == "UNSHIPPED"


def test_a_missing_role_stops_the_batch_gives_the_leases_back_and_says_what_to_do(world: World):
    orders = [world.order() for _ in range(30)]
    world.drain()
    world.absorb()
    world.faults.fail("get_order", ROLE_MISSING, times=100)
    totals = world.fetch()
    assert totals.account_error == str(ROLE_MISSING)
    assert len(world.ports.asked) <= 4, "one try for each worker"
    alert = world.alerts()["amazon.account"]
    assert "Add it in the developer profile" in alert.message
    assert "orders-pipeline doctor" in alert.what_to_do
    rows = world.rows("pipeline.orders", "fetch_attempts, parked_at, fetch_due_at <= clock_timestamp() as due")
    assert {(row.fetch_attempts, row.parked_at, row.due) for row in rows} == {(0, None, False)}
    world.faults.clear()
    world.make_due()
    assert world.fetch().fetched == len(orders)
    assert "amazon.account" not in world.alerts()


def test_a_quota_that_has_run_out_makes_all_wait_until_it_is_back(world: World):
    for _ in range(25):
        world.order()
    world.drain()
    world.absorb()
    back = world.database.now() + timedelta(minutes=7)
    limit = LimitNotBefore("no token", operation="getOrder", not_before=back)
    world.faults.fail("get_order", limit, times=100)
    assert world.fetch().not_before == back
    due = world.rows("pipeline.orders", "distinct fetch_due_at, fetch_attempts")
    assert {(row.fetch_due_at, row.fetch_attempts) for row in due} == {(back, 0)}


@pytest.mark.parametrize(
    ("error", "looks"),
    [
        (AmazonBadRequest("getOrder answered 400", operation="getOrder", status=400), 1),
        (AmazonNotFound("getOrder answered 404", operation="getOrder", status=404), 3),
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
        assert world.one("pipeline.orders", bad).parked_at is None
        world.fetch()
        world.make_due()
    assert world.one("pipeline.orders", bad).parked_at is not None
    assert [order_id for order_id, _ in world.ports.asked].count(bad) == looks
    assert {world.status(order_id) for order_id in others} == {"UNSHIPPED"}
    assert "replay_parked" in world.alerts()["order.parked"].what_to_do
    assert "Nightingale" not in world.everything_stored()
    # Something new about it is another chance, and a success closes the alert.
    world.faults.clear()
    world.amazon.notify(bad)
    world.amazon.request_cancellation(bad)
    world.hear()
    _look(world)
    assert world.one("pipeline.orders", bad).parked_at is None
    assert "order.parked" not in world.alerts()


def test_an_order_with_a_blank_address_is_rechecked_and_not_pushed(world: World):
    order_id = world.order(hear=False)
    world.amazon.withhold_address(order_id, 3600)
    world.hear()
    world.sync()
    assert world.state(order_id) == "held"
    assert world.one("pipeline.fulfillment_queue", order_id).hold_reasons == ["no_address"]
    due = world.one("pipeline.orders", order_id).fetch_due_at
    assert timedelta(seconds=20) < due - world.database.now() < timedelta(minutes=1)
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
    due = world.one("pipeline.orders", order_id).fetch_due_at
    assert due - world.database.now() < timedelta(minutes=2)


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
    assert len(world.one("pipeline.orders", refused).park_reason) <= LONGEST_ERROR
    assert world.status(fetched) == "UNSHIPPED"


def test_a_failure_that_cannot_be_stored_stops_no_other_fetch(world: World, monkeypatch: pytest.MonkeyPatch):
    refused, fetched = world.order(), world.order()
    world.faults.fail("get_order", AmazonBadRequest("no", operation="getOrder", status=400), refused)

    def cannot(*_: object) -> None:
        raise UnicodeEncodeError("utf-8", "7 Nightingale Row", 0, 1, "surrogates not allowed")

    monkeypatch.setattr("orders_pipeline.intake.fetch._failed", cannot)
    _look(world)
    assert world.status(fetched) == "UNSHIPPED"
    noted = world.one("pipeline.orders", refused)
    assert "a defect of this program: UnicodeEncodeError" in noted.fetch_error
    assert "Nightingale" not in noted.fetch_error
    assert noted.fetch_due_at is not None
