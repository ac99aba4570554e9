"""What a warehouse writes into its events: bounded and marked, and never in the way of another package."""

from __future__ import annotations

import random
import string

from orders_pipeline_tests.world import World

_chance = random.Random(9)
# Random, because an index compresses what repeats.
ENDLESS = "".join(_chance.choice(string.ascii_letters) for _ in range(9_000))


def test_a_carrier_of_nine_thousand_characters_keeps_no_other_package_from_being_confirmed(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first = world.ship(hostile, carrier=ENDLESS)
    second = world.ship(plain)
    world.tell_amazon()
    assert world.package(second).state == "confirmed"
    package = world.package(first)
    assert (package.state, package.carrier_code) == ("confirmed", "Other")
    assert len(package.carrier) == len(package.carrier_name) == 100
    assert package.carrier.endswith("…")
    assert ENDLESS[:200] not in world.everything_stored()


def _refuse(world: World, table: str, order_id: str) -> None:
    """The database takes no change of this order's row there any more: a defect of that one order."""
    world.sql(f"alter table pipeline.{table} add constraint refused check (order_id <> '{order_id}') not valid")


def _allow(world: World, table: str) -> None:
    world.sql(f"alter table pipeline.{table} drop constraint refused")


def test_an_event_that_the_store_refuses_is_told_and_tried_again_and_the_others_are_absorbed(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first, second = world.ship(hostile), world.ship(plain)
    _refuse(world, "shipment_confirmations", hostile)
    world.tell_amazon()
    assert world.package(second).state == "confirmed"
    assert "package.event_defect" in world.alerts()
    _allow(world, "shipment_confirmations")
    world.sql("update pipeline.wms_shipments set processed_at = processed_at - interval '1 hour'")
    world.tell_amazon()
    assert world.package(first).state == "confirmed"
    assert world.alerts() == {}


def test_a_decision_that_the_store_refuses_is_told_and_the_other_orders_are_decided(world: World):
    hostile, plain = world.order(), world.order()
    _refuse(world, "fulfillment_queue", hostile)
    world.sync()
    assert world.state(plain) == "accepted"
    assert "order.defect" in world.alerts()
    _allow(world, "fulfillment_queue")
    world.sql("update pipeline.orders set queue_stale = true")
    world.sync()
    assert world.state(hostile) == "accepted"
    assert world.alerts() == {}


def test_a_read_back_that_the_store_refuses_keeps_no_other_package_from_being_verified(world: World):
    hostile, plain = world.accepted(), world.accepted()
    first, second = world.ship(hostile), world.ship(plain)
    world.poll()
    world.confirm()
    world.make_due()
    confirmed_not = "state <> 'confirmed' or package_id <> '{}'"
    world.sql(
        f"alter table pipeline.shipment_confirmations add constraint refused check ({confirmed_not.format(first)})"
    )
    world.read_back()
    assert (world.package(first).state, world.package(second).state) == ("sent", "confirmed")
    assert "package.defect" in world.alerts()
    _allow(world, "shipment_confirmations")
    world.make_due()
    world.read_back()
    assert world.package(first).state == "confirmed"
    assert world.alerts() == {}
