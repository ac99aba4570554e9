"""What lies where in Tryton's warehouse, a page of products at a time."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from orders_pipeline.wms.port import StockLevel, StockPage
from orders_pipeline.wms.tryton.calls import Calls, Record
from orders_pipeline.wms.tryton.installation import Installation

PRODUCT = "product.product"
# Tryton computes stock up to a day; this one is behind every move that is planned.
_END_OF_TIME = date(9999, 12, 31)


def read(calls: Calls, installation: Installation, cursor: str | None, limit: int) -> StockPage:
    """Levels of up to `limit` products, after the one that the cursor names; places where nothing lies are left out."""
    after = int(cursor) if cursor is not None and cursor.isdecimal() else 0
    domain = [["code", "not in", [None, ""]], ["type", "=", "goods"], ["id", ">", after]]
    products = calls.search_read(PRODUCT, domain, ["code"], order=[("id", "ASC")], limit=limit)
    if not products:
        return StockPage((), None)
    places = calls.search_read(
        "stock.location",
        [["parent", "child_of", [installation.storage], "parent"], ["type", "=", "storage"]],
        ["name", "code"],
        order=[("id", "ASC")],
    )
    levels: list[StockLevel] = []
    for place in places:
        on_hand, available = (_quantities(calls, products, place["id"], assigned=one) for one in (False, True))
        for product in products:
            pieces = on_hand.get(product["id"], 0)
            if pieces:
                name = str(place.get("code") or place.get("name") or place["id"])
                levels.append(StockLevel(product["code"], name, pieces, available.get(product["id"], 0)))
    is_last = len(products) < limit
    return StockPage(tuple(levels), None if is_last else str(products[-1]["id"]))


def _quantities(calls: Calls, products: list[Record], place: int, *, assigned: bool) -> dict[int, int]:
    """Pieces of each product at this place alone; `assigned`: without those that are assigned to a shipment."""
    context: dict[str, Any] = {
        "locations": [place],
        "with_childs": False,
        "stock_date_end": _END_OF_TIME,
        "stock_assign": assigned,
        "forecast": False,
    }
    ids = [product["id"] for product in products]
    found = calls.search_read(PRODUCT, [["id", "in", ids]], ["quantity"], context=context)
    return {one["id"]: math.floor(one["quantity"]) for one in found if isinstance(one.get("quantity"), (int, float))}
