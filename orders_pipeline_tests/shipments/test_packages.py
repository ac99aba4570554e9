"""Packages: one row each, a reference id before the first call, and what voids, replacements and corrections do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.rows import lock_orders
from orders_pipeline.shipments import packages
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

RESET = AmazonUnavailable("confirmShipment could not be reached", operation="confirmShipment")


def _references(world: World, order_id: str) -> list[tuple[int, str]]:
    rows = world.rows(
        "pipeline.shipment_confirmations", "package_reference_id, package_id, state", f"order_id = '{order_id}'"
    )
    return [(row.package_reference_id, row.state) for row in rows]


def test_reference_ids_count_from_one_and_are_stored_before_the_first_call(world: World):
    order_id = world.accepted(quantities=(2, 1))
    world.ship(order_id, {0: 1})
    world.ship(order_id, {0: 1})
    world.ship(order_id, {1: 1})
    world.poll()
    assert _references(world, order_id) == [(1, "pending"), (2, "pending"), (3, "pending")]
    assert world.ports.told == []
    world.confirm_and_verify()
    assert _references(world, order_id) == [(1, "confirmed"), (2, "confirmed"), (3, "confirmed")]
    assert world.amazon.orders[order_id].status == "SHIPPED"


def test_a_pass_ends_at_its_deadline_and_the_next_one_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "EVENTS_A_BATCH", 1)
    for order_id in [world.accepted() for _ in range(3)]:
        world.ship(order_id)
    poll_shipments(world.wms, world.database, world.vault, account_id=SELLER)
    audit = world.vault.audit
    passed = [
        apply_shipments(world.database, audit, account_id=SELLER, deadline_seconds=seconds) for seconds in (0, 45, 0)
    ]
    assert [sum(tally.outcomes.values()) for tally in passed] == [1, 2, 0]


def test_events_that_come_again_change_nothing(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    for event in list(world.warehouse.events):
        world.warehouse.repeat_event(event["event_id"])
    world.sql("update pipeline.wms_cursors set cursor = null")
    world.run_until_idle()
    assert len(world.ports.told) == 1
    assert world.package(package_id).state == "confirmed"
    assert world.state(order_id) == "closed"


def test_a_line_that_the_warehouse_lists_twice_is_told_to_amazon_once(world: World):
    order_id = world.accepted(quantities=(3,))
    item = world.amazon.orders[order_id].items[0].item_id
    world.ship(order_id)
    world.warehouse.events[-1]["lines"] = [{"line_ref": item, "quantity": 1}, {"line_ref": item, "quantity": 2}]
    world.confirm_and_verify()
    assert world.ports.told[0].items[0].quantity == 3
    assert world.amazon.orders[order_id].status == "SHIPPED"


def test_a_package_that_was_voided_before_it_was_told_is_never_confirmed(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    replacement = world.ship(order_id)
    world.confirm_and_verify()
    assert world.package(package_id).state == "voided"
    assert world.package(replacement).state == "confirmed"
    assert list(world.shown(order_id).values()) == [world.package(replacement).tracking_number]


def test_a_void_that_comes_before_its_package_keeps_it_from_being_confirmed(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.warehouse.void(order_id, package_id)
    world.warehouse.events.reverse()
    world.confirm_and_verify()
    assert world.package(package_id).state == "voided"
    assert world.ports.told == []


@pytest.mark.parametrize("replacement_first", [False, True], ids=["void first", "replacement first"])
def test_a_replacement_takes_over_the_reference_id_whichever_is_reported_first(world: World, replacement_first: bool):
    order_id = world.accepted(quantities=(2, 1))
    voided = world.ship(order_id)
    world.confirm_and_verify()
    assert world.shown(order_id).keys() == {"1"}
    world.warehouse.void(order_id, voided)
    replacement = world.ship(order_id)
    if replacement_first:
        *_, void_event, ship_event = world.warehouse.events
        world.warehouse.events[-2:] = [ship_event, void_event]
    world.confirm_and_verify()
    assert world.package(voided).state == "replaced"
    assert (world.package(replacement).state, world.package(replacement).package_reference_id) == ("confirmed", 1)
    assert world.shown(order_id) == {"1": world.package(replacement).tracking_number}
    assert not world.alerts().keys() & {"package.voided", "package.refused"}


@pytest.mark.parametrize("refused", [False, True], ids=["refused, and not verified", "refused for good"])
def test_a_refused_replacement_takes_the_voided_packages_place_later(world: World, refused: bool):
    order_id = world.accepted()
    voided = world.ship(order_id)
    world.confirm_and_verify()
    replacement = world.ship(order_id, {0: 1})
    world.poll()
    world.confirm()
    assert world.package(replacement).state == "refused_unverified"
    if refused:
        world.verify()
        assert world.package(replacement).state == "refused"
        assert "package.refused" in world.alerts()
    world.warehouse.void(order_id, voided)
    world.run_until_idle()
    assert world.shown(order_id) == {"1": world.package(replacement).tracking_number}
    assert world.package(replacement).state == "confirmed"
    assert not world.alerts().keys() & {"package.voided", "package.refused"}


def test_a_replacement_is_tried_as_often_as_any_package(world: World):
    order_id = world.accepted()
    voided = world.ship(order_id)
    world.confirm_and_verify()
    world.warehouse.void(order_id, voided)
    replacement = world.ship(order_id)
    world.amazon.faults.add("dropped", "confirmShipment", times=3)
    for _ in range(20):
        world.confirm_and_verify()
        world.make_due()
    assert world.package(replacement).state == "confirmed"


def test_a_replacement_that_is_packed_otherwise_takes_the_voided_packages_place_too(world: World):
    order_id = world.accepted(quantities=(2, 1))
    voided = world.ship(order_id, {0: 2, 1: 1})
    world.confirm_and_verify()
    world.warehouse.void(order_id, voided)
    first, second = world.ship(order_id, {0: 1, 1: 1}), world.ship(order_id, {0: 1})
    world.run_until_idle()
    assert {world.package(package_id).state for package_id in (first, second)} == {"confirmed"}
    assert set(world.shown(order_id).values()) == {world.package(one).tracking_number for one in (first, second)}
    assert world.state(order_id) == "closed"


def test_a_correction_edits_the_package_under_its_reference_id(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.confirm_and_verify()
    world.warehouse.add_event("shipped", order_id, world.warehouse.orders[order_id].packages[0].lines)
    world.warehouse.events[-1] |= {"package_id": package_id, "carrier": "UPS", "tracking_number": "1Z999AA10123456784"}
    world.confirm_and_verify()
    assert world.shown(order_id) == {"1": "1Z999AA10123456784"}
    assert world.package(package_id).state == "confirmed"


def test_a_package_without_a_tracking_number_is_not_confirmed(
    world: World,
):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    event = world.warehouse.events[-1]
    event["tracking_number"] = None
    world.confirm_and_verify()
    assert world.package(package_id).state == "needs_correction"
    assert "no tracking number" in world.alerts()["package.needs_correction"].message
    world.warehouse.events.append({**event, "event_id": "again-1", "carrier": "USPS"})
    world.confirm_and_verify()
    assert world.package(package_id).state == "needs_correction"
    assert world.ports.told == []
    world.warehouse.events.append({**event, "event_id": "again-2", "tracking_number": "9400100000000000000000"})
    world.confirm_and_verify()
    assert world.package(package_id).state == "confirmed"
    assert "package.needs_correction" not in world.alerts()


def test_an_event_of_an_order_that_is_not_known_yet_is_absorbed_once_it_is(world: World):
    order_id = world.order(hear=False)
    world.warehouse.accept(order_id, {"ship_to": {}, "lines": []})
    world.ship(order_id, {0: 1})
    world.confirm_and_verify()
    assert "package.unknown_order" in world.alerts()
    world.run_until_idle()
    assert world.amazon.orders[order_id].status == "SHIPPED"


def test_concurrent_processes_apply_events_in_the_warehouses_order(world: World):
    orders = [world.accepted() for _ in range(6)]
    for order_id in orders:
        package_id = world.ship(order_id)
        world.warehouse.void(order_id, package_id)
        world.ship(order_id)
    world.warehouse.events.reverse()
    world.warehouse.events.sort(key=lambda event: event["kind"] != "shipped")
    poll_shipments(world.wms, world.database, world.vault, account_id=SELLER)

    def absorb() -> None:
        apply_shipments(world.database, world.vault.audit, account_id=SELLER)

    def lock_them_all() -> None:
        for _ in range(10):
            with world.database.transaction(SELLER) as tx:
                lock_orders(tx, sorted(orders))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for work in (absorb, lock_them_all, absorb, lock_them_all)]:
            future.result()
    states = world.rows("pipeline.shipment_confirmations", "state, count(*) as packages", "true group by state")
    assert {row.state: row.packages for row in states} == {"pending": 6, "voided": 6}


def test_a_package_voided_during_its_confirmation_leaves_nothing_due(world: World, database: Database):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.poll()
    world.faults.fail("confirm", RESET)
    world.confirm()
    world.warehouse.void(order_id, package_id)
    world.run_until_idle()
    assert world.package(package_id).state == "awaits_replacement"
    assert world.rows("pipeline.jobs", "queue, subject", "queue in ('confirm', 'verify')") == []
