"""A package that was voided and leaves after all: the same `package_id`, a new event, a new label."""

from __future__ import annotations

import pytest

from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline_tests.world import World

RESET = AmazonUnavailable("confirmShipment could not be reached", operation="confirmShipment")


def _relabel(world: World, order_id: str, package_id: str, tracking: str) -> None:
    world.warehouse.relabel(order_id, package_id, tracking)


def _outcomes(world: World) -> list[str]:
    rows = world.rows("pipeline.wms_shipments", "sequence, result")
    return [row.result for row in rows]


def test_a_package_that_amazon_was_told_of_is_edited_under_its_reference_id(world: World):
    order_id = world.accepted(quantities=(2, 1))
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    assert world.package(package_id).state == "confirmed"
    world.warehouse.void(order_id, package_id)
    world.confirm_and_verify()
    assert "package.voided" in world.alerts()
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    world.confirm_and_verify()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    package = world.package(package_id)
    assert (package.state, package.package_reference_id) == ("confirmed", 1)
    assert package.tracking_number == "1Z999AA10123456784"
    assert world.alerts() == {}
    world.run_until_idle()
    assert world.state(order_id) == "closed"


def test_a_package_that_amazon_was_not_told_of_is_confirmed_with_its_new_label_only(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    world.confirm_and_verify()
    assert [told.tracking_number for told in world.ports.told] == ["1Z999AA10123456784"]
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.package(package_id).state == "confirmed"
    assert _outcomes(world) == ["shipped", "voided_before_confirmation", "relabelled"]


def test_it_can_be_voided_and_labelled_anew_again_and_again(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    for number in range(3):
        world.confirm_and_verify()
        world.warehouse.void(order_id, package_id)
        if number != 1:
            world.confirm_and_verify()
        _relabel(world, order_id, package_id, f"1Z999AA1012345678{number}")
    world.run_until_idle()
    assert world.shown(order_id) == {"1": "1Z999AA10123456782"}
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}
    world.warehouse.void(order_id, package_id)
    world.run_until_idle()
    assert world.package(package_id).state == "awaits_replacement"
    assert "package.voided" in world.alerts()


def test_events_that_come_again_neither_revive_nor_void_it(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    world.warehouse.void(order_id, package_id)
    shipped, voided = (event["event_id"] for event in world.warehouse.events)
    world.confirm_and_verify()
    world.warehouse.repeat_event(shipped)
    world.confirm_and_verify()
    assert world.package(package_id).state == "awaits_replacement", "the old report, delivered again, says nothing new"
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    world.confirm_and_verify()
    world.warehouse.repeat_event(voided)
    world.warehouse.repeat_event(shipped)
    world.confirm_and_verify()
    assert world.package(package_id).state == "confirmed"
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}


@pytest.mark.parametrize("told", [False, True], ids=["before Amazon was told", "after Amazon was told"])
def test_a_new_label_that_is_reported_before_the_void_of_the_old_one_stays(world: World, told: bool):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    if told:
        world.confirm_and_verify()
    world.warehouse.void(order_id, package_id)
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    *_, void_event, ship_event = world.warehouse.events
    world.warehouse.events[-2:] = [ship_event, void_event]
    world.confirm_and_verify()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.package(package_id).state == "confirmed"
    assert _outcomes(world)[-1] == "voided_old_label"


def test_after_a_void_that_came_before_everything_only_another_label_counts(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    world.warehouse.events.reverse()
    world.confirm_and_verify()
    assert (world.package(package_id).state, world.ports.told) == ("voided", [])
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    world.confirm_and_verify()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.package(package_id).package_reference_id == 1


def test_a_package_whose_reference_was_taken_gets_its_own(world: World):
    order_id = world.accepted(quantities=(2,))
    first = world.ship(order_id, {0: 2})
    world.confirm_and_verify()
    world.warehouse.void(order_id, first)
    second = world.ship(order_id, {0: 1})
    world.confirm_and_verify()
    assert (world.package(first).state, world.package(second).package_reference_id) == ("replaced", 1)
    world.warehouse.orders[order_id].packages[0].lines = {world.amazon.orders[order_id].items[0].item_id: 1}
    _relabel(world, order_id, first, "1Z999AA10123456784")
    world.run_until_idle()
    assert world.package(first).package_reference_id == 2
    assert world.shown(order_id) == {"1": world.package(second).tracking_number, "2": "1Z999AA10123456784"}
    assert {world.package(one).state for one in (first, second)} == {"confirmed"}


def test_a_new_label_without_a_tracking_number_waits_for_it(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    world.warehouse.void(order_id, package_id)
    _relabel(world, order_id, package_id, "")
    world.confirm_and_verify()
    assert world.package(package_id).state == "needs_correction", "the dead label's number is not its own"
    world.warehouse.events.append(
        {**world.warehouse.events[-1], "event_id": "late", "tracking_number": "1Z999AA10123456784"}
    )
    world.confirm_and_verify()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.alerts() == {}


def test_a_void_and_a_new_label_while_a_call_is_under_way_end_with_the_new_label(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.poll()
    world.faults.fail("confirm", RESET, after=True)
    world.confirm()
    assert world.package(package_id).state == "sending"
    world.warehouse.void(order_id, package_id)
    _relabel(world, order_id, package_id, "1Z999AA10123456784")
    world.run_until_idle()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}
