"""Two parties that somebody merged in Tryton: each order keeps its shipment, and no buyer is said to be erased."""

from __future__ import annotations

from orders_pipeline.wms.port import FulfillmentOrder
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import NAME, SHIPMENT, Floor, all_events, an_order
from warehouses.tryton import master_data


def _merged(floor: Floor, warehouse: TrytonWarehouse) -> tuple[FulfillmentOrder, FulfillmentOrder]:
    """Two orders of one buyer, the first one's party merged into the second one's."""
    first, second = an_order(("CUP", 1)), an_order(("CUP", 2))
    for order in (first, second):
        assert warehouse.push(order).answer == "accepted"
    _merge(floor, f"amazon:{first.order_ref}", f"amazon:{second.order_ref}")
    return first, second


def _merge(floor: Floor, code: str, into: str) -> None:
    rpc = floor.server.rpc(master_data.ADMINISTRATOR)
    ids = {one["code"]: one["id"] for one in rpc.search("party.party", [("code", "in", [code, into])], ["code"])}
    form = {"source": ids[code], "destination": ids[into]}
    rpc.wizard("party.replace", "party.party", [ids[code]], ask=(form, "replace"))


def test_each_package_is_told_of_its_own_order(floor: Floor, warehouse: TrytonWarehouse):
    first, second = _merged(floor, warehouse)
    floor.worker.ship(first.order_ref, tracking="M1")
    floor.worker.ship(second.order_ref, tracking="M2")
    told = {event.order_ref: event for event in all_events(warehouse, first.order_ref, second.order_ref)}
    assert {ref: event.tracking_number for ref, event in told.items()} == {
        first.order_ref: "M1",
        second.order_ref: "M2",
    }
    assert [dict(told[order.order_ref].lines) for order in (first, second)] == [{"item-0": 1}, {"item-0": 2}]
    assert [warehouse.push(order).answer for order in (first, second)] == ["duplicate", "duplicate"]


def test_the_shipment_of_the_one_that_is_cancelled_is_cancelled_and_no_other(floor: Floor, warehouse: TrytonWarehouse):
    first, second = _merged(floor, warehouse)
    found = warehouse.find(first.order_ref)
    assert found is not None
    assert found.status == "accepted"
    assert warehouse.cancel(first.order_ref, "cancelled at Amazon") == "cancelled"
    assert (floor.states(first.order_ref), floor.states(second.order_ref)) == (["cancelled"], ["waiting"])
    first, second = _merged(floor, warehouse)
    assert warehouse.cancel(second.order_ref, "cancelled at Amazon") == "cancelled"
    assert (floor.states(first.order_ref), floor.states(second.order_ref)) == (["waiting"], ["cancelled"])


def test_the_buyer_of_neither_is_said_to_be_erased(floor: Floor, warehouse: TrytonWarehouse):
    first, second = _merged(floor, warehouse)
    for order in (first, second):
        assert warehouse.erase_pii(order.order_ref) is False
        assert floor.shipments(order.order_ref)[0]["customer."]["name"] == NAME


def test_an_order_in_a_customer_of_the_merchants_own_is_followed_and_its_erasure_left_to_a_person(
    floor: Floor, warehouse: TrytonWarehouse
):
    order, code = an_order(("CUP", 1)), "a-customer-of-our-own"
    floor.server.rpc(master_data.ADMINISTRATOR).create("party.party", {"name": NAME, "code": code})
    warehouse.push(order)
    _merge(floor, f"amazon:{order.order_ref}", code)
    floor.worker.ship(order.order_ref, tracking="M5")
    assert [event.tracking_number for event in all_events(warehouse, order.order_ref)] == ["M5"]
    assert warehouse.cancel(order.order_ref, "cancelled at Amazon") == "too_late"
    assert warehouse.erase_pii(order.order_ref) is False
    assert floor.shipments(order.order_ref)[0]["customer."]["name"] == NAME


def test_a_shipment_of_which_nobody_can_tell_whose_it_is_is_told_of_no_order(floor: Floor, warehouse: TrytonWarehouse):
    first, second = _merged(floor, warehouse)
    (shipment,) = floor.shipments(first.order_ref)
    # A copy has no reference unless somebody types it in.
    floor.server.rpc().call(f"model.{SHIPMENT}.copy", [shipment["id"]], {"reference": "by hand too"})
    floor.worker.ship("by hand too", tracking="M7")
    assert all_events(warehouse, first.order_ref, second.order_ref) == []
