"""How often Amazon is asked about an order in all its life: when it is new, and once it was shipped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orders_pipeline.model.order import OrderParts
from orders_pipeline_tests.announced import announce
from orders_pipeline_tests.world import World


def live(world: World, order_id: str) -> None:
    """Everything that the sensors would start, and Amazon's messages as they come."""
    for _ in range(3):
        world.hear()
        world.drain()
        world.absorb()
        world.fetch()
        world.decide()
        world.push()
    world.poll()
    world.confirm()


def test_an_order_costs_two_calls_one_when_it_is_new_and_one_when_it_was_shipped(world: World):
    order_id = world.accepted(quantities=(2, 1))
    world.ship(order_id)
    # Amazon's message about our own confirmation comes before the warehouse's report was decided about.
    world.poll()
    world.confirm()
    live(world, order_id)
    assert world.status(order_id) == "SHIPPED", "as the message told"
    world.make_due()
    world.verify()
    live(world, order_id)
    assert [asked for asked, _ in world.ports.asked] == [order_id, order_id]
    assert world.ports.asked[1][1] == OrderParts.PACKAGES
    assert world.state(order_id) == "closed"
    items = world.rows("pipeline.order_items", "position, quantity_fulfilled, quantity_ordered")
    assert [(item.quantity_fulfilled, item.quantity_ordered) for item in items] == [(2, 2), (1, 1)]


def test_an_order_that_ships_in_two_packages_costs_a_call_more_for_the_second(world: World):
    order_id = world.accepted(quantities=(2,))
    for number in (1, 2):
        world.ship(order_id, {0: 1})
        world.poll()
        world.confirm()
        live(world, order_id)
        assert world.status(order_id) == ("PARTIALLY_SHIPPED" if number == 1 else "SHIPPED")
        world.make_due()
        world.verify()
        live(world, order_id)
        assert len(world.ports.asked) == 1 + number
    (item,) = world.rows("pipeline.order_items", "order_id, quantity_fulfilled")
    assert item.quantity_fulfilled == 2


@pytest.mark.parametrize("status", ["Shipped", "PartiallyShipped"])
def test_a_message_that_our_confirmation_does_not_explain_still_costs_a_call(world: World, status: str):
    """Somebody ships by hand: nothing of ours was told, or all that was told is seen already."""
    order_id = world.accepted(quantities=(2,))
    announce(world, order_id, status, world.database.now())
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) == 2
    world.ship(order_id, {0: 1})
    world.confirm_and_verify()
    asked = len(world.ports.asked)
    announce(world, order_id, "PartiallyShipped", world.database.now() + timedelta(minutes=1))
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) > asked


def test_a_message_that_says_more_is_shipped_than_we_told_costs_a_call(world: World):
    """Whoever can write to the queue can write that all of it left."""
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    asked = len(world.ports.asked)
    announce(world, order_id, "Shipped", world.database.now())
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) == asked + 1
    assert world.status(order_id) == "PARTIALLY_SHIPPED"


def test_a_buyers_request_in_the_message_is_asked_about_whatever_we_confirmed(world: World):
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    world.amazon.request_cancellation(order_id, notify=False)
    world.amazon.notify(order_id)
    asked = len(world.ports.asked)
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) == asked + 1
    assert world.one("pipeline.orders", order_id).cancellation_requested


def test_while_a_fetch_is_to_confirm_what_a_message_told_a_verification_leaves_the_order_to_it(world: World):
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.drain()
    world.absorb()
    world.make_due()
    world.verify()
    assert not world.one("pipeline.orders", order_id).cancellation_requested, "what is told is confirmed by a fetch"
    world.fetch()
    assert world.one("pipeline.orders", order_id).cancellation_requested


def test_what_changed_after_the_answer_that_a_verification_read_is_fetched(world: World):
    """A page shows what was two minutes ago, and a call what was before its answer travelled."""
    order_id = world.accepted(quantities=(2, 1))
    world.ship(order_id, {1: 1})
    world.poll()
    world.confirm()

    def cancel_a_piece(_: str) -> None:
        world.ports.meanwhile = None
        world.clock.advance(timedelta(seconds=2))
        world.fewer_pieces(order_id, 1)
        world.drain()
        world.absorb()

    world.ports.meanwhile = cancel_a_piece
    world.make_due()
    world.verify()
    world.clock.advance(timedelta(seconds=-2))
    world.fetch()
    items = world.rows("pipeline.order_items", "position, quantity_ordered")
    assert [item.quantity_ordered for item in items] == [1, 1]
    assert world.one("pipeline.orders", order_id).reduced_items != []


def test_while_nothing_is_going_to_verify_a_package_messages_about_its_order_cost_a_call(world: World):
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    world.sql("update pipeline.jobs set parked_at = clock_timestamp() where queue = 'verify'")
    asked = len(world.ports.asked)
    announce(world, order_id, "PartiallyShipped", world.database.now())
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) > asked


def test_a_message_without_its_time_is_not_taken_for_what_our_confirmation_caused(world: World):
    """Nothing could tell whether the verification's answer is as new as it."""
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    asked = len(world.ports.asked)
    announce(world, order_id, "PartiallyShipped")
    world.absorb()
    world.fetch()
    assert len(world.ports.asked) > asked
