"""A whole day, played against the smallest client that does everything right; and verdicts that find what is wrong."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.order import Package
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.day.scenarios import SCENARIOS, DayPlan, PlannedOrder
from orders_pipeline.sandbox.queue import QueueOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.sandbox.honest_client import HonestClient, fulfillment_order

QUICK_FLOOR = FloorOptions(min_seconds=0.1, max_seconds=0.5, packing_seconds=0.05, second_package_seconds=0.3)


def wrong(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [verdict for verdict in sandbox.verdicts()["verdicts"] if not verdict["ok"]]


def play(sandbox: Sandbox, *, seconds: float = 60.0) -> HonestClient:
    client = HonestClient(sandbox.environment())
    sandbox.day.start()
    client.work_until(lambda: sandbox.day.finished() and not wrong(sandbox), seconds=seconds)
    return client


def test_every_order_of_the_day_can_end_where_it_should() -> None:
    day = DayOptions(orders=110, duration_seconds=6, late_addresses=True, transparency=True)
    queue = QueueOptions(duplicate_share=0.2, disorder_share=0.2, disorder_seconds=0.5)
    with Sandbox(seed=3, time_scale=1000, day=day, floor=QUICK_FLOOR, queue=queue) as sandbox:
        play(sandbox)
        assert wrong(sandbox) == []
        report = sandbox.verdicts()
        assert report["totals"]["ok"] == 110
        assert report["totals"]["by_actual"] == report["totals"]["by_expectation"]
        extra = {"late_address", "transparency_item"}
        assert {verdict["scenario"] for verdict in report["verdicts"]} == set(SCENARIOS) | extra
        kinds = {event["kind"] for event in sandbox.warehouse.events}
        assert kinds == {"shipped", "voided", "short", "cancelled"}
        assert sandbox.ledger()["amazon"]["confirmations"]["edited"] == 2, (
            "a voided package's replacement, and a new label"
        )
        assert sandbox.ledger()["warehouse"]["pushed_with_two_contents"] == []


def test_a_hostile_queue_changes_nothing_but_the_work() -> None:
    day = DayOptions(orders=20, duration_seconds=3)
    with Sandbox(seed=4, time_scale=1000, canary=True, day=day, floor=QUICK_FLOOR, queue=QueueOptions.hostile()) as one:
        client = play(one)
        assert wrong(one) == []
        assert one.queue.junk_sent > 0
        assert client.junk > 0
        assert one.queue.sent > 5 * 20


def test_the_same_seed_draws_the_same_day() -> None:
    def draw(seed: int) -> list[tuple[str, str, str | None, list[str | None]]]:
        plan = DayPlan(seed=seed, people=People(canary=False), seller_id="A1", marketplace_id="ATVPDKIKX0DER")
        return [
            (one.order.order_id, one.scenario.name, one.order.address.name, [item.sku for item in one.order.items])
            for one in plan.orders(160, datetime(2026, 11, 21, 12, tzinfo=UTC))
        ]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_a_day_has_every_kind_of_order_and_each_order_id_once() -> None:
    plan = DayPlan(seed=1, people=People(canary=False), seller_id="A1", marketplace_id="ATVPDKIKX0DER")
    now = Clock().now()
    day = plan.orders(160, now)
    kinds = Counter(one.scenario.name for one in day)
    assert set(kinds) == set(SCENARIOS)
    assert kinds["fulfilled_by_amazon"] == 24
    assert len({one.order.order_id for one in day}) == 160
    assert all(one.order.created < now < one.order.ship_by[1] < one.order.deliver_by[1] for one in day)


def test_in_canary_mode_every_personal_value_names_its_order() -> None:
    people = People(canary=True)
    plan = DayPlan(seed=1, people=people, seller_id="A1", marketplace_id="ATVPDKIKX0DER")
    for one in plan.orders(40, Clock().now()):
        mark = f"CANARY-{one.order.order_id}-"
        address, buyer = one.order.address, one.order.buyer
        values = [address.name, address.address_line1, address.address_line2, address.address_line3, buyer.email]
        values += [address.postal_code, address.phone, buyer.name, *(item.gift_message for item in one.order.items)]
        assert all(mark in (value or "") for value in values)
    assert len(people.canaries) == len(set(people.canaries)) > 40 * 8


class OneOrder:
    """One planned order in a sandbox whose warehouse ships only when it is told to."""

    def __init__(self, sandbox: Sandbox, scenario: str, **specification: Any) -> None:
        self.sandbox = sandbox
        self.order = sandbox.add_order(**specification)
        sandbox.day.planned = {self.order.order_id: PlannedOrder(self.order, SCENARIOS[scenario])}

    @property
    def why(self) -> str:
        return self.sandbox.verdicts()["verdicts"][0]["why"]

    def push(self, client: HonestClient) -> None:
        shown = client.get_order(self.order.order_id).json()["order"]
        content = fulfillment_order(shown, self.sandbox.environment())
        client.warehouse("PUT", f"/v1/orders/{self.order.order_id}", content)


@pytest.fixture
def sandbox() -> Any:
    with Sandbox(time_scale=1000, floor=FloorOptions(automatic=False)) as sandbox:
        yield sandbox


def test_an_order_is_confirmed_only_when_pushed_shipped_told_and_read_back(sandbox: Sandbox) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "single_item", items=[{"quantity": 2}])
    assert one.why == "not at the warehouse"
    client.drain()
    assert "not shipped yet: 2 units" in one.why
    sandbox.floor.ship_now(one.order.order_id, carrier="ups", tracking="1Z1")
    assert "parcel P0000002 is at Amazon 0 times" in one.why
    client.confirm_shipments()
    assert one.why == ""
    package = one.order.packages["1"]
    sandbox.amazon.store_package(one.order, package)
    assert one.why == "", "a read-back that came after the last confirmation stays good"


def test_a_confirmation_that_nobody_read_back_is_not_enough(sandbox: Sandbox) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "single_item")
    client.drain()
    sandbox.floor.ship_now(one.order.order_id, carrier="UPS", tracking="1Z1")
    event = sandbox.warehouse.events[-1]
    detail = {"packageReferenceId": "1", "carrierCode": "UPS", "trackingNumber": "1Z1", "shipDate": event["shipped_at"]}
    items = [{"orderItemId": one.order.items[0].item_id, "quantity": 1}]
    body = {"marketplaceId": one.order.marketplace_id, "packageDetail": {**detail, "orderItems": items}}
    assert client.confirm(one.order.order_id, body).status_code == 204
    assert one.why == "not read back after the last confirmation"
    client.get_order(one.order.order_id, "PACKAGES")
    assert one.why == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tracking_number": "1Z2"}, "parcel P0000002 is at Amazon 0 times"),
        ({"carrier_code": "FedEx"}, "ups became FedEx"),
        ({"items": {}}, "other items at Amazon"),
    ],
)
def test_a_confirmation_that_differs_from_the_parcel_is_found(
    sandbox: Sandbox, change: dict[str, Any], why: str
) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "single_item")
    client.drain()
    sandbox.floor.ship_now(one.order.order_id, carrier="ups", tracking="1Z1")
    client.confirm_shipments()
    package: Package = one.order.packages["1"]
    for name, value in change.items():
        setattr(package, name, value)
    assert why in one.why


def test_a_wrong_door_is_found(sandbox: Sandbox) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "single_item")
    client.drain()
    one.order.address.address_line1 = "somewhere else"
    assert "another address at the warehouse: address_line1" in one.why
    assert "somewhere else" not in one.why


def test_calls_spent_on_an_order_of_amazons_own_are_found(sandbox: Sandbox) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "fulfilled_by_amazon", fulfilled_by="AFN")
    assert one.why == ""
    client.get_order(one.order.order_id)
    assert "calls spent on it" in one.why


@pytest.mark.parametrize("scenario", ["request_stands", "stays_pending"])
def test_pushing_an_order_that_must_wait_is_found(sandbox: Sandbox, scenario: str) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, scenario)
    assert one.why == ""
    one.push(client)
    assert one.why == "pushed 1 times"


def test_a_cancelled_order_must_be_stopped_at_the_warehouse(sandbox: Sandbox) -> None:
    client, one = HonestClient(sandbox.environment()), OneOrder(sandbox, "cancelled_after_push")
    one.push(client)
    sandbox.amazon.cancel(one.order.order_id)
    assert one.why == "the warehouse has it as accepted"
    client.warehouse("POST", f"/v1/orders/{one.order.order_id}/cancel", {"reason": "cancelled at Amazon"})
    assert one.why == ""
