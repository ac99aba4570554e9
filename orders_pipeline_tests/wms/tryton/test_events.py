"""What Tryton's workers did comes as events, each once, with our own order items in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from orders_pipeline.model.untrusted_text import LONGEST_TEXT, is_bounded
from orders_pipeline.wms.port import ShipmentEvent
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline.wms.tryton.cursors import OVERLAP_EVERY, read_cursor
from orders_pipeline.wms.tryton.shipments import SeenShipment
from orders_pipeline_tests.wms.tryton.floor import SHIPMENT, Floor, all_events, an_order
from warehouses.tryton.worker import Parcel


def _told(events: list[ShipmentEvent]) -> list[tuple[str, str | None, dict[str, int]]]:
    return [(event.kind, event.tracking_number, dict(event.lines)) for event in events]


def test_a_package_has_its_items_carrier_and_time(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 2), ("PLATE", 1))
    warehouse.push(order)
    before = datetime.now(UTC) - timedelta(seconds=1)
    (number,) = floor.worker.ship(order.order_ref, carrier="FedEx", service="2Day", tracking="7712")
    (event,) = all_events(warehouse, order.order_ref)
    assert (event.kind, event.package_id, event.tracking_number) == ("shipped", number, "7712")
    assert (event.carrier, event.service) == ("FedEx", "2Day")
    assert dict(event.lines) == {"item-0": 2, "item-1": 1}
    assert event.shipped_at is not None
    assert before <= event.shipped_at <= datetime.now(UTC) + timedelta(seconds=1)
    found = warehouse.find(order.order_ref)
    assert found is not None
    assert found.status == "shipped"


def test_a_partial_pick_in_two_packages_tells_what_left_and_what_will_not_come(
    floor: Floor, warehouse: TrytonWarehouse
):
    # Two items of the same product: each piece is told of its own item.
    order = an_order(("CUP", 3), ("PLATE", 2), ("CUP", 1))
    warehouse.push(order)
    floor.worker.start_packing(order.order_ref, missing={"PLATE": 1})
    floor.worker.ship(order.order_ref, [Parcel({"CUP": 1}, "A1"), Parcel({"CUP": 3, "PLATE": 1}, "A2")])
    events = all_events(warehouse, order.order_ref)
    shipped = [event for event in events if event.kind == "shipped"]
    assert {event.tracking_number for event in shipped} == {"A1", "A2"}
    left = sum((Counter(dict(event.lines)) for event in shipped), Counter[str]())
    assert left == {"item-0": 3, "item-1": 1, "item-2": 1}
    assert [dict(event.lines) for event in events if event.kind == "short"] == [{"item-1": 1}]


def test_stock_that_does_not_suffice_is_told_as_short_and_not_as_success(floor: Floor, warehouse: TrytonWarehouse):
    floor.add_products({"SCARCE": 1})
    order = an_order(("SCARCE", 3), ("CUP", 1))
    warehouse.push(order)
    rpc = floor.server.rpc()
    (shipment,) = floor.shipments(order.order_ref)
    rpc.press(SHIPMENT, "assign_try", [shipment["id"]])
    assert floor.states(order.order_ref) == ["waiting"]
    assert _told(all_events(warehouse, order.order_ref)) == [("short", None, {"item-0": 2})]
    floor.worker.pick_what_is_there(order.order_ref)
    floor.worker.ship(order.order_ref, tracking="B1")
    told = _told(all_events(warehouse, order.order_ref))
    assert ("shipped", "B1", {"item-0": 1, "item-1": 1}) in told
    assert [lines for kind, _, lines in told if kind == "short"] == [{"item-0": 2}]


def test_a_voided_package_and_the_one_that_leaves_in_its_place(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 2))
    warehouse.push(order)
    (first,) = floor.worker.ship(order.order_ref, tracking="C1")
    assert _told(all_events(warehouse, order.order_ref)) == [("shipped", "C1", {"item-0": 2})]
    floor.worker.void(order.order_ref)
    (void,) = all_events(warehouse, order.order_ref)
    assert (void.kind, void.package_id, void.tracking_number) == ("voided", first, "C1")
    floor.worker.send_again(order.order_ref)
    floor.worker.ship(order.order_ref, tracking="C2")
    voided, shipped = all_events(warehouse, order.order_ref)
    assert voided.event_id == void.event_id
    assert (shipped.kind, shipped.tracking_number, dict(shipped.lines)) == ("shipped", "C2", {"item-0": 2})
    assert shipped.package_id != first


def test_a_package_leaves_when_it_is_shipped_and_not_again_when_that_is_done(floor: Floor, warehouse: TrytonWarehouse):
    done, cancelled = an_order(("CUP", 1)), an_order(("CUP", 1))
    rpc = floor.server.rpc()
    for order in (done, cancelled):
        warehouse.push(order)
        _pack(floor, order.order_ref, f"N-{order.order_ref}")
        rpc.press(SHIPMENT, "ship", [floor.shipments(order.order_ref)[0]["id"]])
        assert floor.states(order.order_ref) == ["shipped"]
    left = all_events(warehouse, done.order_ref, cancelled.order_ref)
    assert [event.kind for event in left] == ["shipped", "shipped"]
    rpc.press(SHIPMENT, "do", [floor.shipments(done.order_ref)[0]["id"]])
    rpc.press(SHIPMENT, "cancel", [floor.shipments(cancelled.order_ref)[0]["id"]])
    (again,) = all_events(warehouse, done.order_ref)
    assert again.event_id in {event.event_id for event in left}
    # One that left and is cancelled before it is done was sent all the same.
    assert [event.kind for event in all_events(warehouse, cancelled.order_ref)] == ["voided"]


def test_a_label_of_a_shipment_that_never_left_voids_nothing(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    _pack(floor, order.order_ref, "O1")
    floor.worker.cancel(order.order_ref)
    assert [event.kind for event in all_events(warehouse, order.order_ref)] == ["cancelled"]


def test_what_left_in_no_package_is_voided_when_it_is_cancelled(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.start_packing(order.order_ref)
    (shipment,) = floor.shipments(order.order_ref)
    rpc = floor.server.rpc()
    for button in ("pack", "ship"):
        rpc.press(SHIPMENT, button, [shipment["id"]])
    (left,) = all_events(warehouse, order.order_ref)
    rpc.press(SHIPMENT, "cancel", [shipment["id"]])
    (voided,) = all_events(warehouse, order.order_ref)
    assert (left.kind, voided.kind, voided.package_id) == ("shipped", "voided", left.package_id)


def test_a_day_that_was_entered_afterwards_ends_in_the_companys_time_zone():
    record = {"id": 1, "effective_date": date(2030, 11, 21), "write_date": datetime(2030, 11, 25, tzinfo=UTC)}
    for zone, end in {"America/Los_Angeles": "2030-11-22T07:59:59Z", "Asia/Tokyo": "2030-11-21T14:59:59Z"}.items():
        seen = SeenShipment(record, [], [], Counter(), was_sent=True, zone=ZoneInfo(zone))
        assert seen.at == datetime.fromisoformat(end)


def _pack(floor: Floor, order_ref: str, tracking: str) -> None:
    """Picked and packed with a label, and not shipped."""
    floor.worker.start_packing(order_ref)
    rpc = floor.server.rpc()
    (shipment,) = rpc.search(SHIPMENT, [("reference", "=", order_ref)], ["outgoing_moves"])
    (box,) = rpc.search("stock.package.type", [("name", "=", "Box")], ["id"])
    label = {"shipment": f"{SHIPMENT},{shipment['id']}", "type": box["id"], "shipping_reference": tracking}
    rpc.create("stock.package", {**label, "moves": [("add", shipment["outgoing_moves"])]})
    rpc.press(SHIPMENT, "pack", [shipment["id"]])


def test_what_is_missing_of_a_replacement_is_short(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 2), ("PLATE", 1))
    warehouse.push(order)
    floor.worker.ship(order.order_ref, tracking="P1")
    floor.worker.void(order.order_ref)
    assert {event.kind for event in all_events(warehouse, order.order_ref)} == {"voided"}
    floor.worker.send_again(order.order_ref)
    floor.worker.start_packing(order.order_ref, missing={"PLATE": 1})
    floor.worker.ship(order.order_ref, tracking="P2")
    told = _told(all_events(warehouse, order.order_ref))
    assert ("shipped", "P2", {"item-0": 2}) in told
    assert ("short", None, {"item-1": 1}) in told


def test_a_new_label_is_the_same_package_with_another_number_also_when_the_old_one_comes_back(
    floor: Floor, warehouse: TrytonWarehouse
):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    (number,) = floor.worker.ship(order.order_ref, tracking="D1")
    seen: dict[str, ShipmentEvent] = {}
    for tracking in ("D1", "D2", "D1"):
        floor.worker.relabel(order.order_ref, number, tracking)
        (event,) = all_events(warehouse, order.order_ref)
        assert (event.package_id, event.tracking_number) == (number, tracking)
        seen[event.event_id] = event
    assert [event.tracking_number for event in seen.values()] == ["D1", "D2", "D1"]


def test_what_somebody_cancels_there_is_told(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.cancel(order.order_ref)
    assert _told(all_events(warehouse, order.order_ref)) == [("cancelled", None, {"item-0": 1})]


def test_a_split_order_leaves_in_shipments_of_its_own(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1), ("PLATE", 2))
    warehouse.push(order)
    floor.worker.split(order.order_ref, {"PLATE": 2})
    floor.worker.ship(order.order_ref, [Parcel({"CUP": 1}, "E1")])
    # The rest is still to come: nothing is short.
    assert _told(all_events(warehouse, order.order_ref)) == [("shipped", "E1", {"item-0": 1})]
    found = warehouse.find(order.order_ref)
    assert found is not None
    assert found.status == "partially_shipped"
    floor.worker.ship(order.order_ref, [Parcel({"PLATE": 2}, "E2")])
    told = _told(all_events(warehouse, order.order_ref))
    assert sorted(told, key=str) == [("shipped", "E1", {"item-0": 1}), ("shipped", "E2", {"item-1": 2})]


def test_what_is_polled_again_is_the_same_event_and_ends(floor: Floor, warehouse: TrytonWarehouse):
    orders = [an_order(("CUP", 1)) for _ in range(5)]
    for place, order in enumerate(orders):
        warehouse.push(order)
        floor.worker.ship(order.order_ref, tracking=f"F{place}")
    refs = {order.order_ref for order in orders}
    # Two changes a page: a reading of many pages comes to the same.
    told: list[ShipmentEvent] = []
    cursor: str | None = None
    for _ in range(10_000):
        page = warehouse.poll(cursor, 2)
        told += [event for event in page.events if event.order_ref in refs]
        if page.next_cursor == cursor:
            break
        cursor = page.next_cursor
        assert cursor is not None
        assert len(cursor) <= 250
    else:
        raise AssertionError("it never ends")
    whole = {event.event_id for event in all_events(warehouse, *refs)}
    assert {event.event_id for event in told} == whole
    assert len(whole) == 5


def test_a_change_that_appears_late_with_an_earlier_time_is_not_missed(floor: Floor, warehouse: TrytonWarehouse):
    late, early = an_order(("CUP", 1)), an_order(("CUP", 1))
    for order in (late, early):
        warehouse.push(order)
        floor.worker.ship(order.order_ref, tracking=f"G-{order.order_ref}")
    cursor: str | None = None
    while (page := warehouse.poll(cursor, 200)).next_cursor != cursor:
        cursor = page.next_cursor
    # All is read. The first one's time is earlier than the newest: as if its transaction had ended only now.
    assert warehouse.poll(cursor, 200).events == ()
    known = read_cursor(cursor)
    assert known is not None
    later = replace(known, overlapped_at=known.overlapped_at - OVERLAP_EVERY)
    again = warehouse.poll(later.written(), 200)
    assert {late.order_ref, early.order_ref} <= {event.order_ref for event in again.events}


def test_text_of_tryton_is_bounded(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.ship(order.order_ref, carrier="UPS\u202e" * 200, tracking="H" * 3_000 + "\u200b")
    (event,) = all_events(warehouse, order.order_ref)
    for text in (event.carrier, event.tracking_number, event.package_id, event.event_id):
        assert text is not None
        assert is_bounded(text, LONGEST_TEXT)


def test_an_order_of_somebody_else_is_no_event(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    (ours,) = floor.shipments(order.order_ref)
    rpc = floor.server.rpc()
    (nobody,) = rpc.search("party.party", [("code", "=", "amazon-orders")], ["addresses"])
    changed = {"reference": "by hand", "customer": nobody["id"], "delivery_address": nobody["addresses"][0]}
    rpc.call(f"model.{SHIPMENT}.copy", [ours["id"]], changed)
    floor.worker.ship("by hand", tracking="I1")
    everything = {event.tracking_number for event in warehouse.poll(None, 100_000).events}
    assert "I1" not in everything


@pytest.mark.parametrize("cursor", ["c12", "", "\x00", "1;2026-01-01;x"])
def test_another_adapters_cursor_begins_anew(floor: Floor, warehouse: TrytonWarehouse, cursor: str):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.ship(order.order_ref, tracking="J1")
    assert "J1" in {event.tracking_number for event in warehouse.poll(cursor, 100_000).events}
