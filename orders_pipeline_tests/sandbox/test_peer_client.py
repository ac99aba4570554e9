"""A client that others wrote, python-amazon-sp-api, works against the sandbox as it does against Amazon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sp_api.api import Orders, Tokens
from sp_api.auth import AccessTokenClient
from sp_api.base import SellingApiBadRequestException

from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.test_confirm_shipment import body_for


@pytest.fixture
def peer(sandbox: Sandbox) -> dict[str, Any]:
    """The arguments that point this client at the sandbox: its endpoint, and where it signs in."""
    environment = sandbox.environment()

    class SandboxLogin(AccessTokenClient):
        scheme = "http://"
        host = sandbox.url.removeprefix("http://")

    return {
        "marketplace": SimpleNamespace(endpoint=sandbox.url, marketplace_id="ATVPDKIKX0DER", region="us-east-1"),
        "credentials": {
            # A refresh token of its own for each sandbox: the client caches access tokens by it for the process.
            "refresh_token": environment["AMAZON_LWA_REFRESH_TOKEN"],
            "lwa_app_id": environment["AMAZON_LWA_CLIENT_ID"],
            "lwa_client_secret": environment["AMAZON_LWA_CLIENT_SECRET"],
        },
        "auth_token_client_class": SandboxLogin,
    }


def test_it_reads_an_order_of_both_versions_with_personal_data(sandbox: Sandbox, peer: dict[str, Any]) -> None:
    order = sandbox.add_order(items=[{"quantity": 2}, {}], notify=False)
    new: Any = Orders(version="2026-01-01", **peer)
    shown = new.get_order(order.order_id, includedData=["RECIPIENT", "FULFILLMENT"]).payload["order"]
    assert shown["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    assert shown["recipient"]["deliveryAddress"]["name"] == order.address.name
    since = iso(order.last_updated)
    found = new.search_orders(lastUpdatedAfter=since, marketplaceIds=["ATVPDKIKX0DER"]).payload
    assert [one["orderId"] for one in found["orders"]] == [order.order_id]
    old: Any = Orders(version="v0", **peer)
    assert "Name" not in old.get_order(order.order_id).payload["ShippingAddress"]
    restricted = old.get_order(order.order_id, RestrictedResources=["buyerInfo", "shippingAddress"]).payload
    assert restricted["ShippingAddress"]["Name"] == order.address.name
    assert restricted["BuyerInfo"]["BuyerName"] == order.buyer.name
    assert len(old.get_order_items(order.order_id).payload["OrderItems"]) == 2
    listed = old.get_orders(LastUpdatedAfter=since).payload["Orders"]
    assert [one["AmazonOrderId"] for one in listed] == [order.order_id]


def test_it_asks_for_a_restricted_token_and_uses_it(sandbox: Sandbox, peer: dict[str, Any]) -> None:
    order = sandbox.add_order(items=[{"gift_message": "for you"}], notify=False)
    resource = {"method": "GET", "path": "/orders/v0/orders/{orderId}/orderItems", "dataElements": ["buyerInfo"]}
    tokens: Any = Tokens(**peer)
    token = tokens.create_restricted_data_token(restrictedResources=[resource]).payload["restrictedDataToken"]
    orders: Any = Orders(version="v0", restricted_data_token=token, **peer)
    (item,) = orders.get_order_items(order.order_id).payload["OrderItems"]
    assert item["BuyerInfo"]["GiftMessageText"] == "for you"


def test_it_confirms_a_shipment_and_is_told_what_is_wrong_with_one(sandbox: Sandbox, peer: dict[str, Any]) -> None:
    order = sandbox.add_order(notify=False)
    orders: Any = Orders(version="v0", **peer)
    body = body_for(sandbox, order)
    wrong = {**body, "packageDetail": {**body["packageDetail"], "packageReferenceId": 1}}
    with pytest.raises(SellingApiBadRequestException, match="invalid type"):
        orders.confirm_shipment(order.order_id, **wrong)
    assert orders.confirm_shipment(order.order_id, **body).payload == {"status_code": 204}
    assert order.packages["1"].tracking_number == body["packageDetail"]["trackingNumber"]
    assert order.status == "SHIPPED"
