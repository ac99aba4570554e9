"""What a message tells delays an order at most; Amazon's answer decides, and is asked for again while in doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.intake.rechecks import RECHECK_DELAYS
from orders_pipeline.operations.replay import recover_order
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _later(world: World, rounds: int = len(RECHECK_DELAYS) + 1) -> None:
    for _ in range(rounds):
        world.make_due()
        world.sync()


def test_a_forged_cancellation_stops_the_order_until_amazon_answers(world: World):
    order_id = world.accepted()
    announce(world, order_id, "Canceled")
    world.absorb()
    world.decide()
    world.push()
    assert world.state(order_id) == "holding", "before Amazon was asked"
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["cancellation_announced"]
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.warehouse.orders[order_id].status == "accepted"
    assert world.calls(order_id)["cancel"] == 0


def test_a_cancellation_that_amazon_confirms_is_one_at_the_warehouse_too(world: World):
    order_id = world.accepted()
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    assert (world.state(order_id), world.warehouse.orders[order_id].status) == ("cancelled", "cancelled")


@pytest.mark.parametrize("status", ["Canceled", "Shipped", "InvoiceUnconfirmed"])
@pytest.mark.parametrize("fulfilled_by", ["MERCHANT", "AMAZON"])
def test_no_forged_end_before_the_real_message_keeps_an_order_from_the_warehouse(
    world: World, status: str, fulfilled_by: str
):
    order_id = world.order(hear=False)
    announce(world, order_id, status, datetime.now(UTC) + timedelta(minutes=4), fulfilled_by=fulfilled_by)
    world.sync()
    world.hear()
    world.sync()
    _later(world)
    assert world.state(order_id) == "accepted"


def test_no_forged_end_of_an_accepted_order_ends_it(world: World):
    order_id = world.accepted()
    for status in ("Shipped", "Canceled"):
        for fulfilled_by in ("MERCHANT", "AMAZON"):
            announce(world, order_id, status, datetime.now(UTC), fulfilled_by=fulfilled_by)
    world.sync()
    _later(world)
    assert world.state(order_id) == "accepted"


def test_a_time_from_the_future_outranks_no_answer(world: World):
    order_id = world.order(status="Pending")
    announce(world, order_id, "Pending", datetime(2099, 1, 1, tzinfo=UTC))
    world.sync()
    announce(world, order_id, "Shipped", datetime(2099, 1, 1, tzinfo=UTC))
    world.amazon.change_status(order_id, "UNSHIPPED")
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.alerts() == {}


def test_an_answer_older_than_its_event_is_rechecked_before_any_push(world: World):
    order_id = world.order(hear=False)
    announce(world, order_id, "Unshipped", datetime.now(UTC) + timedelta(seconds=90))
    world.sync()
    due = world.due_in(order_id)
    assert timedelta(seconds=50) < due < timedelta(minutes=2)
    assert world.calls(order_id) == {}
    # The change shows at last: the buyer had asked to cancel.
    world.amazon.request_cancellation(order_id, notify=False)
    world.amazon.orders[order_id].last_updated += timedelta(seconds=90)
    _later(world, 1)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["buyer_asks_to_cancel"]
    assert world.job(Queue.FETCH, order_id) is None


def test_a_change_that_amazon_never_shows_is_an_alert_and_holds_nothing(world: World):
    order_id = world.order(hear=False)
    announce(world, order_id, "Unshipped", datetime.now(UTC) + timedelta(seconds=90))
    world.sync()
    _later(world)
    assert world.state(order_id) == "accepted"
    assert len(world.ports.asked) == len(RECHECK_DELAYS) + 1
    assert order_id in world.alerts()["order.answer_older"].message
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    world.decide()
    assert "order.answer_older" not in world.alerts()


def test_an_order_without_fulfiller_is_rechecked_and_then_held(world: World):
    world.ports.alter = lambda body: body["fulfillment"].pop("fulfilledBy")
    order_id = world.order()
    world.sync()
    assert "order.no_fulfiller" not in world.alerts()
    _later(world)
    assert "unknown_fulfiller" in world.one("pipeline.fulfillment_orders", order_id).hold_reasons
    assert "recover_order" in world.alerts()["order.no_fulfiller"].what_to_do
    asked = len(world.ports.asked)
    _later(world)
    assert len(world.ports.asked) == asked
    world.ports.alter = None
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    _later(world, 2)
    assert world.state(order_id) == "accepted"
    assert "order.no_fulfiller" not in world.alerts()


def test_an_order_held_until_amazon_said_that_it_ships_it_is_over_for_us(world: World):
    world.ports.alter = lambda body: body["fulfillment"].pop("fulfilledBy")
    order_id = world.order(hear=False, fulfilled_by="AFN")
    announce(world, order_id, "Unshipped", fulfilled_by="UNKNOWN")
    world.sync()
    assert world.state(order_id) == "held"
    world.ports.alter = None
    _later(world, 1)
    assert world.state(order_id) == "closed"


def test_a_person_who_recovers_an_order_gets_what_amazon_shows_whatever_was_told(world: World):
    order_id = world.order(hear=False)
    # As an earlier release left it: told to be cancelled, later than anything that Amazon shows.
    announce(world, order_id, "Canceled", datetime.now(UTC))
    world.absorb()
    world.sql("update pipeline.orders set last_updated_at = clock_timestamp() + interval '1 year', fetched_at = now()")
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    _later(world, 2)
    assert world.state(order_id) == "accepted"


def test_a_person_recovers_an_order_that_was_given_up_here_and_lives_at_amazon(world: World):
    world.ports.alter = lambda body: body["fulfillment"].update(fulfillmentStatus="CANCELLED")
    order_id = world.order(hear=False)
    world.amazon.withhold_address(order_id, 1)
    world.hear()
    world.sync()
    world.sql(
        "insert into pipeline.fulfillment_orders (account_id, order_id, state) "
        "select account_id, order_id, 'cancelled' from pipeline.orders"
    )
    world.ports.alter = None
    world.clock.advance(timedelta(seconds=5))
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    _later(world, 2)
    assert world.state(order_id) == "accepted"


@pytest.mark.parametrize("status", ["Canceled", "Shipped", "Unshipped"])
@pytest.mark.parametrize("accepted", [False, True])
def test_messages_without_end_delay_an_order_by_eleven_minutes_in_all(world: World, status: str, accepted: bool):
    order_id = world.accepted() if accepted else world.order()
    for _ in RECHECK_DELAYS:
        # One message between every two looks, each with a time that Amazon never shows.
        announce(world, order_id, status, datetime.now(UTC) + timedelta(minutes=4))
        world.sync()
        world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert order_id in world.alerts()["order.answer_older"].message
    asked = len(world.ports.asked)
    for told, at in ((status, datetime.now(UTC) + timedelta(minutes=4)), (status, None)) * 3:
        announce(world, order_id, told, at)
        world.sync()
        assert world.state(order_id) == "accepted", "no message holds it any more"
    assert len(world.ports.asked) <= asked + 6
    assert "order.answer_older" in world.alerts()


def test_a_confirmed_change_resets_the_recheck_time(world: World):
    order_id = world.order()
    announce(world, order_id, "Unshipped", datetime.now(UTC) + timedelta(minutes=4))
    _later(world)
    assert "order.answer_older" in world.alerts()
    world.clock.advance(timedelta(seconds=5))
    world.amazon.change_status(order_id, "UNSHIPPED")
    world.hear()
    world.sync()
    assert "order.answer_older" not in world.alerts()
    announce(world, order_id, "Canceled", world.amazon.orders[order_id].last_updated + timedelta(seconds=2))
    world.sync()
    assert world.state(order_id) in ("held", "holding")
