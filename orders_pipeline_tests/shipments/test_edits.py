"""An edit counts as confirmed only where it is proven: what Amazon showed before it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orders_pipeline.channels.amazon.carriers import COLUMNS, read_table
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError, AmazonUnavailable
from orders_pipeline.database.engine import Database
from orders_pipeline.model.shipment import ShipmentConfirmation
from orders_pipeline.operations.replay import recover_order
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World, open_world

NEW = "1Z999AA10123456784"
REFUSED = AmazonBadRequest("confirmShipment answered 400", operation="confirmShipment", status=400)
LOST = AmazonUnavailable("confirmShipment could not be reached", operation="confirmShipment")


def _relabelled(world: World, order_id: str, package_id: str) -> str:
    world.warehouse.void(order_id, package_id)
    world.confirm_and_verify()
    world.warehouse.relabel(order_id, package_id, NEW)
    return package_id


def _replaced(world: World, order_id: str, package_id: str) -> str:
    world.warehouse.void(order_id, package_id)
    world.confirm_and_verify()
    return world.ship(order_id, tracking=NEW)


def _replaced_first(world: World, order_id: str, package_id: str) -> str:
    world.warehouse.void(order_id, package_id)
    replacement = world.ship(order_id, tracking=NEW)
    *_, void_event, ship_event = world.warehouse.events
    world.warehouse.events[-2:] = [ship_event, void_event]
    return replacement


def _corrected(world: World, order_id: str, package_id: str) -> str:
    event = world.warehouse.events[-1]
    world.warehouse.events.append({**event, "event_id": "corrected", "tracking_number": NEW})
    return package_id


Edit = Callable[[World, str, str], str]


@pytest.mark.parametrize("api", ["v0", "2026-01-01"])
@pytest.mark.parametrize("error", [REFUSED, LOST], ids=["refused", "lost"])
@pytest.mark.parametrize("edit", [_relabelled, _replaced, _replaced_first, _corrected])
def test_an_edit_that_amazon_did_not_take_is_told_again_or_told_to_a_person(
    database: Database, tmp_path: Path, api: str, error: AmazonError, edit: Edit
):
    world = open_world(database, tmp_path, api_version=api)
    order_id = world.accepted()
    first = world.ship(order_id)
    world.confirm_and_verify()
    old = world.package(first).tracking_number
    package_id = edit(world, order_id, first)
    world.faults.fail("confirm", error)
    world.run_until_idle()
    package = world.package(package_id)
    if error is LOST:
        assert world.shown(order_id) == {"1": NEW}
        assert package.state == "confirmed"
        assert world.alerts() == {}
        return
    assert world.shown(order_id) == {"1": old}
    assert package.state == "refused"
    assert "answered 400" in world.alerts()["package.refused"].message
    # A person has it tried again: it is told, not believed.
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    world.run_until_idle()
    assert world.shown(order_id) == {"1": NEW}
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}


@pytest.mark.parametrize("api", ["v0", "2026-01-01"])
def test_another_carrier_under_the_same_number_is_told_until_amazon_takes_it(
    database: Database, tmp_path: Path, api: str
):
    world = open_world(database, tmp_path, api_version=api)
    order_id = world.accepted()
    package_id = world.ship(order_id, carrier="Bluefin Couriers")
    world.confirm_and_verify()
    world.carriers = read_table([",".join(COLUMNS), "Bluefin Couriers,*,*,OnTrac,"], "carriers.csv")
    world.faults.fail("confirm", LOST)
    world.run_until_idle()
    assert world.amazon.orders[order_id].packages["1"].carrier_code == "OnTrac"
    world.warehouse.events.append({**world.warehouse.events[-1], "event_id": "corrected", "carrier": "FedEx"})
    world.faults.fail("confirm", REFUSED)
    world.run_until_idle()
    assert world.amazon.orders[order_id].packages["1"].carrier_code == "OnTrac"
    assert world.package(package_id).state == "refused"
    assert "package.refused" in world.alerts()


@pytest.mark.parametrize("error", [REFUSED, LOST], ids=["refused", "lost"])
def test_an_edit_with_a_lost_answer_is_confirmed_by_its_tracking_number(world: World, error: AmazonError):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    _relabelled(world, order_id, package_id)
    world.faults.fail("confirm", error, after=True)
    world.run_until_idle()
    assert world.shown(order_id) == {"1": NEW}
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}


def test_a_first_call_that_amazon_answers_late_is_not_taken_for_the_edits(database: Database, tmp_path: Path):
    world = open_world(database, tmp_path, api_version="v0")
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.poll()
    confirm_shipment = world.ports.confirm_shipment

    def while_another_process_tells_the_new_label(confirmation: ShipmentConfirmation, **arguments: float) -> None:
        confirm_shipment(confirmation, **arguments)
        world.ports.confirm_shipment = confirm_shipment
        world.warehouse.void(order_id, package_id)
        world.warehouse.relabel(order_id, package_id, NEW)
        world.poll()
        world.faults.fail("confirm", LOST)
        world.confirm()

    world.ports.confirm_shipment = while_another_process_tells_the_new_label
    world.confirm()
    assert world.package(package_id).state == "sending", "what came of the new label's call is not known"
    world.run_until_idle()
    assert world.shown(order_id) == {"1": NEW}
    assert world.package(package_id).state == "confirmed"
