"""What others do: the loops with which the pipeline is compared, kept as fast as their own design allows.

Each speaks HTTP with the same sandbox, and waits for nothing but Amazon's quota.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import requests
from botocore.config import Config

PAGE_SIZE = 100
# The warehouse's names of an address's fields, and v0's.
V0_ADDRESS_FIELDS = {
    "name": "Name",
    "company": "CompanyName",
    "address_line1": "AddressLine1",
    "address_line2": "AddressLine2",
    "address_line3": "AddressLine3",
    "city": "City",
    "district": "District",
    "state_or_region": "StateOrRegion",
    "postal_code": "PostalCode",
    "country_code": "CountryCode",
    "phone": "Phone",
    "address_type": "AddressType",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """Amazon's documented limit of one operation: requests a second, and burst (facts: the models' usage plans)."""

    operation: str
    rate: float
    burst: int


GET_ORDER = Limit("getOrder", 0.5, 30)
V0_GET_ORDERS = Limit("v0.getOrders", 0.0167, 20)
V0_GET_ORDER = Limit("v0.getOrder", 0.5, 30)
V0_ITEMS = Limit("v0.getOrderItems", 0.5, 30)
V0_ADDRESS = Limit("v0.getOrderAddress", 0.5, 30)
V0_BUYER = Limit("v0.getOrderBuyerInfo", 0.5, 30)
RESTRICTED_TOKEN = Limit("createRestrictedDataToken", 1.0, 10)
CONFIRM = Limit("confirmShipment", 2.0, 10)


@dataclass
class _Bucket:
    rate: float
    burst: float
    tokens: float
    seen_at: float = field(default_factory=time.monotonic)

    def take(self) -> None:
        """Wait for a token, and take it."""
        while True:
            now = time.monotonic()
            self.tokens = min(self.burst, self.tokens + (now - self.seen_at) * self.rate)
            self.seen_at = now
            if self.tokens >= 1:
                self.tokens -= 1
                return
            time.sleep((1 - self.tokens) / self.rate)


class Script:
    """One script's connection to Amazon, the queue and the warehouse. `calls` counts what it sent to Amazon."""

    def __init__(self, environment: Mapping[str, str], time_scale: float) -> None:
        self._environment, self._scale = environment, time_scale
        self._buckets: dict[str, _Bucket] = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self.calls = 0
        self._token = self._login()

    def call(
        self, limit: Limit, method: str, path: str, *, token: str | None = None, forgiving: bool = False, **request: Any
    ) -> Any:
        """One call as soon as the quota allows; the answer's JSON, or None. `forgiving`: a refusal is passed over."""
        bucket = self._buckets.setdefault(
            limit.operation, _Bucket(limit.rate * self._scale, limit.burst, float(limit.burst))
        )
        while True:
            bucket.take()
            self.calls += 1
            answer = self._session.request(
                method,
                self._environment["AMAZON_SPAPI_ENDPOINT"] + path,
                headers={"x-amz-access-token": token or self._token},
                timeout=30,
                **request,
            )
            if answer.status_code != 429:
                if not forgiving:
                    answer.raise_for_status()
                return answer.json() if answer.content else None
            bucket.tokens = 0

    def restricted_token(self, order_id: str) -> str:
        """A token for one order's address and buyer, as the tutorials ask for it."""
        path = f"/orders/v0/orders/{order_id}"
        resources = [{"method": "GET", "path": f"{path}/{part}"} for part in ("address", "buyerInfo")]
        body = {"restrictedResources": resources}
        answer = self.call(RESTRICTED_TOKEN, "POST", "/tokens/2021-03-01/restrictedDataToken", json=body)
        return str(answer["restrictedDataToken"])

    def push(self, order: dict[str, Any], items: list[dict[str, Any]], address: dict[str, Any]) -> None:
        """PUT one order of v0 at the warehouse; what the warehouse refuses is lost, as in a script."""
        lines = [
            {"line_ref": item["OrderItemId"], "sku": item["SellerSKU"], "quantity": item["QuantityOrdered"]}
            for item in items
            if item["QuantityOrdered"]
        ]
        ship_to = {field: address.get(name) for field, name in V0_ADDRESS_FIELDS.items()}
        order_id = order["AmazonOrderId"]
        body = {
            "order_ref": order_id,
            "channel": "amazon",
            "seller_id": self._environment["AMAZON_SELLER_ID"],
            "marketplace_id": order["MarketplaceId"],
            "purchased_at": order["PurchaseDate"],
            "ship_by": order.get("LatestShipDate"),
            "deliver_by": order.get("LatestDeliveryDate"),
            "service_level": order.get("ShipmentServiceLevelCategory"),
            "is_prime": order["IsPrime"],
            "is_business": order["IsBusinessOrder"],
            "ship_to": ship_to,
            "lines": [{**line, "title": None, "gift_message": None, "customization_url": None} for line in lines],
        }
        self._warehouse("PUT", f"/v1/orders/{order_id}", json=body)

    def shipments(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """The warehouse's events since the cursor, and the next cursor."""
        answer = self._warehouse("GET", "/v1/shipments", params={"cursor": cursor, "limit": "100"}).json()
        return answer["shipments"], answer["next_cursor"]

    def messages(self) -> Iterator[str]:
        """The order ids of what is on the queue, each message deleted before its order is handled."""
        sqs: Any = boto3.client(
            "sqs",
            endpoint_url=self._environment["AWS_ENDPOINT_URL_SQS"],
            region_name=self._environment["AWS_REGION"],
            aws_access_key_id=self._environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )
        url = self._environment["AMAZON_SQS_QUEUE_URL"]
        while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            entries = [{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"]} for at, one in enumerate(received)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            for one in received:
                yield json.loads(one["Body"])["Payload"]["OrderChangeNotification"]["AmazonOrderId"]

    def _warehouse(self, method: str, path: str, **request: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._environment['WMS_TOKEN']}"}
        return self._session.request(
            method, self._environment["WMS_BASE_URL"] + path, headers=headers, timeout=30, **request
        )

    def close(self) -> None:
        self._session.close()

    def _login(self) -> str:
        answer = self._session.post(
            self._environment["AMAZON_LWA_ENDPOINT"] + "/auth/o2/token",
            data={
                "grant_type": "refresh_token",
                "refresh_token": self._environment["AMAZON_LWA_REFRESH_TOKEN"],
                "client_id": self._environment["AMAZON_LWA_CLIENT_ID"],
                "client_secret": self._environment["AMAZON_LWA_CLIENT_SECRET"],
            },
            timeout=30,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])


def one_call_loop(script: Script) -> int:
    """Each message: one getOrder, 2026-01-01, with the address. How many orders were read."""
    read = 0
    for order_id in script.messages():
        path = f"/orders/2026-01-01/orders/{order_id}"
        script.call(GET_ORDER, "GET", path, params={"includedData": "BUYER,RECIPIENT,FULFILLMENT,PACKAGES"})
        read += 1
    return read


class Tutorial:
    """The v0 tutorials as one script: poll, read every order that changed, push it, confirm what left, look at it.

    Of each order that changed it reads the items and, with a restricted token for the order, address and buyer.
    """

    def __init__(self, script: Script, marketplace_id: str) -> None:
        self._script, self._marketplace_id = script, marketplace_id
        self._seen: dict[str, str] = {}
        self._cursor = ""
        self.read: Counter[str] = Counter()
        self.confirmed: set[str] = set()

    def poll(self, updated_after: str) -> int:
        """Read what changed since, and push what is to ship. How many orders were read."""
        query = {
            "MarketplaceIds": self._marketplace_id,
            "LastUpdatedAfter": updated_after,
            "MaxResultsPerPage": str(PAGE_SIZE),
        }
        read = 0
        while True:
            payload = self._script.call(V0_GET_ORDERS, "GET", "/orders/v0/orders", params=query)["payload"]
            for order in payload["Orders"]:
                if self._seen.get(order["AmazonOrderId"]) != order["LastUpdateDate"]:
                    self._seen[order["AmazonOrderId"]] = order["LastUpdateDate"]
                    self._read(order)
                    read += 1
            if "NextToken" not in payload:
                return read
            query["NextToken"] = payload["NextToken"]

    def confirm(self) -> int:
        """Confirm what the warehouse has shipped since, and look at each order once. How many packages."""
        events, self._cursor = self._script.shipments(self._cursor)
        for event in events:
            if event["kind"] != "shipped":
                continue
            order_id = event["order_ref"]
            lines = [{"orderItemId": line["line_ref"], "quantity": line["quantity"]} for line in event["lines"]]
            package = {
                "packageReferenceId": str(self.read[f"packages of {order_id}"] + 1),
                "carrierCode": event["carrier"],
                "trackingNumber": event["tracking_number"],
                "shipDate": event["shipped_at"],
                "orderItems": lines,
            }
            self.read[f"packages of {order_id}"] += 1
            path = f"/orders/v0/orders/{order_id}"
            body = {"marketplaceId": self._marketplace_id, "packageDetail": package}
            self._script.call(CONFIRM, "POST", f"{path}/shipmentConfirmation", json=body, forgiving=True)
            self._script.call(V0_GET_ORDER, "GET", path)
            self.confirmed.add(order_id)
        return len(events)

    def _read(self, order: dict[str, Any]) -> None:
        order_id = order["AmazonOrderId"]
        path = f"/orders/v0/orders/{order_id}"
        items = self._script.call(V0_ITEMS, "GET", f"{path}/orderItems")["payload"]["OrderItems"]
        token = self._script.restricted_token(order_id)
        address = self._script.call(V0_ADDRESS, "GET", f"{path}/address", token=token)["payload"]
        self._script.call(V0_BUYER, "GET", f"{path}/buyerInfo", token=token)
        if order["FulfillmentChannel"] == "MFN" and order["OrderStatus"] == "Unshipped":
            self._script.push(order, items, address.get("ShippingAddress") or {})
