"""Regulated orders wait until Amazon has verified them; nobody else costs a call for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.errors import AmazonRoleMissing, AmazonUnavailable, LimitNotBefore
from orders_pipeline.model.order import Priority
from orders_pipeline.operations.waive import waive_hold
from orders_pipeline.work.jobs import BACKFILLED, Queue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _regulated(world: World, verification: str | None, **more: Any) -> str:
    world.regulated_skus = ("SKU-0", "RX-*")
    order_id = world.order(verification=verification, **more)
    world.sync()
    return order_id


def _waive(world: World, order_id: str, reasons: list[str]) -> None:
    waive_hold(
        world.database, world.vault.audit, account_id=SELLER, order_id=order_id, reasons=reasons, why="checked_by_us"
    )


def _later(world: World) -> None:
    world.make_due()
    world.sync()


def test_an_unverified_order_is_held_until_it_is_approved(world: World):
    order_id = _regulated(world, "Pending", merchant_reviews=True)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["regulated"]
    assert "your review" in world.alerts()["order.verification"].message
    world.amazon.orders[order_id].verification = "Approved"
    _later(world)
    assert world.state(order_id) == "accepted"
    assert world.alerts() == {}
    asked = len(world.ports.verifications_asked)
    world.request_fetch(order_id)
    world.sync()
    assert len(world.ports.verifications_asked) == asked


def test_what_a_backfill_found_is_verified_by_the_tokens_that_live_orders_leave(world: World):
    world.regulated_skus = ("SKU-0",)
    orders = [world.order(verification="Pending") for _ in range(2)]
    world.drain()
    world.absorb()
    world.sql("update pipeline.jobs set priority = :low where subject = :id", low=BACKFILLED, id=orders[0])
    world.fetch()
    assert dict(world.ports.verifications_asked) == {orders[0]: Priority.BACKFILL, orders[1]: Priority.EVENT}
    again = {job.subject: job.priority for job in world.jobs(Queue.FETCH)}
    assert again == {orders[0]: BACKFILLED, orders[1]: 0}


@pytest.mark.parametrize("verification", ["Rejected", "Expired", "Cancelled", "SomethingNew"])
def test_what_was_not_approved_is_held_and_a_person_is_told(world: World, verification: str):
    order_id = _regulated(world, verification)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["regulated"]
    assert world.alerts()["order.verification"].severity == "error"
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    assert world.alerts() == {}


def test_orders_without_such_a_sku_cost_no_call(world: World):
    world.regulated_skus = ("RX-*",)
    order_id = world.order()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.ports.verifications_asked == []


def test_a_dosage_label_is_a_persons_work(world: World):
    order_id = _regulated(world, "Approved", dosage_label=True)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["dosage_label"]
    assert "dosage label" in world.alerts()["order.verification"].message
    _waive(world, order_id, ["dosage_label"])
    world.sync()
    assert world.state(order_id) == "accepted"


@pytest.mark.parametrize("verification", [None, "Pending", "Rejected"])
def test_a_person_may_ship_what_amazon_does_not_verify_and_it_goes_at_once(world: World, verification: str | None):
    order_id = _regulated(world, verification)
    assert world.state(order_id) == "held"
    _waive(world, order_id, ["regulated"])
    world.sync()
    assert world.state(order_id) == "accepted"


def test_a_decision_that_is_taken_back_has_amazon_asked_again(world: World):
    order_id = _regulated(world, "Rejected")
    world.amazon.request_cancellation(order_id)
    world.hear()
    _waive(world, order_id, ["regulated"])
    world.sync()
    _waive(world, order_id, [])
    world.amazon.orders[order_id].verification = "Approved"
    world.sync()
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["buyer_asks_to_cancel"]


def test_the_alert_about_the_role_ends_when_no_order_waits_for_a_verification(world: World):
    refused = AmazonRoleMissing("answered 403", operation="getOrderRegulatedInfo", status=403)
    world.faults.fail("get_verification", refused, times=100)
    cancelled, waived = _regulated(world, "Approved"), _regulated(world, "Approved")
    assert set(world.alerts()) == {"amazon.role"}
    _waive(world, waived, ["regulated"])
    world.sync()
    assert world.state(waived) == "accepted"
    assert set(world.alerts()) == {"amazon.role"}
    world.amazon.cancel(cancelled)
    world.hear()
    world.sync()
    assert world.alerts() == {}


def _approved_and_waiting(world: World) -> str:
    world.regulated_skus = ("SKU-0",)
    order_id = world.order(hear=False, verification="Approved")
    world.amazon.withhold_address(order_id, 3600)
    world.hear()
    world.sync()
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["no_address"]
    return order_id


def test_an_approval_that_is_older_than_an_hour_is_looked_at_again_before_the_push(world: World):
    order_id = _approved_and_waiting(world)
    _later(world)
    assert len(world.ports.verifications_asked) == 1, "a fresh one stands"
    world.sql("update pipeline.orders set verified_at = verified_at - interval '61 minutes'")
    world.amazon.orders[order_id].verification = "Expired"
    world.clock.advance(timedelta(hours=2))
    _later(world)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["regulated"]
    assert world.alerts()["order.verification"].severity == "error"


def test_an_approval_that_cannot_be_looked_at_again_holds_the_order_visibly(world: World):
    order_id = _approved_and_waiting(world)
    world.sql("update pipeline.orders set verified_at = verified_at - interval '61 minutes'")
    world.faults.fail("get_verification", AmazonUnavailable("503", operation="getOrderRegulatedInfo", status=503))
    world.clock.advance(timedelta(hours=2))
    _later(world)
    assert world.one("pipeline.fulfillment_orders", order_id).hold_reasons == ["regulated"]
    _later(world)
    assert world.state(order_id) == "accepted"


def test_what_the_warehouse_has_is_not_looked_at_again(world: World):
    order_id = _regulated(world, "Approved")
    world.sql("update pipeline.orders set verified_at = verified_at - interval '61 minutes'")
    world.request_fetch(order_id)
    world.sync()
    assert len(world.ports.verifications_asked) == 1


def test_a_refusal_of_the_verifications_holds_these_orders_alone_and_names_the_role(world: World):
    refused = AmazonRoleMissing("answered 403", operation="getOrderRegulatedInfo", status=403)
    world.faults.fail("get_verification", refused)
    held = _regulated(world, "Approved")
    world.regulated_skus = ()
    free = world.order()
    world.sync()
    assert (world.state(held), world.state(free)) == ("held", "accepted")
    assert set(world.alerts()) == {"amazon.role"}
    world.regulated_skus = ("SKU-0",)
    _later(world)
    assert world.state(held) == "accepted"
    assert world.alerts() == {}


@pytest.mark.parametrize("outage", [True, False])
def test_while_no_answer_can_be_had_the_order_is_held_and_asked_for_again(world: World, outage: bool):
    error = (
        AmazonUnavailable("answered 503", operation="getOrderRegulatedInfo", status=503)
        if outage
        else LimitNotBefore("no token", operation="getOrderRegulatedInfo", not_before=world.database.now())
    )
    world.faults.fail("get_verification", error)
    order_id = _regulated(world, "Approved")
    assert world.state(order_id) == "held"
    _later(world)
    assert world.state(order_id) == "accepted"
    assert world.alerts() == {}
