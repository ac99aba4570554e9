"""One shipment of an order, whatever answer is lost, whoever pushes meanwhile, and whatever the order holds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.wms.port import (
    FulfillmentLine,
    PushResult,
    WarehouseForbidden,
    WarehouseOrder,
    WarehouseUnavailable,
)
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import ADDRESS, NAME, SHIPMENT, STREET, Floor, an_order, line_to
from warehouses.tryton import master_data

STEPS = (f"{SHIPMENT}.create", "party.party.create", f"{SHIPMENT}.write", f"{SHIPMENT}.wait")


def test_an_order_becomes_a_shipment_that_waits_for_its_picker(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 2), ("PLATE", 1))
    result = warehouse.push(order)
    assert result.answer == "accepted"
    (shipment,) = floor.shipments(order.order_ref)
    assert shipment["state"] == "waiting"
    assert shipment["customer."]["code"] == f"amazon:{order.order_ref}"
    assert shipment["customer."]["name"] == NAME
    label = shipment["delivery_address."]["full_address"]
    assert all(part in label for part in (STREET, "DULUTH MN 55802", "UNITED STATES")), label
    assert floor.worker.shipments(order.order_ref)[0].units == {"CUP": 2, "PLATE": 1}
    assert warehouse.find(order.order_ref) == WarehouseOrder(result.wms_id, "accepted")


def test_the_same_again_is_a_duplicate_and_other_content_a_conflict(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 2))
    first = warehouse.push(order)
    assert warehouse.push(order) == replace(first, answer="duplicate")
    other = replace(order, ship_to=replace(ADDRESS, city=PersonalText("Elsewhere")))
    assert warehouse.push(other) == PushResult("conflict", code="order_conflict")
    floor.worker.ship(order.order_ref, tracking="1Z1")
    assert warehouse.push(order).answer == "duplicate"
    assert warehouse.push(other) == PushResult("shipped", code="order_shipped")
    assert len(floor.shipments(order.order_ref)) == 1


def test_a_cancelled_order_is_not_taken_again(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    floor.worker.cancel(order.order_ref)
    assert warehouse.push(order) == PushResult("cancelled", code="order_cancelled")
    found = warehouse.find(order.order_ref)
    assert found is not None
    assert found.status == "cancelled"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("lost", ["lose_call", "lose_answer"])
def test_a_push_that_broke_off_anywhere_is_completed_by_the_next(floor: Floor, step: str, lost: str):
    order = an_order(("CUP", 1), ("CUP", 2))
    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        warehouse.find(order.order_ref)
        setattr(line, lost, step)
        with pytest.raises(WarehouseUnavailable):
            warehouse.push(order)
        # As the pipeline does: find first, and push again only what is not there.
        if warehouse.find(order.order_ref) is None:
            assert warehouse.push(order).is_there
        warehouse.close()
    assert floor.states(order.order_ref) == ["waiting"]
    assert floor.shipments(order.order_ref)[0]["customer."]["name"] == NAME


def test_of_two_pushes_at_the_same_time_one_is_believed(floor: Floor):
    order = an_order(("CUP", 1))
    # Both have made their draft before either has its party.
    both = threading.Barrier(2, timeout=30)

    def meet(method: str) -> None:
        if method == "party.party.create" and both.n_waiting < 2 and line.seen.count(method) <= 2:
            both.wait()

    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        warehouse.find(order.order_ref)
        line.seen.clear()
        line.meanwhile = meet
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(warehouse.push, [order, order]))
        warehouse.close()
    assert sorted(result.answer for result in results) == ["accepted", "duplicate"]
    assert len({result.wms_id for result in results}) == 1
    assert floor.states(order.order_ref) == ["waiting"]


def test_eight_pushes_in_flight_make_each_order_once(floor: Floor, warehouse: TrytonWarehouse):
    orders = [an_order(("CUP", 1), ("PLATE", 2)) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = [result.answer for result in pool.map(_until_known(warehouse), orders * 2)]
    assert set(answers) <= {"accepted", "duplicate"}
    assert [floor.states(order.order_ref) for order in orders] == [["waiting"]] * 4


def _until_known(warehouse: TrytonWarehouse) -> Any:
    def push(order: Any) -> PushResult:
        for _ in range(5):
            try:
                return warehouse.push(order)
            except WarehouseUnavailable:
                continue
        raise AssertionError("never known")

    return push


def test_a_push_that_was_held_up_for_hours_makes_no_second_shipment(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    overtaken: list[PushResult] = []

    def overtake(method: str) -> None:
        if method == "party.party.create" and not overtaken:
            overtaken.append(warehouse.push(order))

    with line_to(floor.server) as line:
        slow = floor.warehouse(line.url)
        line.meanwhile = overtake
        assert slow.push(order).answer == "duplicate"
        slow.close()
    assert overtaken[0].answer == "accepted"
    assert floor.states(order.order_ref) == ["waiting"]


def test_an_order_that_somebody_entered_by_hand_is_not_shipped_twice(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1))
    warehouse.push(order)
    (by_hand,) = floor.shipments(order.order_ref)
    rpc = floor.server.rpc()
    other = an_order(("CUP", 1))
    rpc.call(f"model.{SHIPMENT}.copy", [by_hand["id"]], {"reference": other.order_ref})
    assert warehouse.push(other) == PushResult("conflict", code="reference_in_use")


def test_a_restart_of_tryton_in_the_middle_loses_nothing(floor: Floor):
    order = an_order(("CUP", 1))

    def die(method: str) -> None:
        if method == "party.party.create":
            floor.server.kill()

    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        line.meanwhile = die
        with pytest.raises(WarehouseUnavailable):
            warehouse.push(order)
        line.meanwhile = lambda method: None
        floor.server.restart()
        assert warehouse.find(order.order_ref) is None
        assert warehouse.push(order).answer == "accepted"
        warehouse.close()
    assert floor.states(order.order_ref) == ["waiting"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"lines": (FulfillmentLine("1", "NO-SUCH-SKU", 1),)}, "unknown_sku"),
        ({"lines": (FulfillmentLine("1", None, 1),)}, "unknown_sku"),
        ({"lines": ()}, "unknown_sku"),
        ({"ship_to": replace(ADDRESS, country_code="ZZ")}, "unknown_country"),
        ({"ship_to": replace(ADDRESS, country_code=None)}, "invalid_address"),
        ({"ship_to": replace(ADDRESS, name=PersonalText("x" * 5_000))}, "address_too_long"),
    ],
)
def test_what_tryton_cannot_take_is_refused_with_its_reason(
    floor: Floor, warehouse: TrytonWarehouse, changed: dict[str, Any], code: str
):
    order = an_order(("CUP", 1), **changed)
    assert warehouse.push(order) == PushResult("refused", code=code)
    assert floor.shipments(order.order_ref) == []
    # And everything else goes on.
    assert warehouse.push(an_order(("CUP", 1))).answer == "accepted"


def test_hostile_text_arrives_as_text(floor: Floor, warehouse: TrytonWarehouse):
    hostile = "Robert'); DROP TABLE party_party;--\x00\u202e<script>\n{{7*7}} %s"
    address = replace(
        ADDRESS,
        name=PersonalText(hostile),
        address_line2=PersonalText("नमस्ते\u200cते 🏠 \u202e"),
        state_or_region=PersonalText("100%_\\"),
        phone=PersonalText("no number at all\x00"),
    )
    order = an_order(("CUP", 1), ship_to=address)
    assert warehouse.push(order).answer == "accepted"
    (shipment,) = floor.shipments(order.order_ref)
    assert shipment["customer."]["name"] == "Robert'); DROP TABLE party_party;-- <script> {{7*7}} %s"
    label = shipment["delivery_address."]["full_address"]
    assert "नमस्ते\u200cते 🏠" in label
    assert "100%_\\" in label


def test_a_phone_that_tryton_dislikes_does_not_hold_the_order_up(floor: Floor):
    """Where `phonenumbers` is installed beside it, it takes no phone that is none, unless that is called otherwise."""
    order = an_order(("CUP", 1), ship_to=replace(ADDRESS, phone=PersonalText("ring twice")))
    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        line.refuse = "party.party.create"
        assert warehouse.push(order).answer == "accepted"
        warehouse.close()
    assert floor.states(order.order_ref) == ["waiting"]
    domain = [("party.code", "=", f"amazon:{order.order_ref}")]
    (phone,) = floor.server.rpc().search("party.contact_mechanism", domain, ["type", "value"])
    assert (phone["type"], phone["value"]) == ("other", "ring twice")


def test_an_address_that_tryton_refuses_leaves_nothing_behind(floor: Floor):
    order = an_order(("CUP", 1), ship_to=replace(ADDRESS, phone=None))
    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        assert warehouse.find(order.order_ref) is None
        line.refuse = "party.party.create"
        assert warehouse.push(order) == PushResult("refused", code="invalid_address")
        assert floor.states(order.order_ref) == []
        # Corrected, it is taken.
        assert warehouse.push(order).answer == "accepted"
        warehouse.close()


def test_the_service_level_chooses_the_carrier(floor: Floor, warehouse: TrytonWarehouse):
    rpc = floor.server.rpc()
    (carrier,) = rpc.search("carrier", [("carrier_product.name", "=", "2Day")], ["carrier_product"])
    rpc.write("product.product", [carrier["carrier_product"]], {"suffix_code": "SECOND_DAY"})
    fast, ordinary = an_order(("CUP", 1), service_level="SECOND_DAY"), an_order(("CUP", 1))
    warehouse.push(fast)
    warehouse.push(ordinary)
    assert floor.shipments(fast.order_ref)[0]["carrier"] == carrier["id"]
    assert floor.shipments(ordinary.order_ref)[0]["carrier"] is None


def test_a_gift_message_is_a_note_on_the_shipment(floor: Floor, warehouse: TrytonWarehouse):
    line = FulfillmentLine("item-1", "CUP", 1, gift_message=PersonalText("Happy birthday, Wren"))
    order = an_order(lines=(line,))
    warehouse.push(order)
    (shipment,) = floor.shipments(order.order_ref)
    (note,) = floor.server.rpc().search("ir.note", [("resource", "=", f"{SHIPMENT},{shipment['id']}")], ["message"])
    assert note["message"] == "Gift message for CUP (item-1): Happy birthday, Wren"


def test_an_order_is_planned_for_the_day_that_its_ship_by_ends_in_the_companys_time_zone(floor: Floor):
    # Midnight of Los Angeles, as Amazon gives it: the 21st is its last day.
    ship_by = datetime(2030, 11, 22, 7, 59, 59, tzinfo=UTC)
    rpc = floor.server.rpc(master_data.ADMINISTRATOR)
    (company,) = rpc.search("company.company", [], ["timezone"])
    planned: dict[str | None, date] = {}
    for zone in ("America/Los_Angeles", None):
        rpc.write("company.company", [company["id"]], {"timezone": zone})
        order = an_order(("CUP", 1), ship_by=ship_by)
        with closing(floor.warehouse()) as warehouse:
            warehouse.push(order)
        planned[zone] = floor.shipments(order.order_ref)[0]["planned_date"]
    assert planned == {"America/Los_Angeles": date(2030, 11, 21), None: date(2030, 11, 22)}


def test_a_shipment_that_may_not_wait_is_a_missing_right_and_no_outage(floor: Floor):
    order = an_order(("CUP", 1))
    with line_to(floor.server) as line:
        warehouse = floor.warehouse(line.url)
        line.refuse = f"{SHIPMENT}.wait"
        with pytest.raises(WarehouseForbidden, match="button Wait"):
            warehouse.push(order)
        assert floor.states(order.order_ref) == ["draft"]
        # Once it may, the push is completed.
        assert warehouse.push(order).answer == "duplicate"
        warehouse.close()
    assert floor.states(order.order_ref) == ["waiting"]


def test_a_late_ship_by_is_no_reason_to_refuse(floor: Floor, warehouse: TrytonWarehouse):
    order = an_order(("CUP", 1), ship_by=datetime.now(UTC) - timedelta(days=3))
    assert warehouse.push(order).answer == "accepted"
    assert floor.states(order.order_ref) == ["waiting"]
