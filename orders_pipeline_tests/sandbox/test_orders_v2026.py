"""Orders API 2026-01-01: what is shown to whom, and what a search may ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.sandbox.honest_client import HonestClient

SEARCH = "/orders/2026-01-01/orders"
PII = "BUYER,RECIPIENT,FULFILLMENT"


def shown(client: HonestClient, order: Order, included: str = PII) -> dict[str, Any]:
    answer = client.get_order(order.order_id, included)
    assert answer.status_code == 200, answer.text
    return answer.json()["order"]


def full_order(sandbox: Sandbox, **specification: Any) -> Order:
    item = {"gift_message": "for you", "customization_url": "https://example.com/c", "quantity": 2}
    return sandbox.add_order(items=[item], notify=False, **specification)


def test_without_fulfillment_an_order_has_neither_status_nor_quantities(sandbox: Sandbox, client: HonestClient) -> None:
    bare = shown(client, full_order(sandbox), "")
    assert set(bare) == {"orderId", "createdTime", "lastUpdatedTime", "salesChannel", "orderItems"}
    assert set(bare["orderItems"][0]) == {"orderItemId", "quantityOrdered", "measurement", "product"}
    assert "sellerSku" in bare["orderItems"][0]["product"]


def test_personal_data_comes_with_its_dataset_and_the_gift_message_with_fulfillment(
    sandbox: Sandbox, client: HonestClient
) -> None:
    order = full_order(sandbox)
    without = shown(client, order, "FULFILLMENT")
    assert "buyer" not in without
    assert "recipient" not in without
    item = without["orderItems"][0]
    assert item["fulfillment"]["packing"]["giftOption"]["giftMessage"] == "for you"
    assert item["product"]["customization"]["customizedUrl"] == "https://example.com/c"
    everything = shown(client, order)
    assert everything["buyer"]["buyerName"] == order.buyer.name
    assert everything["recipient"]["deliveryAddress"]["postalCode"] == order.address.postal_code


def test_without_the_role_personal_data_is_silently_absent(sandbox: Sandbox, client: HonestClient) -> None:
    order = full_order(sandbox)
    sandbox.amazon.accounts.remove_role(sandbox.seller_id)
    seen = shown(client, order)
    assert "buyer" not in seen
    assert set(seen["recipient"]["deliveryAddress"]) == {"city", "stateOrRegion", "countryCode"}
    assert "customization" not in seen["orderItems"][0]["product"]
    assert "packing" not in seen["orderItems"][0]["fulfillment"]


@pytest.mark.parametrize("specification", [{"status": "PENDING"}, {"status": "CANCELLED"}])
def test_pending_and_cancelled_orders_have_no_address(
    sandbox: Sandbox, client: HonestClient, specification: dict[str, str]
) -> None:
    seen = shown(client, full_order(sandbox, **specification), f"{PII},PROCEEDS")
    assert "buyer" not in seen
    assert "recipient" not in seen
    assert ("proceeds" in seen) == (specification["status"] == "CANCELLED")


def test_what_amazon_ships_itself_shows_no_door_no_phone_and_no_packages(
    sandbox: Sandbox, client: HonestClient
) -> None:
    seen = shown(client, full_order(sandbox, fulfilled_by="AMAZON"), f"{PII},PACKAGES")
    assert "buyer" not in seen
    assert set(seen["recipient"]["deliveryAddress"]) == {"city", "stateOrRegion", "countryCode"}
    assert "packages" not in seen


def test_the_phone_disappears_once_a_shipped_order_is_past_its_latest_delivery(
    sandbox: Sandbox, client: HonestClient
) -> None:
    now = sandbox.clock.now()
    times = {"created": now - timedelta(days=9), "ship_by": now - timedelta(days=8)}
    late = full_order(sandbox, deliver_by=now - timedelta(days=1), **times)
    assert "phone" in shown(client, late)["recipient"]["deliveryAddress"]
    sandbox.amazon.change_status(late.order_id, "SHIPPED")
    assert "phone" not in shown(client, late)["recipient"]["deliveryAddress"]


def test_an_address_may_come_later_than_the_order(sandbox: Sandbox, client: HonestClient) -> None:
    order = full_order(sandbox)
    sandbox.amazon.withhold_address(order.order_id, 0.3)
    assert "recipient" not in shown(client, order)
    sandbox.amazon.options.blank_address_as_empty_strings = True
    assert shown(client, order)["recipient"]["deliveryAddress"]["addressLine1"] == ""
    order.address_known_at = sandbox.clock.now()
    assert shown(client, order)["recipient"]["deliveryAddress"]["addressLine1"] == order.address.address_line1


def test_a_cancellation_request_and_its_execution_are_told_apart(sandbox: Sandbox, client: HonestClient) -> None:
    order = full_order(sandbox)
    sandbox.amazon.request_cancellation(order.order_id, "Too slow", notify=False)
    requested = shown(client, order, "FULFILLMENT,CANCELLATION")
    expected = {"cancellationRequest": {"requester": "BUYER", "cancelReason": "Too slow"}}
    assert requested["orderItems"][0]["cancellation"] == expected
    assert requested["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    sandbox.amazon.cancel(order.order_id, by="MERCHANT", notify=False)
    executed = shown(client, order, "FULFILLMENT,CANCELLATION")
    assert executed["fulfillment"]["fulfillmentStatus"] == "CANCELLED"
    assert executed["orderItems"][0]["cancellation"]["cancellationExecution"]["cancelledBy"] == "MERCHANT"


def test_every_change_has_a_later_time_than_the_one_before(sandbox: Sandbox, client: HonestClient) -> None:
    order = full_order(sandbox)
    times = [shown(client, order, "")["lastUpdatedTime"]]
    for status in ("PENDING", "UNSHIPPED", "SHIPPED"):
        sandbox.amazon.change_status(order.order_id, status, notify=False)
        times.append(shown(client, order, "")["lastUpdatedTime"])
    assert times == sorted(set(times))


def test_an_unknown_order_and_another_sellers_order_are_not_found(sandbox: Sandbox, client: HonestClient) -> None:
    sandbox.amazon.accounts.add_seller("A2OTHERSELLER", ["ATVPDKIKX0DER"])
    strange = full_order(sandbox, seller_id="A2OTHERSELLER")
    for order_id in ("111-0000000-0000000", strange.order_id):
        answer = client.get_order(order_id)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "NotFound")
    assert client.get_order("not-an-order").status_code == 400


PAST = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"createdAfter": PAST, "lastUpdatedAfter": PAST},
        {"createdAfter": PAST, "lastUpdatedBefore": PAST},
        {"lastUpdatedAfter": PAST, "createdBefore": PAST},
        {"lastUpdatedAfter": PAST, "lastUpdatedBefore": "2025-12-31T00:00:00Z"},
        {"lastUpdatedAfter": "2999-01-01T00:00:00Z"},
        {"lastUpdatedAfter": "2026-01-01T00:00:00"},
        {"lastUpdatedAfter": "yesterday"},
        {"lastUpdatedAfter": PAST, "maxResultsPerPage": "0"},
        {"lastUpdatedAfter": PAST, "maxResultsPerPage": "101"},
        {"lastUpdatedAfter": PAST, "fulfillmentStatuses": "Unshipped"},
        {"lastUpdatedAfter": PAST, "fulfilledBy": "MFN"},
        {"lastUpdatedAfter": PAST, "includedData": "EVERYTHING"},
        {"lastUpdatedAfter": PAST, "LastUpdatedAfter": PAST},
        {"lastUpdatedAfter": PAST, "paginationToken": "never given"},
    ],
)
def test_a_search_that_breaks_a_rule_is_refused(client: HonestClient, parameters: dict[str, str]) -> None:
    answer = client.amazon("GET", SEARCH, parameters=parameters)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "InvalidInput")


def test_a_window_must_end_two_minutes_ago(sandbox: Sandbox, client: HonestClient) -> None:
    for ago, status in ((timedelta(minutes=1, seconds=55), 400), (timedelta(minutes=2, seconds=5), 200)):
        parameters = {"lastUpdatedAfter": PAST, "lastUpdatedBefore": iso(sandbox.clock.now() - ago)}
        assert client.amazon("GET", SEARCH, parameters=parameters).status_code == status


def test_pages_repeat_their_parameters_and_their_tokens_live_a_day(sandbox: Sandbox, client: HonestClient) -> None:
    start = iso(sandbox.clock.now())
    orders = [full_order(sandbox, status="UNSHIPPED").order_id for _ in range(5)]
    first = {"lastUpdatedAfter": start, "maxResultsPerPage": "2", "fulfillmentStatuses": "UNSHIPPED"}
    found: list[str] = []
    page = client.amazon("GET", SEARCH, parameters=first).json()
    token = page["pagination"]["nextToken"]
    while True:
        found += [order["orderId"] for order in page["orders"]]
        if "pagination" not in page:
            break
        more = {**first, "paginationToken": page["pagination"]["nextToken"], "includedData": "FULFILLMENT"}
        page = client.amazon("GET", SEARCH, parameters=more).json()
    assert found == orders
    changed = client.amazon("GET", SEARCH, parameters={"lastUpdatedAfter": start, "paginationToken": token})
    assert "All parameters must match the original request" in changed.json()["errors"][0]["message"]
    again = {**first, "paginationToken": token}
    assert client.amazon("GET", SEARCH, parameters=again).status_code == 200
    sandbox.clock.advance(timedelta(hours=24))
    a_day_later = HonestClient(sandbox.environment())
    assert a_day_later.amazon("GET", SEARCH, parameters=again).status_code == 400


def test_a_listing_may_lag_and_may_have_holes_while_get_order_has_all(sandbox: Sandbox, client: HonestClient) -> None:
    start = {"lastUpdatedAfter": iso(sandbox.clock.now())}
    seen, hidden = full_order(sandbox), full_order(sandbox)
    sandbox.amazon.faults.add("listing_hole", "searchOrders", order_id=hidden.order_id, times=None)
    listed = [order["orderId"] for order in client.amazon("GET", SEARCH, parameters=start).json()["orders"]]
    assert seen.order_id in listed
    assert hidden.order_id not in listed
    assert client.get_order(hidden.order_id).status_code == 200
    sandbox.amazon.options.listing_delay_seconds = 60
    assert client.amazon("GET", SEARCH, parameters=start).json()["orders"] == []
    late = full_order(sandbox)
    sandbox.clock.advance(timedelta(seconds=50))
    sandbox.amazon.cancel(late.order_id)
    sandbox.clock.advance(timedelta(seconds=20))
    shown = {
        order["orderId"]: order["fulfillment"]["fulfillmentStatus"]
        for order in client.amazon("GET", SEARCH, parameters={**start, "includedData": "FULFILLMENT"}).json()["orders"]
    }
    assert shown[late.order_id] == "UNSHIPPED", "as it was before it was cancelled"


def test_the_same_page_may_come_back_for_ever(sandbox: Sandbox, client: HonestClient) -> None:
    start = iso(sandbox.clock.now())
    full_order(sandbox)
    sandbox.amazon.faults.add("duplicate_page", "searchOrders", times=2)
    first = client.amazon("GET", SEARCH, parameters={"lastUpdatedAfter": start}).json()
    again = {"lastUpdatedAfter": start, "paginationToken": first["pagination"]["nextToken"]}
    second = client.amazon("GET", SEARCH, parameters=again).json()
    assert second["orders"] == first["orders"]
    assert second["pagination"] != first["pagination"]


def test_a_marketplace_of_another_region_is_refused(client: HonestClient) -> None:
    parameters = {"lastUpdatedAfter": PAST, "marketplaceIds": "A1F83G8C2ARO7P"}
    assert client.amazon("GET", SEARCH, parameters=parameters).status_code == 403
