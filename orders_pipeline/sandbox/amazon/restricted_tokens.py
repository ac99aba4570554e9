"""Tokens API 2021-03-01: createRestrictedDataToken, which the v0 order reads need for personal data."""

from __future__ import annotations

import re
from typing import Any

from orders_pipeline.sandbox.amazon.accounts import (
    DIRECT_TO_CONSUMER,
    RESTRICTED_TOKEN_SECONDS,
    TAX_INVOICING,
    RestrictedResource,
)
from orders_pipeline.sandbox.amazon.gate import Call, invalid_input
from orders_pipeline.sandbox.amazon.ledger import RestrictedGrant
from orders_pipeline.sandbox.amazon.state import AmazonState

MAX_RESOURCES = 50
ORDER = r"/orders/v0/orders/(?:\{orderId\}|\d{3}-\d{7}-\d{7})"
ORDER_ELEMENTS = frozenset({"buyerInfo", "shippingAddress", "buyerTaxInformation"})

# path → the data elements that may be asked for there; empty: the path takes none and shows all it has.
RESTRICTED_PATHS: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = (
    (re.compile(r"/orders/v0/orders"), ORDER_ELEMENTS),
    (re.compile(ORDER), ORDER_ELEMENTS),
    (re.compile(f"{ORDER}/orderItems"), frozenset({"buyerInfo"})),
    (re.compile(f"{ORDER}/orderItems/buyerInfo"), frozenset()),
    (re.compile(f"{ORDER}/buyerInfo"), frozenset()),
    (re.compile(f"{ORDER}/address"), frozenset()),
    (re.compile(f"{ORDER}/regulatedInfo"), frozenset()),
)
ROLE_OF_ELEMENT = {
    "buyerInfo": {DIRECT_TO_CONSUMER, TAX_INVOICING},
    "shippingAddress": {DIRECT_TO_CONSUMER},
    "buyerTaxInformation": {TAX_INVOICING},
}


class RestrictedTokens:
    def __init__(self, state: AmazonState) -> None:
        self._state = state

    async def create(self, call: Call) -> tuple[int, dict[str, Any]]:
        body = call.json_body()
        if "targetApplication" in body:
            raise invalid_input("Application does not have access to the target application.")
        asked = body.get("restrictedResources")
        if not isinstance(asked, list) or not 1 <= len(asked) <= MAX_RESOURCES:
            raise invalid_input(f"restrictedResources must have between 1 and {MAX_RESOURCES} entries.")
        resources = [self._resource(one, call.roles) for one in asked]
        token = self._state.accounts.issue_restricted(call.seller, resources)
        described = tuple((one.method, one.path, one.data_elements) for one in resources)
        grant = RestrictedGrant(self._state.clock.now(), call.seller.seller_id, described)
        self._state.ledger.record_grant(grant)
        # Not wrapped in a payload, unlike every other answer of that age.
        return 200, {"restrictedDataToken": token.value, "expiresIn": RESTRICTED_TOKEN_SECONDS}

    def _resource(self, asked: Any, roles: set[str]) -> RestrictedResource:
        if not isinstance(asked, dict) or set(asked) - {"method", "path", "dataElements"}:
            raise invalid_input("A restricted resource has a method, a path and dataElements, and nothing else.")
        path, elements = asked.get("path"), asked.get("dataElements", [])
        if asked.get("method") != "GET" or not isinstance(path, str):
            raise invalid_input("The method or path of a restricted resource is invalid.")
        allowed = next((known for pattern, known in RESTRICTED_PATHS if pattern.fullmatch(path)), None)
        if allowed is None:
            raise invalid_input(f"The path {path} is not a restricted resource.")
        if not isinstance(elements, list) or not all(isinstance(element, str) for element in elements):
            raise invalid_input("dataElements must be a list of strings.")
        if allowed and not elements:
            raise invalid_input(f"dataElements are required for the path {path}.")
        needed = elements or (["shippingAddress"] if path.endswith("/address") else ["buyerInfo"])
        refused = [
            element
            for element in needed
            if (elements and element not in allowed) or not ROLE_OF_ELEMENT.get(element, set[str]()) & roles
        ]
        if refused:
            names = ", ".join(refused)
            raise invalid_input(f"Application does not have access to one or more requested data elements: [{names}]")
        return RestrictedResource("GET", path, tuple(elements))
