"""The smallest client that does everything right, to show that the sandbox can be satisfied, and how.

It shares nothing with the pipeline, and nothing with the sandbox but the documents.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import requests

DATASETS = "BUYER,RECIPIENT,FULFILLMENT,PACKAGES,CANCELLATION"
EXACT_CODES = {
    "ups": "UPS",
    "usps": "USPS",
    "fedex": "FedEx",
    "ontrac": "OnTrac",
    "dhl ecommerce": "DHL eCommerce",
}


class HonestClient:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._http = requests.Session()
        self._token: str | None = None
        self._sqs: Any = boto3.client(
            "sqs",
            endpoint_url=environment["AWS_ENDPOINT_URL_SQS"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        self._cursor = ""
        self._seen_events: set[str] = set()
        self._references: dict[str, dict[str, str]] = {}  # order → package → reference
        self._free_references: dict[str, list[tuple[Any, str]]] = {}
        self._pushed: set[str] = set()
        self._stopped: set[str] = set()
        self._without_address: set[str] = set()
        self._marketplaces: dict[str, str] = {}
        self.junk = 0

    def work_until(self, done: Callable[[], bool], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not done():
            self.drain()
            self.confirm_shipments()

    def sign_in(self) -> requests.Response:
        names = {"client_id": "CLIENT_ID", "client_secret": "CLIENT_SECRET", "refresh_token": "REFRESH_TOKEN"}
        form = {field: self._environment[f"AMAZON_LWA_{name}"] for field, name in names.items()}
        url = self._environment["AMAZON_LWA_ENDPOINT"] + "/auth/o2/token"
        return self._http.post(url, data={"grant_type": "refresh_token", **form}, timeout=10)

    def amazon(
        self,
        method: str,
        path: str,
        *,
        parameters: dict[str, str] | None = None,
        body: Any = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        if self._token is None:
            self._token = self.sign_in().json()["access_token"]
        return self._http.request(
            method,
            self._environment["AMAZON_SPAPI_ENDPOINT"] + path,
            params=parameters,
            json=body,
            headers={"x-amz-access-token": token or self._token or "", **(headers or {})},
            timeout=10,
        )

    def get_order(self, order_id: str, included: str = DATASETS) -> requests.Response:
        parameters = {"includedData": included} if included else None
        return self.amazon("GET", f"/orders/2026-01-01/orders/{order_id}", parameters=parameters)

    def confirm(self, order_id: str, body: Any) -> requests.Response:
        return self.amazon("POST", f"/orders/v0/orders/{order_id}/shipmentConfirmation", body=body)

    def warehouse(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._environment['WMS_TOKEN']}"}
        return self._http.request(
            method, self._environment["WMS_BASE_URL"] + path, json=body, headers=headers, timeout=10
        )

    def drain(self) -> None:
        url = self._environment["AMAZON_SQS_QUEUE_URL"]
        messages = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages", []
        )
        for message in messages:
            self._notice(message["Body"])
        for order_id in sorted(self._without_address - self._stopped):
            self._look(order_id)
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def confirm_shipments(self) -> None:
        page = self.warehouse("GET", f"/v1/shipments?cursor={self._cursor}&limit=50").json()
        self._cursor = page["next_cursor"]
        for event in page["shipments"]:
            if event["event_id"] not in self._seen_events:
                self._seen_events.add(event["event_id"])
                self._shipment(event)

    def push(self, order: dict[str, Any]) -> requests.Response:
        return self.warehouse("PUT", f"/v1/orders/{order['orderId']}", fulfillment_order(order, self._environment))

    def _notice(self, body: str) -> None:
        try:
            message = json.loads(body)
            if "Message" in message:
                message = json.loads(message["Message"])
            change = message["Payload"]["OrderChangeNotification"]
            order_id, summary = change["AmazonOrderId"], change["Summary"]
        except (ValueError, KeyError, TypeError):
            self.junk += 1
            return
        if summary["FulfillmentType"] != "MFN" or summary["OrderStatus"] in ("Pending", "Shipped"):
            return
        if summary["OrderStatus"] == "Canceled":
            self._stop(order_id)
        elif order_id not in self._stopped:
            self._look(order_id)

    def _look(self, order_id: str) -> None:
        order = self.get_order(order_id).json()["order"]
        status = order["fulfillment"]["fulfillmentStatus"]
        wants_out = any("cancellationRequest" in item.get("cancellation", {}) for item in order["orderItems"])
        needs_codes = any("TRANSPARENCY" in item.get("programs", []) for item in order["orderItems"])
        if status == "CANCELLED":
            self._stop(order_id)
        elif wants_out and order_id in self._pushed:
            self.warehouse("POST", f"/v1/orders/{order_id}/hold", {"reason": "the buyer asked to cancel"})
        elif status == "UNSHIPPED" and "recipient" not in order:
            self._without_address.add(order_id)
        elif status == "UNSHIPPED" and not wants_out and not needs_codes and order_id not in self._pushed:
            self._without_address.discard(order_id)
            assert self.push(order).status_code == 201
            self._pushed.add(order_id)
            self._marketplaces[order_id] = order["salesChannel"]["marketplaceId"]

    def _stop(self, order_id: str) -> None:
        self._stopped.add(order_id)
        if order_id in self._pushed:
            self.warehouse("POST", f"/v1/orders/{order_id}/cancel", {"reason": "cancelled at Amazon"})

    def _shipment(self, event: dict[str, Any]) -> None:
        order_id, lines = event["order_ref"], event["lines"]
        references = self._references.setdefault(order_id, {})
        if event["kind"] == "voided":
            key = sorted((line["line_ref"], line["quantity"]) for line in lines)
            self._free_references.setdefault(order_id, []).append((key, references[event["package_id"]]))
        if event["kind"] != "shipped":
            return
        reference = references.get(event["package_id"], str(len(references) + 1))
        key = sorted((line["line_ref"], line["quantity"]) for line in lines)
        for free in self._free_references.get(order_id, []):
            if free[0] == key:
                reference = free[1]
        references[event["package_id"]] = reference
        body = confirmation(event, reference, self._marketplaces[order_id])
        answer = self.confirm(order_id, body)
        assert answer.status_code == 204, answer.text
        shown = self.get_order(order_id, "FULFILLMENT,PACKAGES").json()["order"]["packages"]
        assert event["tracking_number"] in [package["trackingNumber"] for package in shown]


def confirmation(event: dict[str, Any], reference: str, marketplace_id: str) -> dict[str, Any]:
    code = EXACT_CODES.get(event["carrier"].lower(), "Other")
    return {
        "marketplaceId": marketplace_id,
        "packageDetail": {
            "packageReferenceId": reference,
            "carrierCode": code,
            **({"carrierName": event["carrier"]} if code == "Other" else {}),
            **({"shippingMethod": event["service"]} if event["service"] else {}),
            "trackingNumber": event["tracking_number"],
            "shipDate": event["shipped_at"],
            "orderItems": [{"orderItemId": line["line_ref"], "quantity": line["quantity"]} for line in event["lines"]],
        },
    }


def fulfillment_order(order: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Amazon's order 2026-01-01 → the warehouse contract's order."""
    address = order["recipient"]["deliveryAddress"]
    names = {
        "name": "name",
        "company": "companyName",
        "address_line1": "addressLine1",
        "address_line2": "addressLine2",
        "address_line3": "addressLine3",
        "city": "city",
        "district": "districtOrCounty",
        "state_or_region": "stateOrRegion",
        "postal_code": "postalCode",
        "country_code": "countryCode",
        "phone": "phone",
        "address_type": "addressType",
    }
    programs = order.get("programs", [])
    return {
        "order_ref": order["orderId"],
        "channel": "amazon",
        "seller_id": environment["AMAZON_SELLER_ID"],
        "marketplace_id": order["salesChannel"]["marketplaceId"],
        "purchased_at": order["createdTime"],
        "ship_by": order["fulfillment"]["shipByWindow"]["latestDateTime"],
        "deliver_by": order["fulfillment"]["deliverByWindow"]["latestDateTime"],
        "service_level": order["fulfillment"]["fulfillmentServiceLevel"],
        "is_prime": "PRIME" in programs,
        "is_business": "AMAZON_BUSINESS" in programs,
        "ship_to": {ours: address.get(theirs) for ours, theirs in names.items()},
        "lines": [
            {
                "line_ref": item["orderItemId"],
                "sku": item["product"].get("sellerSku"),
                "quantity": item["quantityOrdered"],
                "title": item["product"].get("title"),
                "gift_message": item["fulfillment"].get("packing", {}).get("giftOption", {}).get("giftMessage"),
                "customization_url": item["product"].get("customization", {}).get("customizedUrl"),
            }
            for item in order["orderItems"]
        ],
    }
