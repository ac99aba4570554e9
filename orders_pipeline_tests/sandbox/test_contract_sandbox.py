"""Every answer and every message of the sandbox is valid by Amazon's own models, with no field that they don't know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.limits import USAGE_PLANS
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.day.scenarios import PlannedOrder
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.amazon_models import (
    models_folder,
    notification_example,
    notification_problems,
    problems,
    usage_plans,
)
from orders_pipeline_tests.sandbox.honest_client import HonestClient
from orders_pipeline_tests.sandbox.test_confirm_shipment import body_for
from orders_pipeline_tests.sandbox.test_limits_and_faults import GRANTLESS, token_request
from orders_pipeline_tests.sandbox.test_orders_v0 import GENERIC, TOKENS, V0, grant

ORDERS = "orders_2026-01-01.json"
ORDERS_V0 = "ordersV0.json"
EVERYTHING = (
    "BUYER,RECIPIENT,PROCEEDS,EXPENSE,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES,TAX,PAYMENT,FULFILLMENT_ORDERS"
)


@pytest.fixture(scope="module")
def day() -> Iterator[tuple[Sandbox, list[str]]]:
    """Orders of every scenario in every state, and every message that was sent about them."""
    models_folder()
    bodies: list[str] = []
    options = DayOptions(orders=110)
    with Sandbox(time_scale=10_000, canary=True, day=options) as sandbox:
        # Kept here instead of sent: the queue would only slow the comparison down.
        sandbox.amazon._publish = lambda _arn, message: bodies.append(json.dumps(message))
        for planned in sandbox.day._plan.orders(options.orders, sandbox.clock.now()):
            _live(sandbox, planned)
        yield sandbox, bodies


def _live(sandbox: Sandbox, planned: PlannedOrder) -> None:
    """The order's whole life at once, without clock or warehouse."""
    amazon, name, order_id = sandbox.amazon, planned.scenario.name, planned.order.order_id
    amazon.add_order(planned.order)
    if name == "stays_pending":
        return
    amazon.change_status(order_id, "UNSHIPPED")
    if name.startswith("request"):
        amazon.request_cancellation(order_id)
    if name.startswith("cancelled"):
        amazon.cancel(order_id)
    if name in ("single_item", "several_items"):
        client = HonestClient(sandbox.environment())
        assert client.confirm(order_id, body_for(sandbox, planned.order)).status_code == 204
        amazon.notify(order_id, item_level=True)


def get(client: HonestClient, path: str, token: str | None = None, **parameters: str) -> Any:
    answer = client.amazon("GET", path, parameters=parameters, token=token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_orders_of_every_kind_are_valid_in_the_new_version(day: tuple[Sandbox, list[str]]) -> None:
    sandbox, _ = day
    client = HonestClient(sandbox.environment())
    seen: set[str] = set()
    for order_id in sandbox.amazon.orders:
        for included in (EVERYTHING, ""):
            body = client.get_order(order_id, included).json()
            assert problems(ORDERS, "GetOrderResponse", body) == []
            seen.add(body["order"].get("fulfillment", {}).get("fulfillmentStatus", ""))
    assert seen >= {"PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED"}
    start = iso(sandbox.clock.now() - timedelta(days=1))
    page = get(
        client, "/orders/2026-01-01/orders", lastUpdatedAfter=start, maxResultsPerPage="50", includedData="BUYER"
    )
    assert problems(ORDERS, "SearchOrdersResponse", page) == []
    assert len(page["orders"]) == 50


def test_orders_of_every_kind_are_valid_in_the_old_version(day: tuple[Sandbox, list[str]]) -> None:
    sandbox, _ = day
    client = HonestClient(sandbox.environment())
    sandbox.amazon.options.items_page_size = 2
    order, items = (GENERIC, ["buyerInfo", "shippingAddress"]), (f"{GENERIC}/orderItems", ["buyerInfo"])
    whole = [(f"{GENERIC}/{operation}", list[str]()) for operation in ("address", "buyerInfo", "orderItems/buyerInfo")]
    token = grant(client, order, items, (V0, ["buyerInfo", "shippingAddress"]), *whole)
    by_operation = {
        "": "GetOrderResponse",
        "/orderItems": "GetOrderItemsResponse",
        "/address": "GetOrderAddressResponse",
        "/buyerInfo": "GetOrderBuyerInfoResponse",
        "/orderItems/buyerInfo": "GetOrderItemsBuyerInfoResponse",
    }
    for order_id in list(sandbox.amazon.orders)[:60]:
        for operation, definition in by_operation.items():
            assert problems(ORDERS_V0, definition, get(client, f"{V0}/{order_id}{operation}", token)) == []
        bare = get(client, f"{V0}/{order_id}")
        assert problems(ORDERS_V0, "GetOrderResponse", bare) == []
        assert "CANARY" not in json.dumps(bare).replace(f"CANARY-{order_id}-postal-code", "")
    start = iso(sandbox.clock.now() - timedelta(days=1))
    page = get(client, V0, token, MarketplaceIds="ATVPDKIKX0DER", LastUpdatedAfter=start, MaxResultsPerPage="20")
    assert problems(ORDERS_V0, "GetOrdersResponse", page) == []
    assert page["payload"]["NextToken"]


@pytest.mark.parametrize("verification", ["Pending", "Approved", "Rejected", "Expired", "Cancelled"])
def test_regulated_orders_are_valid_and_want_a_restricted_token(
    sandbox: Sandbox, client: HonestClient, verification: str
) -> None:
    order = sandbox.add_order(verification=verification, easy_ship_status="PendingPickUp", notify=False)
    path = f"{V0}/{order.order_id}/regulatedInfo"
    token = grant(client, (f"{GENERIC}/regulatedInfo", []))
    body = get(client, path, token)
    assert problems(ORDERS_V0, "GetOrderRegulatedInfoResponse", body) == []
    assert body["payload"]["RegulatedOrderVerificationStatus"]["Status"] == verification
    assert client.amazon("GET", path).status_code == 403
    shown = get(client, f"{V0}/{order.order_id}")
    assert problems(ORDERS_V0, "GetOrderResponse", shown) == []
    assert (shown["payload"]["HasRegulatedItems"], shown["payload"]["EasyShipShipmentStatus"]) == (
        True,
        "PendingPickUp",
    )
    plain = sandbox.add_order(notify=False)
    assert client.amazon("GET", f"{V0}/{plain.order_id}/regulatedInfo", token=token).status_code == 404


def test_messages_of_every_kind_are_valid(day: tuple[Sandbox, list[str]]) -> None:
    _, bodies = day
    seen: set[tuple[str, str, str]] = set()
    for body in bodies:
        message = json.loads(body)
        assert notification_problems("OrderChangeNotification", message) == []
        change = message["Payload"]["OrderChangeNotification"]
        seen.add((change["NotificationLevel"], change["OrderChangeType"], change["Summary"]["OrderStatus"]))
    assert {status for _, _, status in seen} >= {"Pending", "Unshipped", "PartiallyShipped", "Shipped", "Canceled"}
    assert {level for level, _, _ in seen} == {"OrderLevel", "OrderItemLevel"}
    assert {kind for _, kind, _ in seen} == {"OrderStatusChange", "BuyerRequestedChange"}


def test_the_model_finds_what_is_wrong(day: tuple[Sandbox, list[str]]) -> None:
    sandbox, bodies = day
    body = HonestClient(sandbox.environment()).get_order(next(iter(sandbox.amazon.orders)), EVERYTHING).json()
    body["order"]["orderItems"][0]["quantityOrdered"] = "1"
    assert problems(ORDERS, "GetOrderResponse", body) == [
        "$.order.orderItems[0].quantityOrdered: '1' is not of type 'integer'"
    ]
    body["order"]["orderItems"][0] |= {"quantityOrdered": 1, "invented": True}
    assert "invented" in problems(ORDERS, "GetOrderResponse", body)[0]
    message = json.loads(bodies[0])
    message["Payload"]["OrderChangeNotification"]["Summary"]["OrderStatus"] = "Cancelled"
    assert len(notification_problems("OrderChangeNotification", message)) == 1


def test_tokens_sellers_and_notifications_are_valid(sandbox: Sandbox, client: HonestClient) -> None:
    resources = [{"method": "GET", "path": GENERIC, "dataElements": ["buyerInfo"]}]
    answer = client.amazon("POST", TOKENS, body={"restrictedResources": resources})
    assert problems("tokens_2021-03-01.json", "CreateRestrictedDataTokenResponse", answer.json()) == []
    participations = get(client, "/sellers/v1/marketplaceParticipations")
    assert problems("sellers.json", "GetMarketplaceParticipationsResponse", participations) == []
    scope = "sellingpartnerapi::notifications"
    token = token_request(sandbox, **GRANTLESS, scope=scope).json()["access_token"]
    destinations = get(client, "/notifications/v1/destinations", token)
    assert problems("notifications.json", "GetDestinationsResponse", destinations) == []
    subscription = get(client, "/notifications/v1/subscriptions/ORDER_CHANGE")
    assert problems("notifications.json", "GetSubscriptionResponse", subscription) == []


def test_refusals_are_valid(sandbox: Sandbox, client: HonestClient) -> None:
    order = sandbox.add_order(notify=False)
    for answer in (
        client.get_order("bad"),
        client.get_order("111-0000000-0000000"),
        client.amazon("GET", f"/orders/2026-01-01/orders/{order.order_id}", token="Atza|forged"),
    ):
        assert problems(ORDERS, "ErrorList", answer.json()) == []
    refused = client.confirm(order.order_id, {})
    assert problems(ORDERS_V0, "ConfirmShipmentErrorResponse", refused.json()) == []


def test_quotas_are_the_documented_ones() -> None:
    documented: dict[str, tuple[float, int]] = {}
    for model, prefix in ((ORDERS, ""), (ORDERS_V0, "v0."), ("tokens_2021-03-01.json", ""), ("notifications.json", "")):
        documented |= {f"{prefix}{name}": plan for name, plan in usage_plans(model).items()}
    for unversioned in ("confirmShipment", "getOrderRegulatedInfo"):
        documented[unversioned] = documented[f"v0.{unversioned}"]
    documented |= usage_plans("sellers.json") | usage_plans("reports_2021-06-30.json")
    documented |= usage_plans("application_2023-11-30.json")
    assert {name: documented[name] for name in USAGE_PLANS} == USAGE_PLANS


def test_without_the_models_the_contract_tests_are_skipped_but_fail_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMAZON_MODELS_DIR", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="set AMAZON_MODELS_DIR"):
        models_folder()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="must run"):
        models_folder()


def test_amazons_own_example_can_be_played(sandbox: Sandbox, client: HonestClient) -> None:
    """The message in the model file names an order; with that order added, it can be looked up."""
    example = notification_example("OrderChangeNotification")
    change = example["Payload"]["OrderChangeNotification"]
    listed = change["Summary"]["OrderItems"]
    items = [
        {"order_item_id": one["OrderItemId"], "sku": one["SellerSKU"], "quantity": one["Quantity"]} for one in listed
    ]
    sandbox.add_order(order_id=change["AmazonOrderId"], status="Unshipped", items=items, notify=False)
    sandbox.queue.send(json.dumps(example))
    shown = client.get_order(change["AmazonOrderId"]).json()["order"]
    assert [item["orderItemId"] for item in shown["orderItems"]] == ["OIID34853450"]
