"""The warehouse keeps its contract: idempotent by content, honest about what is too late, events behind a cursor."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.sandbox.honest_client import HonestClient, fulfillment_order

REASON = {"reason": "because"}


@pytest.fixture
def order(sandbox: Sandbox) -> Order:
    return sandbox.add_order(items=[{"quantity": 2}, {"quantity": 1}], notify=False)


@pytest.fixture
def content(sandbox: Sandbox, client: HonestClient, order: Order) -> dict[str, Any]:
    return fulfillment_order(client.get_order(order.order_id).json()["order"], sandbox.environment())


def put(client: HonestClient, content: dict[str, Any]) -> requests.Response:
    return client.warehouse("PUT", f"/v1/orders/{content['order_ref']}", content)


def post(client: HonestClient, order: Order, verb: str) -> requests.Response:
    return client.warehouse("POST", f"/v1/orders/{order.order_id}/{verb}", REASON)


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_the_same_content_again_is_the_same_order_and_other_content_is_a_conflict(
    sandbox: Sandbox, client: HonestClient, content: dict[str, Any]
) -> None:
    first, second = put(client, content), put(client, content)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["status"] == "accepted"
    assert code(put(client, {**content, "service_level": "NEXT_DAY"})) == (409, "order_conflict")
    found = client.warehouse("GET", f"/v1/orders/{content['order_ref']}").json()
    assert (found["wms_id"], found["status"]) == (first.json()["wms_id"], "accepted")
    assert client.warehouse("GET", "/v1/orders/never-seen").status_code == 404
    outcomes = [entry.outcome for entry in sandbox.warehouse.pushes_of(content["order_ref"])]
    assert outcomes == ["created", "same", "order_conflict"]


def test_without_the_bearer_token_nothing_is_told(sandbox: Sandbox, content: dict[str, Any]) -> None:
    path = f"{sandbox.warehouse_url}/v1/orders/{content['order_ref']}"
    assert requests.put(path, json=content, timeout=5).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert requests.put(path, json=content, headers=wrong, timeout=5).status_code == 401
    assert sandbox.warehouse.orders.get(content["order_ref"]) is None


@pytest.mark.parametrize(
    ("part", "change", "expected"),
    [
        ("ship_to", {"address_line1": None}, "invalid_address"),
        ("ship_to", {"name": " "}, "invalid_address"),
        ("ship_to", {"postal_code": ""}, "invalid_address"),
        ("ship_to", {"street": "x"}, "invalid_order"),
        ("line", {"sku": "NEVER-HEARD-OF"}, "unknown_sku"),
        ("line", {"sku": None}, "unknown_sku"),
        ("line", {"quantity": 0}, "invalid_order"),
        ("line", {"quantity": "1"}, "invalid_order"),
        ("order", {"is_prime": "yes"}, "invalid_order"),
        ("order", {"ship_by": "tomorrow"}, "invalid_order"),
        ("order", {"comment": "x"}, "invalid_order"),
        ("order", {"lines": []}, "invalid_order"),
    ],
)
def test_an_order_that_is_not_exactly_the_contracts_is_refused_for_good(
    sandbox: Sandbox, client: HonestClient, content: dict[str, Any], part: str, change: dict[str, Any], expected: str
) -> None:
    sandbox.warehouse.unknown_skus.add("NEVER-HEARD-OF")
    target = {"ship_to": content["ship_to"], "line": content["lines"][0], "order": content}[part]
    target.update(change)
    assert code(put(client, content)) == (422, expected)


def test_hold_release_and_cancel(sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]) -> None:
    assert post(client, order, "hold").status_code == 404
    put(client, content)
    assert post(client, order, "hold").json() == {"status": "held"}
    assert post(client, order, "hold").json() == {"status": "held"}
    assert post(client, order, "release").json() == {"status": "accepted"}
    assert post(client, order, "cancel").json() == {"outcome": "cancelled"}
    assert post(client, order, "cancel").json() == {"outcome": "cancelled"}
    assert code(put(client, content)) == (409, "order_cancelled")
    assert sandbox.warehouse.events[-1]["kind"] == "cancelled"


def test_what_has_left_cannot_be_stopped_and_the_rest_can(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]
) -> None:
    put(client, content)
    sandbox.floor.ship_now(order.order_id, {order.items[0].item_id: 1})
    assert post(client, order, "cancel").json() == {"outcome": "partial"}
    other = sandbox.add_order(notify=False)
    put(client, fulfillment_order(client.get_order(other.order_id).json()["order"], sandbox.environment()))
    sandbox.floor.ship_now(other.order_id)
    for verb in ("hold", "release", "cancel"):
        assert code(post(client, other, verb)) == (409, "too_late")
    shipped = {**content, "order_ref": other.order_id}
    assert code(put(client, shipped)) == (409, "order_shipped")


@pytest.mark.parametrize(("wanted", "status"), [("pending", 200), ("too_late", 409)])
def test_a_cancel_may_be_answered_on_demand(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any], wanted: str, status: int
) -> None:
    put(client, content)
    sandbox.warehouse.cancel_answers[order.order_id] = wanted
    answer = post(client, order, "cancel")
    assert answer.status_code == status
    assert wanted in answer.text


def test_events_come_in_order_behind_a_cursor_and_may_come_again(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]
) -> None:
    start = client.warehouse("GET", "/v1/shipments?limit=500").json()["next_cursor"]
    put(client, content)
    first, second = (item.item_id for item in order.items)
    package = sandbox.floor.ship_now(order.order_id, {first: 1}, carrier="ups", tracking="1Z1")
    sandbox.floor.ship_now(order.order_id, {first: 1}, carrier="UPS", tracking="1Z2")
    sandbox.warehouse.run_short(order.order_id, {second: 1})
    sandbox.warehouse.void(order.order_id, package)
    sandbox.floor.ship_now(order.order_id, tracking="1Z3")
    sandbox.warehouse.repeat_event(sandbox.warehouse.events[-1]["event_id"])
    sandbox.warehouse.void(order.order_id, package)
    sandbox.warehouse.relabel(order.order_id, package, "1Z4")
    events: list[dict[str, Any]] = []
    cursor = start
    while True:
        page = client.warehouse("GET", f"/v1/shipments?cursor={cursor}&limit=2").json()
        events, cursor = events + page["shipments"], page["next_cursor"]
        if not page["shipments"]:
            break
    kinds = [event["kind"] for event in events]
    assert kinds == ["shipped", "shipped", "short", "voided", "shipped", "shipped", "voided", "shipped"]
    assert events[0]["lines"] == [{"line_ref": first, "quantity": 1}]
    assert (events[0]["carrier"], events[0]["tracking_number"]) == ("ups", "1Z1")
    assert events[3]["package_id"] == events[0]["package_id"] != events[4]["package_id"]
    assert events[4] == events[5]
    assert (events[7]["package_id"], events[7]["lines"]) == (package, events[0]["lines"])
    assert events[7]["tracking_number"] == "1Z4" != events[6]["tracking_number"]
    assert events[7]["event_id"] != events[0]["event_id"]
    assert client.warehouse("GET", "/v1/shipments?cursor=x").status_code == 400


def test_erasing_takes_the_person_out_and_leaves_the_record(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]
) -> None:
    assert post(client, order, "erase_pii").status_code == 404
    put(client, content)
    assert sandbox.warehouse.orders[order.order_id].ship_to["name"] == order.address.name
    assert post(client, order, "erase_pii").status_code == 204
    assert set(sandbox.warehouse.orders[order.order_id].ship_to.values()) == {None}
    assert sandbox.warehouse.pushes_of(order.order_id)[0].content_sha256


def test_it_may_accept_and_then_not_answer(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]
) -> None:
    sandbox.warehouse.faults.add("reset_after", "put_order")
    with pytest.raises(requests.ConnectionError):
        put(client, content)
    assert put(client, content).status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("html_500", 500), ("error_503", 503), ("throttle", 429)])
def test_it_may_fail_without_having_accepted(
    sandbox: Sandbox, client: HonestClient, content: dict[str, Any], kind: str, status: int
) -> None:
    sandbox.warehouse.faults.add(kind, "put_order")
    assert put(client, content).status_code == status
    assert content["order_ref"] not in sandbox.warehouse.orders
    assert put(client, content).status_code == 201


def test_it_may_refuse_and_repeat_the_address_in_its_error(
    sandbox: Sandbox, client: HonestClient, order: Order, content: dict[str, Any]
) -> None:
    sandbox.warehouse.faults.add("invalid_address_echo", "put_order")
    answer = put(client, content)
    assert code(answer) == (422, "invalid_address")
    assert str(order.address.address_line1) in answer.json()["error"]["message"]


def test_neither_ledger_nor_verdicts_hold_personal_data() -> None:
    with Sandbox(time_scale=1000, canary=True, floor=FloorOptions(automatic=False)) as sandbox:
        client = HonestClient(sandbox.environment())
        order = sandbox.add_order()
        seen = client.get_order(order.order_id).json()["order"]
        put(client, fulfillment_order(seen, sandbox.environment()))
        sandbox.floor.ship_now(order.order_id)
        assert sandbox.canaries
        paths = ("ledger", "verdicts", "day", f"orders/{order.order_id}")
        for path in paths:
            answer = requests.get(f"{sandbox.url}/sandbox/{path}", timeout=5)
            assert answer.status_code == 200
            assert "CANARY" not in answer.text
        assert requests.get(f"{sandbox.url}/sandbox/canaries", timeout=5).json() == sandbox.canaries
