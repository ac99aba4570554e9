"""The sandbox whose warehouse is a Tryton: its floor works there, its books and its judge read there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.day.scenarios import SCENARIOS, PlannedOrder
from orders_pipeline.sandbox.warehouse.floor import FloorOptions, ShippingPlan
from orders_pipeline.sandbox.warehouse.state import WarehouseOrder
from warehouses.tryton.bare_client import BareClient
from warehouses.tryton.master_data import PIPELINE
from warehouses.tryton.sandbox import TrytonSandbox
from warehouses.tryton.server import TrytonServer

QUICK = FloorOptions(min_seconds=0.1, max_seconds=0.2, packing_seconds=0.1, second_package_seconds=0.2)
LINES = [{"sku": "MUG-STONE-350", "quantity": 2}, {"sku": "TOWEL-SET-4", "quantity": 1}]


@pytest.fixture(scope="module")
def sandbox(tryton: TrytonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonSandbox]:
    # The other one has prepared the database, or has skipped us.
    with TrytonSandbox(folder=tmp_path_factory.mktemp("sandbox"), time_scale=1000, floor=QUICK) as running:
        assert isinstance(running, TrytonSandbox)
        yield running


def push(sandbox: TrytonSandbox, plan: ShippingPlan) -> Order:
    """An order of two lines at Amazon and, by a bare client, at Tryton."""
    order = sandbox.add_order(items=LINES)
    sandbox.floor.plans[order.order_id] = plan
    sandbox.day.planned[order.order_id] = PlannedOrder(order, SCENARIOS["single_item"])
    BareClient(sandbox.tryton.rpc(PIPELINE)).push(
        order.order_id, {str(item.sku): item.quantity for item in order.items}
    )
    return order


def await_order(sandbox: TrytonSandbox, order: Order, condition: Callable[[WarehouseOrder], bool]) -> WarehouseOrder:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = sandbox.warehouse.orders.get(order.order_id)
        if found is not None and condition(found) and sandbox.floor.idle():
            return found
        time.sleep(0.05)
    raise AssertionError(sandbox.warehouse.orders.get(order.order_id))


def why(sandbox: TrytonSandbox, order: Order) -> str:
    (verdict,) = [one for one in sandbox.verdicts()["verdicts"] if one["order_id"] == order.order_id]
    return verdict["why"]


def test_an_order_is_shipped_and_the_books_know_its_lines_by_amazons_ids(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(carrier=("Bluefin Couriers", "Same City")))
    at_warehouse = await_order(sandbox, order, lambda one: one.status == "shipped")
    assert at_warehouse.lines == {item.item_id: item.quantity for item in order.items}
    assert at_warehouse.open_units() == {}
    units: dict[str, int] = {}
    for package in at_warehouse.packages:
        assert (package.carrier, package.service, package.voided) == ("Bluefin Couriers", "Same City", False)
        for line_ref, count in package.lines.items():
            units[line_ref] = units.get(line_ref, 0) + count
    assert units == at_warehouse.lines


def test_what_is_missing_on_the_shelf_is_short(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(story="short"))
    at_warehouse = await_order(sandbox, order, lambda one: one.status == "shipped")
    missing = sorted(at_warehouse.lines)[-1]
    assert at_warehouse.short == {missing: at_warehouse.lines[missing]}
    assert at_warehouse.open_units() == {}


def test_a_voided_shipment_is_replaced(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(story="voided"))
    at_warehouse = await_order(sandbox, order, lambda one: len(one.packages) == 2 and one.status == "shipped")
    assert [package.voided for package in at_warehouse.packages] == [True, False]
    assert at_warehouse.packages[1].lines == at_warehouse.lines


def test_a_box_gets_another_label(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(story="relabelled"))
    _, _, first = sandbox.floor._label(order.order_id, "first")
    at_warehouse = await_order(
        sandbox, order, lambda one: [package.tracking_number for package in one.packages] not in ([], [first])
    )
    (package,) = at_warehouse.packages
    assert (package.voided, package.lines) == (False, at_warehouse.lines)


def test_the_judge_names_the_fields_of_a_wrong_door_and_not_their_values(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan())
    await_order(sandbox, order, lambda one: one.status == "shipped")
    told = why(sandbox, order)
    assert "another address at the warehouse: name, address_line1" in told
    assert order.address.name is not None
    assert order.address.name not in told


def test_the_judge_finds_an_order_that_was_made_twice(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(story="waits"))
    await_order(sandbox, order, lambda one: one.status == "accepted")
    assert "made" not in why(sandbox, order)
    BareClient(sandbox.tryton.rpc(PIPELINE)).push(order.order_id, {"MUG-STONE-350": 2})
    deadline = time.monotonic() + 20
    while "made 2 times by the pipeline" not in why(sandbox, order):
        assert time.monotonic() < deadline, why(sandbox, order)
        time.sleep(0.2)


def test_a_tryton_that_was_killed_is_started_again_and_the_floor_goes_on(sandbox: TrytonSandbox):
    order = push(sandbox, ShippingPlan(delay_seconds=1.0))
    sandbox.tryton.kill()
    at_warehouse = await_order(sandbox, order, lambda one: one.status == "shipped")
    assert at_warehouse.open_units() == {}
