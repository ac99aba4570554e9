"""The flat file of all orders by last update: one line an item, tabs between, nothing quoted.

The columns are Amazon's, with what it tells of the place an order goes to: city, state, postal code, country; never a
name, a street, a phone or an e-mail address. No line tells its order item id.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.order import BUSINESS, CANCELLED, PENDING, V0_STATUS, Order, OrderItem

COLUMNS = (
    *("amazon-order-id", "merchant-order-id", "purchase-date", "last-updated-date", "order-status"),
    *("fulfillment-channel", "sales-channel", "order-channel", "ship-service-level", "product-name", "sku", "asin"),
    *("item-status", "quantity", "currency", "item-price", "item-tax", "shipping-price", "shipping-tax"),
    *("gift-wrap-price", "gift-wrap-tax", "item-promotion-discount", "ship-promotion-discount", "ship-city"),
    *("ship-state", "ship-postal-code", "ship-country", "promotion-ids", "is-business-order"),
    *("purchase-order-number", "price-designation"),
)
_CHANNELS = {"MERCHANT": "Merchant", "AMAZON": "Amazon"}


def render(orders: list[Order], columns: tuple[str, ...] = COLUMNS) -> str:
    """The file, as text; `columns` may be more or fewer than Amazon's usual ones."""
    lines = ["\t".join(columns)]
    for order in orders:
        for item in order.items:
            values = _values(order, item)
            lines.append("\t".join(values.get(column, "") for column in columns))
    return "".join(f"{line}\r\n" for line in lines)


def _values(order: Order, item: OrderItem) -> dict[str, str]:
    marketplace = MARKETPLACES[order.marketplace_id]
    cancelled = order.status == CANCELLED
    # Two l here, one in the v0 API.
    status = "Cancelled" if cancelled else V0_STATUS[order.status]
    priced = order.status != PENDING
    address = order.address
    values = {
        "amazon-order-id": order.order_id,
        "purchase-date": _written(order.created),
        "last-updated-date": _written(order.last_updated),
        "order-status": status,
        "fulfillment-channel": _CHANNELS[order.fulfilled_by],
        "sales-channel": marketplace.domain,
        "order-channel": "WebsiteOrderChannel",
        "ship-service-level": order.service_level.capitalize(),
        "product-name": item.title,
        "sku": item.sku,
        "asin": item.asin,
        "item-status": status,
        # A cancelled line has no pieces, and keeps its price.
        "quantity": "0" if cancelled else str(item.quantity),
        "currency": marketplace.currency if priced else "",
        "item-price": _amount(item.unit_price * item.quantity) if priced else "",
        "ship-city": address.city,
        "ship-state": address.state_or_region,
        "ship-postal-code": address.postal_code,
        "ship-country": address.country_code,
        "is-business-order": "true" if BUSINESS in order.programs else "false",
        "purchase-order-number": order.buyer.purchase_order_number,
    }
    # Nothing is quoted, so what would break the line is a blank in it.
    return {name: (value or "").replace("\t", " ").replace("\n", " ") for name, value in values.items()}


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _amount(value: Decimal) -> str:
    """As Amazon writes it: 14.0, 14.5, 14.25."""
    text = f"{value.normalize():f}"
    return text if "." in text else f"{text}.0"
