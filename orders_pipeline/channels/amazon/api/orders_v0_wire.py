"""An order of the Orders API v0, from its JSON to the same domain objects as 2026-01-01's.

What identifies a buyer goes into `ShippingDetails` and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from orders_pipeline.channels.amazon.fields import Fields
from orders_pipeline.model.order import (
    REGULATED_PROGRAM,
    Money,
    Order,
    OrderItem,
    OrderStatus,
    Pieces,
    canonical_fulfiller,
    canonical_status,
)
from orders_pipeline.model.shipping_details import Address, ItemDetails, ShippingDetails

UNKNOWN_STATUS = "UNKNOWN"

# What 2026-01-01 calls a program is a boolean here (facts §2, v0 → v2026 map).
_PROGRAM_OF_FLAG = {
    "IsPrime": "PRIME",
    "IsBusinessOrder": "AMAZON_BUSINESS",
    "IsPremiumOrder": "PREMIUM",
    "IsISPU": "IN_STORE_PICK_UP",
    "IsIBA": "INVOICE_BY_AMAZON",
    "HasRegulatedItems": REGULATED_PROGRAM,
}
# v0 tells it of an item; it holds for the order: such an order must not be confirmed by hand.
SHIP_PLUS = "FBM_SHIP_PLUS"
EASY_SHIP = "AMAZON_EASY_SHIP"
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def read_order(body: Fields, items: list[Fields]) -> Order:
    """The order without anything of the buyer's, from getOrder's and getOrderItems' answers. Raises FieldProblem."""
    status = canonical_status(body.text("OrderStatus") or UNKNOWN_STATUS)
    last_updated = body.required_time("LastUpdateDate")
    programs = {program for flag, program in _PROGRAM_OF_FLAG.items() if body.flag(flag)}
    if body.text("OrderType") == "Preorder":
        programs.add("PREORDER")
    if body.text("EasyShipShipmentStatus") is not None:
        # Included for Easy Ship orders alone, whatever its value.
        programs.add(EASY_SHIP)
    order = Order(
        order_id=body.required_text("AmazonOrderId"),
        marketplace_id=body.text("MarketplaceId"),
        status=status,
        fulfilled_by=canonical_fulfiller(body.text("FulfillmentChannel")),
        purchased_at=body.time("PurchaseDate") or last_updated,
        last_updated_at=last_updated,
        items=(),
        service_level=_capitals(body.text("ShipmentServiceLevelCategory")),
        earliest_ship_at=body.time("EarliestShipDate"),
        ship_by=body.time("LatestShipDate"),
        deliver_by=body.time("LatestDeliveryDate"),
        programs=frozenset(programs),
        total=_money(body.part("OrderTotal")),
        packages=None,
    )
    return with_items(order, items)


def with_items(order: Order, items: list[Fields]) -> Order:
    """The order with getOrderItems' answer, and what only the items tell of it. Raises FieldProblem."""
    told_of_items = {SHIP_PLUS for item in items if SHIP_PLUS in _item_programs(item)}
    return replace(
        order,
        items=tuple(_item(item, order.status) for item in items),
        programs=order.programs | told_of_items,
    )


def read_pieces(body: Fields) -> Pieces:
    """How much of the order is shipped, as the order itself tells it. Raises FieldProblem."""
    return Pieces(body.whole("NumberOfItemsShipped"), body.whole("NumberOfItemsUnshipped"))


def with_item_texts(details: ShippingDetails | None, items: list[Fields]) -> ShippingDetails | None:
    """The details that a listing gave, with the buyer's texts that only the items hold."""
    if details is None:
        return read_shipping_details(Fields({}, "order").part("ShippingAddress"), items)
    return replace(details, items=_texts(items))


def read_shipping_details(address: Fields, items: list[Fields]) -> ShippingDetails | None:
    """What the warehouse needs of the buyer's; None when Amazon gave no address and no buyer's text."""
    texts = _texts(items)
    if not address and not texts:
        return None
    address_type = address.text("AddressType")
    return ShippingDetails(
        Address(
            name=address.personal("Name"),
            company=address.personal("CompanyName"),
            address_line1=address.personal("AddressLine1"),
            address_line2=address.personal("AddressLine2"),
            address_line3=address.personal("AddressLine3"),
            city=address.personal("City") or address.personal("Municipality"),
            district=address.personal("District") or address.personal("County"),
            state_or_region=address.personal("StateOrRegion"),
            postal_code=address.personal("PostalCode"),
            country_code=address.text("CountryCode"),
            phone=address.personal("Phone"),
            address_type=address_type.upper() if address_type else None,
        ),
        texts,
    )


def _item(item: Fields, order_status: str) -> OrderItem:
    quantity = item.required_whole("QuantityOrdered")
    programs = _item_programs(item) - {SHIP_PLUS}
    if item.flag("IsTransparency"):
        programs |= {"TRANSPARENCY"}
    return OrderItem(
        order_item_id=item.required_text("OrderItemId"),
        quantity_ordered=quantity,
        quantity_fulfilled=item.whole("QuantityShipped") or 0,
        sku=item.text("SellerSKU"),
        asin=item.text("ASIN"),
        title=item.text("Title"),
        unit_price=_unit_price(_money(item.part("ItemPrice")), quantity),
        programs=frozenset(programs),
        cancellation_requested=item.part("BuyerRequestedCancel").flag("IsBuyerRequestedCancel"),
        # v0 has no word for it: a cancelled item has nothing left to order.
        cancelled=order_status == OrderStatus.CANCELLED or quantity == 0,
    )


def _texts(items: list[Fields]) -> dict[str, ItemDetails]:
    return {
        item_id: details
        for item in items
        if (item_id := item.text("OrderItemId")) and (details := _item_details(item.part("BuyerInfo")))
    }


def _item_programs(item: Fields) -> set[str]:
    return set(item.part("AmazonPrograms").texts("Programs"))


def _item_details(info: Fields) -> ItemDetails | None:
    message = info.personal("GiftMessageText")
    customization = info.part("BuyerCustomizedInfo").personal("CustomizedURL")
    return ItemDetails(message, customization) if message or customization else None


def _unit_price(line: Money | None, quantity: int) -> Money | None:
    """v0 tells the price of the line; a piece costs its share, to the same number of decimals."""
    if line is None or quantity < 1:
        return None
    exponent = line.amount.as_tuple().exponent
    decimals = Decimal(1).scaleb(exponent if isinstance(exponent, int) and exponent < 0 else 0)
    return Money((line.amount / quantity).quantize(decimals), line.currency)


def _money(value: Fields) -> Money | None:
    return value.money("Amount", "CurrencyCode")


def _capitals(spelling: str | None) -> str | None:
    """SecondDay → SECOND_DAY."""
    return _WORD.sub("_", spelling).upper() if spelling else None
