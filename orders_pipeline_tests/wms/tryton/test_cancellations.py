"""A cancellation is asked for, and what came of it is read: nothing that left, or is about to, is cancelled."""

from __future__ import annotations

import pytest

from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import SHIPMENT, Floor, an_order, line_to
from warehouses.tryton.worker import Parcel


def test_what_waits_or_is_picked_is_cancelled(floor: Floor, warehouse: TrytonWarehouse):
    waiting, picked = an_order(("CUP", 1)), an_order(("CUP", 2))
    for order in (waiting, picked):
        warehouse.push(order)
    floor.worker.start_packing(picked.order_ref)
    for order in (waiting, picked):
        assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "cancelled"
        assert warehouse.cancel(order.order_ref, "asked twice") == "cancelled"
        assert floor.states(order.order_ref) == ["cancelled"]


def test_what_has_left_is_too_late_and_stays_as_it_is(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.ship(order.order_ref, tracking="1Z999")
    assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "too_late"
    assert floor.states(order.order_ref) == ["done"]


def test_a_label_makes_it_too_late(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.start_packing(order.order_ref)
    (shipment,) = floor.shipments(order.order_ref)
    rpc = floor.server.rpc()
    (box,) = rpc.search("stock.package.type", [("name", "=", "Box")], ["id"])
    label = {"shipment": f"{SHIPMENT},{shipment['id']}", "type": box["id"], "shipping_reference": "1Z998"}
    rpc.create("stock.package", label)
    assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "too_late"
    assert floor.states(order.order_ref) == ["picked"]


def test_of_a_split_order_the_rest_is_stopped(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1), ("PLATE", 1))
    warehouse.push(order)
    floor.worker.split(order.order_ref, {"PLATE": 1})
    floor.worker.ship(order.order_ref, [Parcel({"CUP": 1}, "1Z997")])
    assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "partial"
    assert warehouse.cancel(order.order_ref, "asked twice") == "partial"
    assert sorted(floor.states(order.order_ref)) == ["cancelled", "done"]


def test_what_left_and_was_voided_before_it_was_done_is_no_rest_that_was_stopped(
    floor: Floor, warehouse: TrytonWarehouse
):
    order = an_order(("CUP", 1), ("PLATE", 1))
    warehouse.push(order)
    floor.worker.split(order.order_ref, {"PLATE": 1})
    rpc = floor.server.rpc()
    voided = floor.shipments(order.order_ref)[0]["id"]
    floor.worker.start_packing(order.order_ref)
    for button in ("pack", "ship", "cancel"):
        rpc.press(SHIPMENT, button, [voided])
    floor.worker.ship(order.order_ref, tracking="1Z995")
    assert floor.states(order.order_ref) == ["cancelled", "done"]
    assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "too_late"


def test_what_ships_in_the_same_moment_is_not_cancelled(floor: Floor):
    order = an_order(("CUP", 1))

    def ship(method: str) -> None:
        if method == f"{SHIPMENT}.cancel":
            line.meanwhile = lambda method: None
            floor.worker.ship(order.order_ref, tracking="1Z996")

    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        warehouse.push(order)
        line.meanwhile = ship
        assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "too_late"
        warehouse.close()
    assert floor.states(order.order_ref) == ["done"]


def test_a_push_that_broke_off_is_cancelled_too(floor: Floor):
    order = an_order(("CUP", 1))
    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        line.lose_call = f"{SHIPMENT}.wait"
        with pytest.raises(WarehouseUnavailable):
            warehouse.push(order)
        assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "cancelled"
        warehouse.close()
    assert floor.states(order.order_ref) == ["cancelled"]


def test_an_order_that_never_came_is_not_found(warehouse: TrytonWarehouse):
    assert warehouse.cancel("999-0000000-0000000", "cancelled at Amazon") == "not_found"
