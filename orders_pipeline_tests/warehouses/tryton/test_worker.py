"""What the worker does in Tryton, and how it looks there to somebody who only reads."""

from __future__ import annotations

import itertools

import pytest

from warehouses.tryton.bare_client import BareClient
from warehouses.tryton.master_data import PIPELINE
from warehouses.tryton.rpc import Record
from warehouses.tryton.server import TrytonServer
from warehouses.tryton.worker import SHIPMENT, NotPossible, Parcel, TrytonWorker

MUG, TOWELS = "MUG-STONE-350", "TOWEL-SET-4"
_numbers = itertools.count(1)


class Order:
    """One order at the warehouse, as the pipeline would have pushed it, and the worker at work on it."""

    def __init__(self, tryton: TrytonServer, lines: dict[str, int]) -> None:
        self.ref = f"112-{next(_numbers):07d}-0000000"
        self.tryton, self.worker = tryton, TrytonWorker(tryton.rpc())
        BareClient(tryton.rpc(PIPELINE)).push(self.ref, lines)

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.worker.shipments(self.ref)]

    @property
    def units(self) -> list[dict[str, int]]:
        return [dict(one.units) for one in self.worker.shipments(self.ref)]

    def packages(self) -> list[tuple[str, dict[str, int]]]:
        """(tracking number, units by SKU) of each package of this order."""
        rpc = self.tryton.rpc()
        shipments = [f"{SHIPMENT},{one.id}" for one in self.worker.shipments(self.ref)]
        fields = ["shipping_reference", "moves"]
        found = rpc.search("stock.package", [("shipment", "in", shipments)], fields, order=[("id", "ASC")])
        told: list[tuple[str, dict[str, int]]] = []
        for package in found:
            moves: list[Record] = rpc.read("stock.move", package["moves"], ["product.code", "quantity"])
            told.append((package["shipping_reference"], {m["product."]["code"]: int(m["quantity"]) for m in moves}))
        return told


def test_an_order_is_assigned_picked_packed_shipped_and_done(tryton: TrytonServer):
    order = Order(tryton, {MUG: 2, TOWELS: 1})
    before = order.worker.stock(MUG)
    order.worker.start_packing(order.ref)
    assert order.states == ["picked"]
    (package,) = order.worker.ship(order.ref, carrier="FedEx", service="2Day", tracking="123456789012")
    assert order.states == ["done"]
    assert order.packages() == [("123456789012", {MUG: 2, TOWELS: 1})]
    assert order.worker.stock(MUG) == before - 2
    assert package
    with pytest.raises(NotPossible, match="is done"):
        order.worker.ship(order.ref)


def test_what_is_picked_short_is_seen_in_the_moves_alone(tryton: TrytonServer):
    order = Order(tryton, {MUG: 3, TOWELS: 1})
    order.worker.start_packing(order.ref, {MUG: 1, TOWELS: 1})
    order.worker.ship(order.ref, tracking="1Z1")
    assert (order.states, order.units) == (["done"], [{MUG: 2}])
    assert order.packages() == [("1Z1", {MUG: 2})]


def test_where_stock_is_missing_what_is_there_is_picked(tryton: TrytonServer):
    order = Order(tryton, {"KNIFE-PARING": 5})
    order.worker.count_stock({"KNIFE-PARING": 2})
    with pytest.raises(NotPossible, match="the stock does not suffice"):
        order.worker.start_packing(order.ref)
    assert order.states == ["waiting"]
    assert order.worker.pick_what_is_there(order.ref) == {"KNIFE-PARING": 3}
    order.worker.ship(order.ref, tracking="1Z2")
    assert (order.states, order.units) == (["done"], [{"KNIFE-PARING": 2}])


def test_several_packages_of_one_shipment_share_its_units(tryton: TrytonServer):
    order = Order(tryton, {MUG: 3, TOWELS: 1})
    parcels = [Parcel({MUG: 1}, "1Z3"), Parcel({MUG: 2, TOWELS: 1}, "1Z4")]
    assert len(order.worker.ship(order.ref, parcels)) == 2
    assert order.states == ["done"]
    assert order.packages() == [("1Z3", {MUG: 1}), ("1Z4", {MUG: 2, TOWELS: 1})]


def test_what_leaves_later_is_a_second_shipment_of_the_same_reference(tryton: TrytonServer):
    order = Order(tryton, {MUG: 1, TOWELS: 2})
    for _ in range(2):  # a repetition changes nothing
        order.worker.split(order.ref, {TOWELS: 2})
    assert order.units == [{MUG: 1}, {TOWELS: 2}]
    order.worker.ship(order.ref, tracking="1Z5")
    assert order.states == ["done", "waiting"]
    order.worker.ship(order.ref, tracking="1Z6")
    assert order.states == ["done", "done"]
    assert order.packages() == [("1Z5", {MUG: 1}), ("1Z6", {TOWELS: 2})]


def test_a_voided_shipment_is_cancelled_although_it_was_done_and_a_copy_is_sent(tryton: TrytonServer):
    order = Order(tryton, {MUG: 2})
    order.worker.ship(order.ref, tracking="1Z7")
    order.worker.void(order.ref)
    assert order.states == ["cancelled"]
    order.worker.send_again(order.ref)
    order.worker.ship(order.ref, tracking="1Z8")
    assert order.states == ["cancelled", "done"]
    # The cancelled one keeps its label, and no units.
    assert order.packages() == [("1Z7", {}), ("1Z8", {MUG: 2})]


def test_a_box_that_has_left_can_be_given_another_label(tryton: TrytonServer):
    order = Order(tryton, {MUG: 1})
    (package,) = order.worker.ship(order.ref, tracking="1Z9")
    order.worker.relabel(order.ref, package, "1Z10")
    assert order.states == ["done"]
    assert order.packages() == [("1Z10", {MUG: 1})]


@pytest.mark.parametrize("packing", [False, True])
def test_an_order_can_be_cancelled_until_it_is_packed(tryton: TrytonServer, packing: bool):
    order = Order(tryton, {MUG: 1})
    if packing:
        order.worker.start_packing(order.ref)
    before = order.worker.stock(MUG)
    order.worker.cancel(order.ref)
    assert order.states == ["cancelled"]
    assert order.worker.stock(MUG) == before + (1 if packing else 0)
    with pytest.raises(NotPossible, match="is cancelled"):
        order.worker.start_packing(order.ref)
