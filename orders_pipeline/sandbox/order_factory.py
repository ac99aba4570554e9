"""Make one order from as little as a test cares to say."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.order import (
    AMAZON,
    MERCHANT,
    STATUS_OF_V0,
    UNSHIPPED,
    V0_STATUS,
    Address,
    Order,
    OrderItem,
)
from orders_pipeline.sandbox.clock import Clock, parse_iso
from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from orders_pipeline.sandbox.day.people import People

ITEM_FIELDS = frozenset(
    {
        *("order_item_id", "sku", "asin", "title", "quantity", "unit_price", "gift_message", "gift_wrap_level"),
        *("customization_url", "programs", "cancel_request_reason"),
    }
)


class OrderSpecificationError(ValueError):
    """The order that was asked for cannot be made."""


class OrderFactory:
    def __init__(self, *, clock: Clock, people: People, seller_id: str, marketplace_id: str, seed: int) -> None:
        self._clock = clock
        self._people = people
        self._seller_id = seller_id
        self._marketplace_id = marketplace_id
        self._seed = seed
        self._numbers = itertools.count(1)

    def make(
        self,
        *,
        order_id: str | None = None,
        seller_id: str | None = None,
        marketplace_id: str | None = None,
        status: str = UNSHIPPED,
        fulfilled_by: str = MERCHANT,
        items: list[dict[str, Any]] | None = None,
        programs: list[str] | None = None,
        address: dict[str, Any] | None = None,
        created: datetime | str | None = None,
        ship_by: datetime | str | None = None,
        deliver_by: datetime | str | None = None,
        service_level: str = "STANDARD",
        verification: str | None = None,
        merchant_reviews: bool = False,
        dosage_label: bool = False,
        easy_ship_status: str | None = None,
        **unknown: Any,
    ) -> Order:
        """`status` in either version's spelling; `fulfilled_by` MERCHANT, AMAZON, MFN or AFN."""
        if unknown:
            raise OrderSpecificationError(f"unknown fields: {', '.join(sorted(unknown))}")
        number = next(self._numbers)
        chance = random.Random(f"{self._seed}:made:{number}")
        # 115 is a prefix that the day never draws.
        order_id = order_id or f"115-{number:07d}-{chance.randint(0, 9999999):07d}"
        status = STATUS_OF_V0.get(status, status)
        fulfilled_by = {"MFN": MERCHANT, "AFN": AMAZON}.get(fulfilled_by, fulfilled_by)
        marketplace_id = marketplace_id or self._marketplace_id
        if status not in V0_STATUS or fulfilled_by not in (MERCHANT, AMAZON) or marketplace_id not in MARKETPLACES:
            raise OrderSpecificationError("status, fulfilled_by or marketplace_id is unknown")
        now = self._clock.now()
        business = "AMAZON_BUSINESS" in (programs or [])
        drawn = self._people.address(chance, order_id, business=business)
        drawn.country_code = MARKETPLACES[marketplace_id].country_code
        created_at = _moment(created) or now - timedelta(hours=1)
        ship_at = _moment(ship_by) or now + timedelta(days=1)
        deliver_at = _moment(deliver_by) or now + timedelta(days=5)
        try:
            chosen = Address(**address) if address is not None else drawn
        except TypeError as error:
            raise OrderSpecificationError(f"address: {error}") from error
        return Order(
            order_id=order_id,
            seller_id=seller_id or self._seller_id,
            marketplace_id=marketplace_id,
            status=status,
            fulfilled_by=fulfilled_by,
            created=created_at,
            last_updated=max(created_at, now),
            service_level=service_level,
            ship_by=(created_at, ship_at),
            deliver_by=(max(ship_at, deliver_at - timedelta(days=3)), deliver_at),
            address=chosen,
            buyer=self._people.buyer(chance, order_id, business=business),
            items=[self._item(chance, line, one) for line, one in enumerate(items or [{}])],
            programs=list(programs or []),
            verification=verification,
            merchant_reviews=merchant_reviews,
            dosage_label=dosage_label,
            easy_ship_status=easy_ship_status,
        )

    def _item(self, chance: random.Random, line: int, given: dict[str, Any]) -> OrderItem:
        unknown = sorted(set(given) - ITEM_FIELDS)
        if unknown:
            raise OrderSpecificationError(f"unknown item fields: {', '.join(unknown)}")
        product = PRODUCTS[line % len(PRODUCTS)]
        quantity = given.get("quantity", 1)
        if not isinstance(quantity, int) or quantity < 1:
            raise OrderSpecificationError("quantity must be a positive integer")
        try:
            price = Decimal(given.get("unit_price", product.price))
        except (InvalidOperation, TypeError) as error:
            raise OrderSpecificationError("unit_price must be a decimal as text") from error
        return OrderItem(
            item_id=given.get("order_item_id") or f"{chance.randint(10**13, 10**14 - 1)}",
            sku=given.get("sku", product.sku),
            asin=given.get("asin", product.asin),
            title=given.get("title", product.title),
            quantity=quantity,
            unit_price=price,
            gift_message=given.get("gift_message"),
            gift_wrap_level=given.get("gift_wrap_level"),
            customization_url=given.get("customization_url"),
            programs=list(given.get("programs", [])),
            cancel_request_reason=given.get("cancel_request_reason"),
        )


def _moment(value: datetime | str | None) -> datetime | None:
    if not isinstance(value, str):
        return value
    try:
        return parse_iso(value)
    except ValueError as error:
        raise OrderSpecificationError("times are ISO 8601 with an offset") from error
