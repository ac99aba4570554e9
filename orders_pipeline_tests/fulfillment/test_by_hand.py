"""What the warehouse's adapter cannot ask for is never called: a person is asked, and what came of it is seen."""

from __future__ import annotations

import pytest

from orders_pipeline.fulfillment.alerts import BY_HAND
from orders_pipeline.fulfillment.stop import seen_at_the_warehouse
from orders_pipeline.model.states import FulfillmentState as S
from orders_pipeline.wms.port import Capability
from orders_pipeline_tests.world import World


def _goes_on(world: World) -> None:
    world.hear()
    world.make_due()
    world.sync()


def _held_at_amazon(world: World, *, without: Capability = Capability.HOLD) -> str:
    order_id = world.accepted()
    world.wms.capabilities -= {without}
    world.amazon.request_cancellation(order_id)
    _goes_on(world)
    return order_id


def _cancelled_at_amazon(world: World) -> str:
    order_id = world.accepted()
    world.wms.capabilities -= {Capability.CANCEL}
    world.amazon.cancel(order_id)
    _goes_on(world)
    return order_id


def _advice(world: World) -> str | None:
    alert = world.alerts([BY_HAND]).get("order.by_hand")
    return None if alert is None else str(alert.message)


def test_a_hold_that_cannot_be_asked_for_is_a_persons_until_the_warehouse_shows_it(world: World):
    order_id = _held_at_amazon(world)
    assert world.state(order_id) == "hold_asked"
    assert world.one("pipeline.wms_orders", order_id).answer == "hold_by_hand"
    assert "is a person's to hold" in (_advice(world) or "")
    _goes_on(world)
    assert world.state(order_id) == "hold_asked", "nothing has come of it yet"
    world.warehouse.hold(order_id)
    _goes_on(world)
    assert (world.state(order_id), _advice(world)) == ("holding", None)
    assert "hold" not in world.calls(order_id)


def test_a_release_that_cannot_be_asked_for_is_a_persons_until_the_order_moves(world: World):
    order_id = _held_at_amazon(world)
    world.amazon.withdraw_cancellation_request(order_id)
    _goes_on(world)
    assert world.state(order_id) == "release_asked"
    assert "is a person's to release" in (_advice(world) or "")
    _goes_on(world)
    assert _advice(world) is not None, "a hold by telephone shows nowhere: that it is not held proves nothing"
    world.ship(order_id)
    world.run_until_idle()
    assert (world.status(order_id), _advice(world)) == ("SHIPPED", None)
    assert {"hold", "release"} & world.calls(order_id).keys() == set()


def test_a_cancellation_that_cannot_be_asked_for_ends_when_the_warehouse_shows_it(world: World):
    order_id = _cancelled_at_amazon(world)
    assert world.state(order_id) == "cancel_asked"
    assert "is a person's to cancel" in (_advice(world) or "")
    world.warehouse.stop(order_id)
    _goes_on(world)
    assert (world.state(order_id), _advice(world)) == ("cancelled", None)
    assert "cancel" not in world.calls(order_id)


def test_what_left_before_a_person_could_cancel_it_is_too_late(world: World):
    order_id = _cancelled_at_amazon(world)
    world.ship(order_id)
    _goes_on(world)
    assert (world.state(order_id), _advice(world)) == ("too_late", None)


def test_what_the_adapter_learns_to_ask_for_is_asked_by_it_from_then_on(world: World):
    order_id = _cancelled_at_amazon(world)
    world.wms.capabilities |= {Capability.CANCEL}
    _goes_on(world)
    assert (world.state(order_id), _advice(world)) == ("cancelled", None)
    assert world.calls(order_id)["cancel"] == 1


def test_that_a_person_is_asked_is_written_once_however_often_the_warehouse_is_looked_at(world: World):
    order_id = _cancelled_at_amazon(world)
    for _ in range(3):
        _goes_on(world)
    written = world.rows("audit.entries", "order_id, outcome", "action = 'warehouse_by_hand'")
    assert written == [(order_id, "cancel_by_hand")]
    assert world.calls(order_id)["find"] == 4


@pytest.mark.parametrize(
    ("status", "held", "released", "cancelled"),
    [
        (None, "not_found", "not_found", "not_found"),
        ("accepted", None, None, None),
        ("held", "done", None, None),
        ("packing", None, "done", None),
        ("partially_shipped", None, "done", None),
        ("shipped", "too_late", "done", "too_late"),
        ("cancelled", None, None, "cancelled"),
        ("a word of theirs", None, None, None),
    ],
)
def test_what_an_orders_status_says_of_what_was_asked(
    status: str | None, held: str | None, released: str | None, cancelled: str | None
):
    assert seen_at_the_warehouse(S.HOLD_ASKED, status) == held
    assert seen_at_the_warehouse(S.RELEASE_ASKED, status) == released
    assert seen_at_the_warehouse(S.CANCEL_ASKED, status) == cancelled
