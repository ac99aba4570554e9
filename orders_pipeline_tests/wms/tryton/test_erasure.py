"""A buyer's data are nowhere in Tryton once they are erased: its own dump says so."""

from __future__ import annotations

import base64
from dataclasses import replace

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.wms.port import FulfillmentLine
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import ADDRESS, NAME, SHIPMENT, Floor, all_events, an_order

SECRETS = {
    "name": "Wilhelmina Featherstonehaugh",
    "company": "Quickthorn Apothecary",
    "address_line1": "19 Larkspur Terrace",
    "address_line2": "Flat Ultramarine",
    "city": "Ballachulish",
    "district": "Glenfinnanside",
    "state_or_region": "Argyllmere",
    "postal_code": "PH49-4JX",
    "phone": "+1 612 555 0177",
}


def test_name_street_and_phone_are_nowhere_in_a_dump(floor: Floor, warehouse: TrytonWarehouse):
    place = replace(ADDRESS, **{name: PersonalText(text) for name, text in SECRETS.items()})
    line = FulfillmentLine("item-1", "CUP", 1, gift_message=PersonalText("For Featherstonehaugh minor"))
    order = an_order(lines=(line,), ship_to=place)
    warehouse.push(order)
    floor.worker.ship(order.order_ref, tracking="K1")
    rpc = floor.server.rpc()
    (shipment,) = floor.shipments(order.order_ref)
    content = b"^XA^FD19 Larkspur Terrace^XZ"
    label = {"__class__": "bytes", "base64": base64.b64encode(content).decode()}
    for resource in (f"{SHIPMENT},{shipment['id']}", f"party.party,{shipment['customer.']['id']}"):
        rpc.create("ir.note", {"resource": resource, "message": "Rang +1 612 555 0177"})
        rpc.create("ir.attachment", {"resource": resource, "name": "label.txt", "type": "data", "data": label})
    dump = floor.server.dump()
    assert all(text in dump or text.replace(" ", "") in dump for text in SECRETS.values())

    assert warehouse.erase_pii(order.order_ref) is True
    dump = floor.server.dump()
    left = {name for name, text in SECRETS.items() if text in dump or text.replace(" ", "") in dump}
    assert left == set()
    assert "Featherstonehaugh" not in dump
    assert "Larkspur" not in dump
    assert content.hex().upper() not in dump
    assert "555 0177" not in dump
    # What was shipped stays known, and asking again is safe.
    assert warehouse.erase_pii(order.order_ref) is True
    assert {event.tracking_number for event in all_events(warehouse, order.order_ref)} == {"K1"}
    assert warehouse.push(order).answer == "shipped"


def test_what_tryton_lets_nobody_erase_is_not_said_to_be_erased(floor: Floor, warehouse: TrytonWarehouse):
    labelled, chatted, plain = an_order(("CUP", 1)), an_order(("CUP", 1)), an_order(("CUP", 1))
    for order in (labelled, chatted, plain):
        warehouse.push(order)
        floor.worker.ship(order.order_ref, tracking="K2")
    (shipment,) = floor.shipments(labelled.order_ref)
    # As a carrier's module stores it.
    statement = r"update stock_package set shipping_label = '\x00' where shipment = :reference"
    floor.server.execute(statement, reference=f"{SHIPMENT},{shipment['id']}")
    (shipment,) = floor.shipments(chatted.order_ref)
    floor.server.rpc().call("model.ir.chat.channel.post", f"{SHIPMENT},{shipment['id']}", "She rang twice")
    assert [warehouse.erase_pii(one.order_ref) for one in (labelled, chatted, plain)] == [False, False, True]


def test_what_somebody_has_deactivated_is_erased_too(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1), ship_to=replace(ADDRESS, address_line1=PersonalText("23 Whinchat Fold")))
    warehouse.push(order)
    floor.worker.ship(order.order_ref, tracking="K3")
    rpc = floor.server.rpc()
    (shipment,) = floor.shipments(order.order_ref)
    party = shipment["customer."]["id"]
    for model in ("party.address", "party.contact_mechanism", "party.identifier"):
        rpc.write(model, [one["id"] for one in rpc.search(model, [("party", "=", party)], ["id"])], {"active": False})
    rpc.write("party.party", [party], {"active": False})
    assert "23 Whinchat Fold" in floor.server.dump()
    assert warehouse.erase_pii(order.order_ref) is True
    assert "23 Whinchat Fold" not in floor.server.dump()
    assert floor.shipments(order.order_ref)[0]["customer."]["name"] != NAME
    assert rpc.search("party.party", [("id", "=", party)], ["id"]) == []


def test_an_order_that_never_came_holds_nothing(warehouse: TrytonWarehouse):
    assert warehouse.erase_pii("999-0000000-0000001") is True


def test_the_data_of_others_stay(floor: Floor, warehouse: TrytonWarehouse):
    one, other = an_order(("CUP", 1)), an_order(("CUP", 1))
    for order in (one, other):
        warehouse.push(order)
    warehouse.erase_pii(one.order_ref)
    assert floor.shipments(one.order_ref)[0]["customer."]["name"] != "Canary Quillfeather"
    assert floor.shipments(other.order_ref)[0]["customer."]["name"] == "Canary Quillfeather"
