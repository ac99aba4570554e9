"""Did each order end where it should, by Amazon's books and by Tryton's database?"""

from __future__ import annotations

import re
import time
from typing import Any

from orders_pipeline.sandbox.amazon.order import Address, Order
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.day.scenarios import PlannedOrder
from orders_pipeline.sandbox.day.verdicts import Judge
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
            try:
                self._books.look()
                self._looked_at = time.monotonic()
            except TrytonUnreachable:
                pass  # judged by what was last read; the day is not over while a change is missing
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
    values = {
        "name": address.name,
        "company": address.company_name,
        "address_line1": address.address_line1,
        "address_line2": address.address_line2,
        "address_line3": address.address_line3,
        "city": address.city,
        "district": address.district_or_county,
        "state_or_region": address.state_or_region,
        "postal_code": address.postal_code,
        "country_code": address.country_code,
        "phone": address.phone,
    }
    texts = {_letters(text) for text in label}
    return [name for name, value in values.items() if value and not _stands_in(_letters(value), texts)]


def _stands_in(value: str, texts: set[str]) -> bool:
    # A state of two letters is a part of many words.
    return value in texts or (len(value) > 3 and any(value in text for text in texts))


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).casefold()
