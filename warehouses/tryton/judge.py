"""Did each order end where it should, by Amazon's books and by Tryton's database?"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

from orders_pipeline.sandbox.amazon.order import Address, Order
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.day.scenarios import PlannedOrder
from orders_pipeline.sandbox.day.verdicts import Judge, address_fields
from orders_pipeline.sandbox.warehouse.state import WarehouseOrder, WarehouseState
from warehouses.tryton.books import TrytonBooks
from warehouses.tryton.rpc import TrytonUnreachable

# Everything is read anew for a report, but not for each of several a second.
LOOK_SECONDS = 10.0


class TrytonJudge(Judge):
    # Tryton writes the day on which a shipment left; the minute is known from when it was seen there.
    ship_date_tolerance_seconds = 120.0

    def __init__(self, amazon: AmazonState, warehouse: WarehouseState, books: TrytonBooks) -> None:
        super().__init__(amazon, warehouse)
        self._books = books
        self._looked_at = 0.0

    def report(self, planned: dict[str, PlannedOrder]) -> dict[str, Any]:
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            # Where it is away, judged by what was last read: the day is not over while a change is missing.
            with suppress(TrytonUnreachable):
                self._books.look()
                self._looked_at = time.monotonic()
        return super().report(planned)

    def _wrong_push(self, order: Order, at_warehouse: WarehouseOrder) -> list[str]:
        wrong: list[str] = []
        pushes = len(self._warehouse.pushes_of(order.order_id))
        if pushes != 1:
            wrong.append(f"made {pushes} times by the pipeline")
        # As it came: later it may have been erased, and rightly so.
        if missing := _not_on_the_label(order.address, at_warehouse.content["label"]):
            wrong.append(f"another address at the warehouse: {', '.join(missing)}")
        expected = {item.item_id: (item.sku, item.quantity) for item in order.items}
        received = {line["line_ref"]: (line["sku"], line["quantity"]) for line in at_warehouse.content["lines"]}
        if expected != received:
            wrong.append("other lines at the warehouse")
        return wrong


def _not_on_the_label(address: Address, label: list[str]) -> list[str]:
    """Names of the address's fields whose value stands nowhere on the label; names only: a verdict may be printed."""
    values = address_fields(address)
    texts = {_letters(text) for text in label}
    return [name for name, value in values.items() if value and not _stands_in(_letters(value), texts)]


def _stands_in(value: str, texts: set[str]) -> bool:
    # A state of two letters is a part of many words.
    return value in texts or (len(value) > 3 and any(value in text for text in texts))


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).casefold()
