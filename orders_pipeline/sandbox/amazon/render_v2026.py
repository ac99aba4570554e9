"""An order in the words of the Orders API 2026-01-01.

Without FULFILLMENT an order has no status; PII comes with its dataset and with the role, and is silently absent
without them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from orders_pipeline.sandbox.amazon.accounts import DIRECT_TO_CONSUMER, TAX_INVOICING
from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.order import (
    CANCELLED,
    PARTIALLY_SHIPPED,
    PENDING,
    PENDING_AVAILABILITY,
    SHIPPED,
    UNSHIPPED,
    Order,
    OrderItem,
    Package,
)
from orders_pipeline.sandbox.clock import iso

DATASETS = (
    *("BUYER", "RECIPIENT", "PROCEEDS", "EXPENSE", "PROMOTION", "CANCELLATION"),
    *("FULFILLMENT", "PACKAGES", "TAX", "PAYMENT", "FULFILLMENT_ORDERS"),
)
NOT_PAID = (PENDING, PENDING_AVAILABILITY)
WITH_ADDRESS = (UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED)


def render_order(
    order: Order, included: tuple[str, ...], roles: set[str], now: datetime, *, blanks_as_empty: bool = False
) -> dict[str, Any]:
    marketplace = MARKETPLACES[order.marketplace_id]
    body: dict[str, Any] = {
        "orderId": order.order_id,
        "createdTime": iso(order.created),
        "lastUpdatedTime": iso(order.last_updated),
        "salesChannel": {
            "channelName": "AMAZON",
            "marketplaceId": order.marketplace_id,
            "marketplaceName": marketplace.domain,
        },
        "orderItems": [_item(order, item, included, roles) for item in order.items],
    }
    if order.programs:
        body["programs"] = list(order.programs)
    if "BUYER" in included:
        buyer = _buyer(order, roles)
        if buyer:
            body["buyer"] = buyer
    if "RECIPIENT" in included and order.status in WITH_ADDRESS:
        address = _address(order, roles, now, blanks_as_empty=blanks_as_empty)
        if address:
            body["recipient"] = {"deliveryAddress": address}
    if "PROCEEDS" in included and order.status not in NOT_PAID:
        body["proceeds"] = {"grandTotal": _money(order, order.total)}
    if "PAYMENT" in included and order.status not in NOT_PAID:
        execution = {"paymentMethod": "CreditCard", "paymentAmount": _money(order, order.total)}
        body["payment"] = {"paymentExecutions": [execution]}
    if "FULFILLMENT" in included:
        body["fulfillment"] = {
            "fulfillmentStatus": order.status,
            "fulfilledBy": order.fulfilled_by,
            "fulfillmentServiceLevel": order.service_level,
            "shipByWindow": _window(order.ship_by),
            "deliverByWindow": _window(order.deliver_by),
        }
    if "PACKAGES" in included and order.merchant_fulfilled:
        packages = [_package(package) for package in order.packages.values() if package.visible_at <= now]
        if packages:
            body["packages"] = packages
    return body


def sees_personal_data(order: Order, roles: set[str]) -> bool:
    return order.merchant_fulfilled and order.status in WITH_ADDRESS and DIRECT_TO_CONSUMER in roles


def phone_is_shown(order: Order, now: datetime) -> bool:
    """Never for what Amazon ships; for the merchant's own until the latest delivery date has passed."""
    return order.merchant_fulfilled and not (order.status == SHIPPED and now > order.deliver_by[1])


def _buyer(order: Order, roles: set[str]) -> dict[str, Any]:
    if order.status not in WITH_ADDRESS:
        return {}
    buyer: dict[str, str | None] = {}
    if sees_personal_data(order, roles):
        buyer = {
            "buyerName": order.buyer.name,
            "buyerEmail": order.buyer.email,
            "buyerCompanyName": order.buyer.company_name,
            "buyerPurchaseOrderNumber": order.buyer.purchase_order_number,
        }
    elif TAX_INVOICING in roles:
        buyer = {"buyerName": order.buyer.name}
    return _present(buyer)


def _address(order: Order, roles: set[str], now: datetime, *, blanks_as_empty: bool) -> dict[str, Any]:
    address = order.address
    if order.address_known_at is not None and now < order.address_known_at:
        if not blanks_as_empty:
            return {}
        names = ("name", "addressLine1", "city", "stateOrRegion", "postalCode", "countryCode")
        return dict.fromkeys(names, "")
    public = {
        "city": address.city,
        "districtOrCounty": address.district_or_county,
        "stateOrRegion": address.state_or_region,
        "countryCode": address.country_code,
    }
    if not sees_personal_data(order, roles):
        return _present(public)
    return _present(
        {
            "name": address.name,
            "companyName": address.company_name,
            "addressLine1": address.address_line1,
            "addressLine2": address.address_line2,
            "addressLine3": address.address_line3,
            **public,
            "postalCode": address.postal_code,
            "phone": address.phone if phone_is_shown(order, now) else None,
            "addressType": address.address_type,
        }
    )


def _item(order: Order, item: OrderItem, included: tuple[str, ...], roles: set[str]) -> dict[str, Any]:
    personal = sees_personal_data(order, roles)
    paid = order.status not in NOT_PAID
    product: dict[str, Any] = {
        "asin": item.asin,
        "title": item.title,
        "condition": {"conditionType": "NEW", "conditionSubtype": "NEW"},
    }
    if item.sku is not None:
        product["sellerSku"] = item.sku
    if paid:
        product["price"] = {"unitPrice": _money(order, item.unit_price)}
    if item.customization_url is not None and personal:
        product["customization"] = {"customizedUrl": item.customization_url}
    body: dict[str, Any] = {
        "orderItemId": item.item_id,
        "quantityOrdered": item.quantity,
        "measurement": {"unit": "COUNT", "value": 1},
        "product": product,
    }
    if item.programs:
        body["programs"] = list(item.programs)
    if "PROCEEDS" in included and paid:
        line_total = _money(order, item.unit_price * item.quantity)
        body["proceeds"] = {"proceedsTotal": line_total, "breakdowns": [{"type": "ITEM", "subtotal": line_total}]}
    if "CANCELLATION" in included:
        cancellation: dict[str, Any] = {}
        if item.cancel_request_reason is not None:
            cancellation["cancellationRequest"] = {"requester": "BUYER", "cancelReason": item.cancel_request_reason}
        if item.cancelled_by is not None:
            execution = {"cancelledBy": item.cancelled_by, "cancelReason": item.cancel_reason or ""}
            cancellation["cancellationExecution"] = execution
        if cancellation:
            body["cancellation"] = cancellation
    if "FULFILLMENT" in included:
        shipped = order.shipped_units(item.item_id)
        open_units = 0 if order.status == CANCELLED else item.quantity - shipped
        fulfillment: dict[str, Any] = {"quantityFulfilled": shipped, "quantityUnfulfilled": open_units}
        message = item.gift_message if personal else None
        gift = _present({"giftMessage": message, "giftWrapLevel": item.gift_wrap_level})
        if paid and gift:
            fulfillment["packing"] = {"giftOption": gift}
        body["fulfillment"] = fulfillment
    return body


def _package(package: Package) -> dict[str, Any]:
    return _present(
        {
            "packageReferenceId": package.reference_id,
            "createdTime": iso(package.created),
            "packageStatus": {"status": package.status},
            "carrier": package.carrier_name if package.carrier_code == "Other" else package.carrier_code,
            "shipTime": iso(package.ship_date),
            "shippingService": package.shipping_method,
            "trackingNumber": package.tracking_number,
            "packageItems": [
                {
                    "orderItemId": item_id,
                    "quantity": quantity,
                    **(
                        {"transparencyCodes": package.transparency_codes[item_id]}
                        if package.transparency_codes.get(item_id)
                        else {}
                    ),
                }
                for item_id, quantity in package.items.items()
            ],
        }
    )


def _money(order: Order, amount: Decimal) -> dict[str, str]:
    return {"amount": str(amount), "currencyCode": MARKETPLACES[order.marketplace_id].currency}


def _window(window: tuple[datetime, datetime]) -> dict[str, str]:
    return {"earliestDateTime": iso(window[0]), "latestDateTime": iso(window[1])}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
