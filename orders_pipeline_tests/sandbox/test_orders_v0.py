"""Orders API v0 and restricted data tokens: without one there is no personal data, with one only what it grants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.honest_client import HonestClient

V0 = "/orders/v0/orders"
GENERIC = f"{V0}/{{orderId}}"
TOKENS = "/tokens/2021-03-01/restrictedDataToken"


def grant(client: HonestClient, *resources: tuple[str, list[str]]) -> str:
    answer = ask(client, *resources)
    assert answer.status_code == 200, answer.text
    assert answer.json()["expiresIn"] == 3600
    return answer.json()["restrictedDataToken"]


def ask(client: HonestClient, *resources: tuple[str, list[str]]) -> Any:
    listed = [
        {"method": "GET", "path": path, **({"dataElements": elements} if elements else {})}
        for path, elements in resources
    ]
    return client.amazon("POST", TOKENS, body={"restrictedResources": listed})


@pytest.fixture
def order(sandbox: Sandbox) -> Order:
    gift = {"gift_message": "for you", "gift_wrap_level": "Classic", "quantity": 2, "unit_price": "10.05"}
    return sandbox.add_order(items=[gift, {}, {}], notify=False)


def payload(client: HonestClient, path: str, token: str | None = None) -> dict[str, Any]:
    answer = client.amazon("GET", path, token=token)
    assert answer.status_code == 200, answer.text
    return answer.json()["payload"]


def test_without_a_restricted_token_an_order_is_shown_without_its_buyer(client: HonestClient, order: Order) -> None:
    seen = payload(client, f"{V0}/{order.order_id}")
    assert seen["OrderStatus"] == "Unshipped"
    assert set(seen["ShippingAddress"]) == {"City", "StateOrRegion", "PostalCode", "CountryCode"}
    assert "BuyerInfo" not in seen
    items = payload(client, f"{V0}/{order.order_id}/orderItems")["OrderItems"]
    assert [item["IsGift"] for item in items] == ["true", "false", "false"]
    assert items[0]["ItemPrice"] == {"CurrencyCode": "USD", "Amount": "20.10"}
    assert "BuyerInfo" not in items[0]


def test_a_generic_token_opens_every_order_and_only_the_elements_it_names(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    address = grant(client, (GENERIC, ["shippingAddress"]))
    seen = payload(client, f"{V0}/{order.order_id}", address)
    assert seen["ShippingAddress"]["AddressLine1"] == order.address.address_line1
    assert seen["ShippingAddress"]["AddressType"] == "Residential"
    assert "BuyerInfo" not in seen
    both = grant(client, (GENERIC, ["buyerInfo", "shippingAddress"]), (f"{GENERIC}/orderItems", ["buyerInfo"]))
    another = sandbox.add_order(notify=False)
    assert payload(client, f"{V0}/{another.order_id}", both)["BuyerInfo"]["BuyerName"] == another.buyer.name
    items = payload(client, f"{V0}/{order.order_id}/orderItems", both)["OrderItems"]
    assert items[0]["BuyerInfo"]["GiftMessageText"] == "for you"


def test_a_specific_token_opens_its_own_path_and_nothing_else(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    token = grant(client, (f"{V0}/{order.order_id}", ["buyerInfo"]))
    another = sandbox.add_order(notify=False)
    assert client.amazon("GET", f"{V0}/{order.order_id}", token=token).status_code == 200
    assert client.amazon("GET", f"{V0}/{another.order_id}", token=token).status_code == 403
    assert client.amazon("GET", f"{V0}/{order.order_id}/orderItems", token=token).status_code == 403
    assert client.amazon("GET", f"/orders/2026-01-01/orders/{order.order_id}", token=token).status_code == 403
    assert client.amazon("POST", TOKENS, token=token, body={}).status_code == 403


@pytest.mark.parametrize("operation", ["address", "buyerInfo", "orderItems/buyerInfo"])
def test_restricted_operations_give_no_personal_data_without_a_token(
    sandbox: Sandbox, client: HonestClient, order: Order, operation: str
) -> None:
    path = f"{V0}/{order.order_id}/{operation}"
    assert client.amazon("GET", path).status_code == 403
    sandbox.amazon.options.strict_v0 = False
    bare = client.amazon("GET", path)
    assert bare.status_code == 200
    opened = client.amazon("GET", path, token=grant(client, (f"{GENERIC}/{operation}", [])))
    assert len(opened.text) > len(bare.text)
    for personal in (order.address.name, order.buyer.name, "for you"):
        assert str(personal) not in bare.text


@pytest.mark.parametrize(
    "resources",
    [
        [],
        [(GENERIC, ["buyerInfo"])] * 51,
        [(GENERIC, [])],
        [(GENERIC, ["everything"])],
        [(f"{GENERIC}/orderItems", ["shippingAddress"])],
        [("/orders/2026-01-01/orders/{orderId}", ["buyerInfo"])],
        [(f"{V0}/12", ["buyerInfo"])],
    ],
)
def test_a_token_that_breaks_a_rule_is_refused(client: HonestClient, resources: list[tuple[str, list[str]]]) -> None:
    answer = ask(client, *resources)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "InvalidInput")


def test_a_missing_role_shows_when_the_token_is_asked_for(sandbox: Sandbox, client: HonestClient) -> None:
    sandbox.amazon.accounts.remove_role(sandbox.seller_id)
    answer = ask(client, (GENERIC, ["shippingAddress"]))
    message = "Application does not have access to one or more requested data elements: [shippingAddress]"
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (400, message)


def test_a_restricted_token_lives_an_hour(sandbox: Sandbox, client: HonestClient, order: Order) -> None:
    token = grant(client, (GENERIC, ["buyerInfo"]))
    sandbox.clock.advance(timedelta(minutes=59))
    assert client.amazon("GET", f"{V0}/{order.order_id}", token=token).status_code == 200
    sandbox.clock.advance(timedelta(minutes=1))
    assert client.amazon("GET", f"{V0}/{order.order_id}", token=token).status_code == 403


def test_items_come_in_pages(sandbox: Sandbox, client: HonestClient, order: Order) -> None:
    sandbox.amazon.options.items_page_size = 2
    path = f"{V0}/{order.order_id}/orderItems"
    first = payload(client, path)
    rest = client.amazon("GET", path, parameters={"NextToken": first["NextToken"]}).json()["payload"]
    found = [item["OrderItemId"] for item in first["OrderItems"] + rest["OrderItems"]]
    assert found == [item.item_id for item in order.items]
    assert "NextToken" not in rest


def test_a_listing_needs_its_marketplace_and_one_kind_of_date_or_order_ids(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    market = {"MarketplaceIds": "ATVPDKIKX0DER"}
    past = iso(sandbox.clock.now() - timedelta(days=2))
    for refused in (
        {"LastUpdatedAfter": past},
        market,
        {**market, "LastUpdatedAfter": past, "CreatedAfter": past},
        {**market, "AmazonOrderIds": ",".join([order.order_id] * 51)},
        {**market, "LastUpdatedAfter": past, "OrderStatuses": "CANCELLED"},
        {**market, "LastUpdatedAfter": past, "LastUpdatedBefore": iso(sandbox.clock.now())},
    ):
        assert client.amazon("GET", V0, parameters=refused).status_code == 400, refused
    by_id = client.amazon("GET", V0, parameters={**market, "AmazonOrderIds": order.order_id}).json()["payload"]
    assert [one["AmazonOrderId"] for one in by_id["Orders"]] == [order.order_id]
    filters = {"OrderStatuses": "Unshipped", "FulfillmentChannels": "MFN", "MaxResultsPerPage": "1"}
    page = client.amazon("GET", V0, parameters={**market, "LastUpdatedAfter": past, **filters}).json()["payload"]
    assert len(page["Orders"]) == 1
    assert page["NextToken"]
    assert page["LastUpdatedBefore"]


def test_a_buyers_request_is_a_string_and_a_cancelled_order_has_one_l(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    sandbox.amazon.request_cancellation(order.order_id, "Too slow", notify=False)
    item = payload(client, f"{V0}/{order.order_id}/orderItems")["OrderItems"][0]
    assert item["BuyerRequestedCancel"] == {"IsBuyerRequestedCancel": "true", "BuyerCancelReason": "Too slow"}
    sandbox.amazon.cancel(order.order_id, notify=False)
    assert payload(client, f"{V0}/{order.order_id}")["OrderStatus"] == "Canceled"


def test_the_ledger_names_parameters_that_v0_does_not_know(
    sandbox: Sandbox, client: HonestClient, order: Order
) -> None:
    answer = client.amazon("GET", f"{V0}/{order.order_id}", parameters={"includedData": "BUYER"})
    assert answer.status_code == 200
    assert sandbox.amazon.ledger.unknown_parameters["v0.getOrder:includedData"] == 1
