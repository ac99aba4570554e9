"""The API's OpenAPI document: the one list of its parameters, which the API itself goes by."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from orders_pipeline.operations.order_board.columns import COLUMNS, Column
from orders_pipeline.operations.order_board.filters import HOLD_WORDS, LONGEST_SEARCH, Fulfillment, Needs

LIMIT, LIMIT_AT_MOST = 50, 200
# As Amazon's screens call them.
STATUS_WORDS: dict[Column, str] = {
    Column.PENDING: "Pending",
    Column.UNSHIPPED: "Unshipped",
    Column.SHIPPED: "Shipped",
    Column.DELIVERED: "Delivered",
    Column.CANCELED: "Canceled",
    Column.OTHER: "Other",
}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXT_OR_NULL = {"type": ["string", "null"]}

_FILTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "fulfillment": (
        "Who ships: MFN is the merchant, AFN is Amazon.",
        {"type": "string", "enum": [str(one) for one in Fulfillment]},
    ),
    "needs": (
        "tracking: MFN, open at Amazon, which has not been shown every package.",
        {"type": "string", "enum": [str(one) for one in Needs]},
    ),
    "marketplace": ("Amazon's id of a configured marketplace, such as ATVPDKIKX0DER.", _TEXT),
    "account": ("An account that is served. Without it, all of them.", _TEXT),
    "hold": ("Orders that are on hold for this reason.", {"type": "string", "enum": sorted(HOLD_WORDS)}),
    "q": (
        "An order id (or its last seven digits), a SKU, an ASIN or a tracking number, whole.",
        {"type": "string", "maxLength": LONGEST_SEARCH},
    ),
}
_PAGING: dict[str, tuple[str, dict[str, Any]]] = {
    "limit": (
        "Orders a page.",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_AT_MOST, "default": LIMIT},
    ),
    "cursor": ("`next_cursor` of the page before, with the same other parameters.", _TEXT),
}
_STATUS: dict[str, tuple[str, dict[str, Any]]] = {
    "status": (
        "; ".join(f"{word}: {COLUMNS[column].means}" for column, word in STATUS_WORDS.items())
        + ". Several with commas; without it, all of them, one status after the other.",
        {"type": "array", "items": {"type": "string", "enum": list(STATUS_WORDS.values())}},
    )
}
PARAMETERS = tuple({**_STATUS, **_FILTERS, **_PAGING})
COUNT_PARAMETERS = tuple(_FILTERS)
ORDER_PARAMETERS = ("account",)


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orders_pipeline: orders",
            "version": version("orders-pipeline"),
            "description": "What is stored of Amazon's orders. Nothing in it identifies a buyer, and nothing is "
            "changed by it. Whoever may see the order board may ask: with its session cookie, or through the "
            "authenticating proxy. Times are UTC. Every answer has an ETag: send it as If-None-Match, and what did "
            "not change is answered with 304.",
        },
        "paths": {
            "/api/amazon/orders": {
                "get": _operation(
                    "orders", "Orders, by status and filter, in pages", {**_STATUS, **_FILTERS, **_PAGING}, "OrderPage"
                )
            },
            "/api/amazon/orders/counts": {
                "get": _operation("counts", "How many orders each status has", _FILTERS, "Counts")
            },
            "/api/amazon/orders/{order_id}": {
                "get": _operation(
                    "order",
                    "One order with items, packages and history; of two accounts where both have one of this id",
                    {name: _FILTERS[name] for name in ORDER_PARAMETERS},
                    "WholeOrders",
                    path={"order_id": ("Amazon's order id.", _TEXT)},
                )
            },
        },
        "components": {"schemas": _schemas()},
    }


def _operation(
    name: str,
    summary: str,
    query: dict[str, tuple[str, dict[str, Any]]],
    schema: str,
    path: dict[str, tuple[str, dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    parameters = [_parameter(one, "path", *about) for one, about in (path or {}).items()]
    parameters += [_parameter(one, "query", *about) for one, about in query.items()]
    answers = {
        "200": _answer("What was asked for", schema),
        "304": {"description": "It did not change since the ETag that was sent"},
        "400": _answer("A parameter cannot be used; the message says which and what is allowed", "Error"),
        "401": {"description": "Log in first: /login"},
        "503": _answer("The store cannot be read now", "Error"),
    }
    if path:
        answers["404"] = _answer("No such order is stored", "Error")
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers}


def _parameter(name: str, where: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    return {**found, "style": "form", "explode": False} if schema.get("type") == "array" else found


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    order = {
        "account_id": _TEXT,
        "order_id": _TEXT,
        "marketplace_id": _TEXT_OR_NULL,
        "status": {"type": "string", "enum": list(STATUS_WORDS.values())},
        "amazon_status": {**_TEXT, "description": "Amazon's own word; the set is open"},
        "fulfillment": {"enum": [*(str(one) for one in Fulfillment), None], "description": "null: not known"},
        "fulfillment_state": {**_TEXT_OR_NULL, "description": "a state of docs/order-states.md"},
        "whereabouts": {**_TEXT, "description": "the same for people"},
        "hold_reasons": _list({"type": "string"}),
        "needs_tracking": _FLAG,
        "needs_a_person": {**_list(_TEXT), "description": "why; empty where it goes on by itself"},
        "purchased_at": _TIME,
        "ship_by": _TIME,
        "is_late": _FLAG,
        "deliver_by": _TIME,
        "delivered_at": {**_TIME, "description": "when Amazon first said that it has arrived"},
        "quantity": _COUNT,
        "item_count": _COUNT,
        "claimed_by": _TEXT_OR_NULL,
    }
    item = {"sku": _TEXT_OR_NULL, "asin": _TEXT_OR_NULL, "quantity": _COUNT}
    whole_item = {
        **item,
        "order_item_id": _TEXT,
        "title": _TEXT_OR_NULL,
        "quantity_shipped": _COUNT,
        "is_cancelled": _FLAG,
    }
    return {
        "Order": _object(**order, items={**_list(_object(**item)), "description": "the first five"}),
        "OrderPage": _object(
            orders=_list(_ref("Order")), next_cursor={**_TEXT_OR_NULL, "description": "null at the end"}
        ),
        "WholeOrder": _object(
            **order,
            items=_list(_object(**whole_item)),
            packages=_list(_ref("Package")),
            history={
                **_list(_object(at=_TIME, who=_TEXT, what=_TEXT, how=_TEXT)),
                "description": "the newest fifty",
            },
        ),
        "WholeOrders": _object(orders=_list(_ref("WholeOrder"))),
        "Package": _object(
            package_id=_TEXT,
            state={**_TEXT, "description": "a state of docs/package-states.md"},
            carrier=_TEXT_OR_NULL,
            service=_TEXT_OR_NULL,
            tracking_number=_TEXT_OR_NULL,
            quantity=_COUNT,
            shipped_at=_TIME,
            confirmed_at=_TIME,
        ),
        "Counts": _object(
            counts={
                "type": "object",
                "additionalProperties": _object(
                    orders=_COUNT, is_exact={**_FLAG, "description": "false: there are more"}
                ),
            }
        ),
        "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
    }
