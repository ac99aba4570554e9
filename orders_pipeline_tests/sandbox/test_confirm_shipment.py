"""confirmShipment: each rule refuses with Amazon's code, and what is accepted is shown when it is read back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.honest_client import HonestClient


def body_for(sandbox: Sandbox, order: Order, quantity: int = 1, **detail: Any) -> dict[str, Any]:
    return {
        "marketplaceId": order.marketplace_id,
        "packageDetail": {
            "packageReferenceId": "1",
            "carrierCode": "UPS",
            "trackingNumber": "1Z0000000000000001",
            "shipDate": iso(sandbox.clock.now()),
            "orderItems": [{"orderItemId": order.items[0].item_id, "quantity": quantity}],
            **detail,
        },
    }


def packages(client: HonestClient, order: Order) -> list[dict[str, Any]]:
    return client.get_order(order.order_id, "PACKAGES,FULFILLMENT").json()["order"].get("packages", [])


def status(client: HonestClient, order: Order) -> str:
    return client.get_order(order.order_id, "FULFILLMENT").json()["order"]["fulfillment"]["fulfillmentStatus"]


@pytest.fixture
def order(sandbox: Sandbox) -> Order:
    return sandbox.add_order(items=[{"quantity": 3}, {"quantity": 1}], notify=False)


def test_a_confirmation_moves_the_order_shows_the_package_and_is_announced(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    announced = sandbox.amazon.ledger.notifications["OrderStatusChange"]
    answer = client.confirm(order.order_id, body_for(sandbox, order, 3, shippingMethod="Ground"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert status(client, order) == "PARTIALLY_SHIPPED"
    (package,) = packages(client, order)
    assert package["packageReferenceId"] == "1"
    assert (package["carrier"], package["shippingService"]) == ("UPS", "Ground")
    assert package["packageItems"] == [{"orderItemId": order.items[0].item_id, "quantity": 3}]
    rest = [{"orderItemId": order.items[1].item_id, "quantity": 1}]
    body = body_for(sandbox, order, packageReferenceId="2", trackingNumber="1Z2", orderItems=rest)
    assert client.confirm(order.order_id, body).status_code == 204
    assert status(client, order) == "SHIPPED"
    assert sandbox.amazon.ledger.notifications["OrderStatusChange"] == announced + 2


Change = Callable[[dict[str, Any]], None]


def detail(**values: Any) -> Change:
    return lambda body: body["packageDetail"].update(values)


def line(**values: Any) -> Change:
    return lambda body: body["packageDetail"]["orderItems"][0].update(values)


def without(name: str) -> Change:
    return lambda body: body["packageDetail"].pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (detail(packageReferenceId=1), "invalid type [packageDetail.packageReferenceId]"),
        (detail(packageReferenceId="UK-1"), "must be a positive numeric value"),
        (detail(packageReferenceId="0"), "must be a positive numeric value"),
        (without("packageReferenceId"), "missing required fields [packageDetail.packageReferenceId]"),
        (without("carrierCode"), "missing required fields [packageDetail.carrierCode]"),
        (without("trackingNumber"), "missing required fields [packageDetail.trackingNumber]"),
        (detail(trackingNumber=" "), "TrackingNumber: is required"),
        (detail(carrierCode="Other"), "CarrierName: is required"),
        (detail(carrierName=None), "invalid type [packageDetail.carrierName]"),
        (detail(shipDate="02/21/2022"), "Invalid Input"),
        (detail(shipDate="2026-01-01T00:00:00"), "Invalid Input"),
        (detail(shipDate="2999-01-01T00:00:00Z"), "must not be in the future"),
        (detail(shipDate="2020-01-01T00:00:00Z"), "must not be before the purchase date"),
        (detail(orderItems={"orderItemId": "1", "quantity": 1}), "invalid type [packageDetail.orderItems]"),
        (detail(orderItems=[]), "must not be empty"),
        (detail(shipping="fast"), "unrecognized fields [packageDetail.shipping]"),
        (line(orderItemId="00000000000000"), "OrderItemId is invalid"),
        (line(quantity=4), "Quantity: is invalid"),
        (line(quantity=0), "Quantity: is invalid"),
        (line(quantity="1"), "invalid type [packageDetail.orderItems.quantity]"),
        (line(quantity=True), "invalid type [packageDetail.orderItems.quantity]"),
        (lambda body: body.update(marketplaceId="A2EUQ1WTGCTBG2"), "does not match the marketplace"),
        (lambda body: body.update(codCollectionMethod="DirectPayment"), "supported in JP only"),
        (lambda body: body.pop("marketplaceId"), "missing required fields [marketplaceId]"),
    ],
)
def test_a_confirmation_that_breaks_a_rule_is_refused_with_this_operations_own_code(
    sandbox: Sandbox, client: HonestClient, order: Order, change: Change, message: str
) -> None:
    body = body_for(sandbox, order)
    change(body)
    answer = client.confirm(order.order_id, body)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["code"] == "Invalid Input"
    assert message in error["message"]
    assert status(client, order) == "UNSHIPPED"


@pytest.mark.parametrize(
    "specification",
    [{"status": "PENDING"}, {"status": "CANCELLED"}, {"fulfilled_by": "AMAZON"}, {"programs": ["FBM_SHIP_PLUS"]}],
)
def test_only_the_merchants_own_open_orders_can_be_confirmed(
    sandbox: Sandbox, client: HonestClient, specification: dict[str, Any]
) -> None:
    order = sandbox.add_order(notify=False, **specification)
    assert client.confirm(order.order_id, body_for(sandbox, order)).status_code == 400


def test_the_same_reference_edits_the_package_and_changes_nothing_when_repeated(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    body = body_for(sandbox, order, 3)
    for _ in range(2):
        assert client.confirm(order.order_id, body).status_code == 204
    body["packageDetail"].update(carrierCode="Other", carrierName="Bluefin Couriers", trackingNumber="T9")
    assert client.confirm(order.order_id, body).status_code == 204
    (package,) = packages(client, order)
    assert (package["carrier"], package["trackingNumber"]) == ("Bluefin Couriers", "T9")
    outcomes = [one.outcome for one in sandbox.amazon.ledger.confirmations_of(order.order_id)]
    assert outcomes == ["created", "repeated", "edited"]


def test_a_second_package_cannot_take_units_that_have_left(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    assert client.confirm(order.order_id, body_for(sandbox, order, 2)).status_code == 204
    second = body_for(sandbox, order, 2, packageReferenceId="2")
    assert client.confirm(order.order_id, second).status_code == 400
    assert client.confirm(order.order_id, body_for(sandbox, order, 3)).status_code == 204


def test_a_new_package_for_a_fulfilled_order_finds_nothing_to_update(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    assert client.confirm(order.order_id, body_for(sandbox, order)).status_code == 204
    answer = client.confirm(order.order_id, body_for(sandbox, order, packageReferenceId="2"))
    assert answer.status_code == 400
    assert "PackageToUpdateNotFound" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("carrier", ["ups", "Fedex", "Nobody Knows"])
def test_a_carrier_code_that_is_not_exact_is_accepted_and_silently_dropped(
    sandbox: Sandbox, client: HonestClient, order: Order, carrier: str
) -> None:
    assert client.confirm(order.order_id, body_for(sandbox, order, carrierCode=carrier)).status_code == 204
    assert packages(client, order) == []
    assert status(client, order) == "UNSHIPPED"


def test_a_confirmation_may_be_dropped_on_demand(sandbox: Sandbox, client: HonestClient, order: Order) -> None:
    sandbox.amazon.faults.add("dropped", "confirmShipment", order_id=order.order_id)
    for shown in (0, 1):
        assert client.confirm(order.order_id, body_for(sandbox, order)).status_code == 204
        assert len(packages(client, order)) == shown


def test_a_package_may_be_shown_late(sandbox: Sandbox, client: HonestClient, order: Order) -> None:
    sandbox.amazon.options.package_delay_seconds = 60
    assert client.confirm(order.order_id, body_for(sandbox, order)).status_code == 204
    assert packages(client, order) == []
    sandbox.clock.advance(timedelta(seconds=61))
    assert len(packages(client, order)) == 1


def test_transparency_items_need_one_code_for_each_unit(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(items=[{"quantity": 2, "programs": ["TRANSPARENCY"]}], notify=False)
    item = {"orderItemId": order.items[0].item_id, "quantity": 2}
    for codes, expected in ([], 400), (["A1"], 400), (["A1", "A1"], 400), (["A1", "A2"], 204):
        body = body_for(sandbox, order, orderItems=[{**item, "transparencyCodes": codes}])
        assert client.confirm(order.order_id, body).status_code == expected
    assert packages(client, order)[0]["packageItems"][0]["transparencyCodes"] == ["A1", "A2"]


def test_cash_on_delivery_is_for_japan_and_other_is_not_for_india(sandbox: Sandbox, client: HonestClient) -> None:
    japan = sandbox.add_order(marketplace_id="A1VC38T7YXB528", notify=False)
    body = body_for(sandbox, japan) | {"codCollectionMethod": "Maybe"}
    assert client.confirm(japan.order_id, body).status_code == 400
    assert client.confirm(japan.order_id, body | {"codCollectionMethod": "DirectPayment"}).status_code == 204
    india = sandbox.add_order(marketplace_id="A21TJRUUN4KGV", notify=False)
    other = body_for(sandbox, india, carrierCode="Other", carrierName="Bluefin Couriers")
    assert client.confirm(india.order_id, other).status_code == 400
