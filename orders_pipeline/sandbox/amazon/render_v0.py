"""An order in the words of the Orders API v0: PascalCase, `Canceled` with one l, some booleans as strings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.order import BUSINESS, PRIME, TRANSPARENCY, V0_STATUS, Order, OrderItem
from orders_pipeline.sandbox.amazon.render_v2026 import NOT_PAID, WITH_ADDRESS, phone_is_shown

BUYER_INFO = "buyerInfo"
SHIPPING_ADDRESS = "shippingAddress"
SERVICE_LEVELS = {
    "EXPEDITED": "Expedited",
    "FREE_ECONOMY": "FreeEconomy",
    "NEXT_DAY": "NextDay",
    "PRIORITY": "Priority",
    "SAME_DAY": "SameDay",
    "SECOND_DAY": "SecondDay",
    "SCHEDULED": "Scheduled",
    "STANDARD": "Standard",
}
Write = Callable[[datetime], str]


def render_order(
    order: Order, elements: frozenset[str], now: datetime, write: Write, *, blanks: bool
) -> dict[str, Any]:
    marketplace = MARKETPLACES[order.marketplace_id]
    shipped = sum(order.shipped_units(item.item_id) for item in order.items)
    ordered = sum(item.quantity for item in order.items)
    status = V0_STATUS[order.status]
    body: dict[str, Any] = {
        "AmazonOrderId": order.order_id,
        "PurchaseDate": write(order.created),
        "LastUpdateDate": write(order.last_updated),
        "OrderStatus": status,
        "FulfillmentChannel": "MFN" if order.merchant_fulfilled else "AFN",
        "SalesChannel": marketplace.domain,
        "OrderType": "StandardOrder",
        "MarketplaceId": order.marketplace_id,
        "ShipmentServiceLevelCategory": SERVICE_LEVELS[order.service_level],
        "NumberOfItemsShipped": shipped,
        "NumberOfItemsUnshipped": 0 if status == "Canceled" else ordered - shipped,
        "PaymentMethod": "Other",
        "IsBusinessOrder": BUSINESS in order.programs,
        "IsPrime": PRIME in order.programs,
        "IsPremiumOrder": False,
        "IsGlobalExpressEnabled": False,
        "IsReplacementOrder": False,
        "IsSoldByAB": False,
        "IsISPU": False,
        "IsAccessPointOrder": False,
        "HasRegulatedItems": order.verification is not None,
    }
    if order.easy_ship_status is not None:
        body["EasyShipShipmentStatus"] = order.easy_ship_status
    if order.status not in NOT_PAID:
        body["OrderTotal"] = _money(order, order.total)
    if order.merchant_fulfilled:
        body |= {
            "EarliestShipDate": write(order.ship_by[0]),
            "LatestShipDate": write(order.ship_by[1]),
            "EarliestDeliveryDate": write(order.deliver_by[0]),
        }
        if order.status in WITH_ADDRESS:
            body["LatestDeliveryDate"] = write(order.deliver_by[1])
    if order.status in WITH_ADDRESS:
        address = render_address(order, now, restricted=SHIPPING_ADDRESS in elements, blanks=blanks)
        if address:
            body["ShippingAddress"] = address
    if BUYER_INFO in elements:
        body["BuyerInfo"] = render_buyer(order)
    return body


def render_address(order: Order, now: datetime, *, restricted: bool, blanks: bool) -> dict[str, Any]:
    """City, state, postal code and country are for everyone; the door is not."""
    address = order.address
    if order.status not in WITH_ADDRESS:
        return {}
    if order.address_known_at is not None and now < order.address_known_at:
        return dict.fromkeys(("Name", "AddressLine1", "City", "PostalCode", "CountryCode"), "") if blanks else {}
    body: dict[str, Any] = {
        "City": address.city,
        "District": address.district_or_county,
        "StateOrRegion": address.state_or_region,
        "PostalCode": address.postal_code if order.merchant_fulfilled else None,
        "CountryCode": address.country_code,
    }
    if restricted and order.merchant_fulfilled:
        body |= {
            "Name": address.name,
            "CompanyName": address.company_name,
            "AddressLine1": address.address_line1,
            "AddressLine2": address.address_line2,
            "AddressLine3": address.address_line3,
            "Phone": address.phone if phone_is_shown(order, now) else None,
            "AddressType": (address.address_type or "RESIDENTIAL").capitalize(),
        }
    return _present(body)


def render_buyer(order: Order) -> dict[str, Any]:
    if order.status not in WITH_ADDRESS or not order.merchant_fulfilled:
        return {}
    return _present(
        {
            "BuyerEmail": order.buyer.email,
            "BuyerName": order.buyer.name,
            "PurchaseOrderNumber": order.buyer.purchase_order_number,
        }
    )


def render_item(order: Order, item: OrderItem, elements: frozenset[str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "ASIN": item.asin,
        "OrderItemId": item.item_id,
        "SellerSKU": item.sku,
        "Title": item.title,
        "QuantityOrdered": 0 if V0_STATUS[order.status] == "Canceled" else item.quantity,
        "QuantityShipped": order.shipped_units(item.item_id),
        "ProductInfo": {"NumberOfItems": "1"},
        "ConditionId": "New",
        "ConditionSubtypeId": "New",
        "IsTransparency": TRANSPARENCY in item.programs,
        "SerialNumberRequired": False,
    }
    # Strings, not booleans: so the model says, and so Amazon answers.
    requested = item.cancel_request_reason is not None
    body["BuyerRequestedCancel"] = {
        "IsBuyerRequestedCancel": "true" if requested else "false",
        "BuyerCancelReason": item.cancel_request_reason or "",
    }
    if order.status not in NOT_PAID:
        body["IsGift"] = "true" if item.gift_message is not None or item.gift_wrap_level is not None else "false"
        body["ItemPrice"] = _money(order, item.unit_price * item.quantity)
        body["ItemTax"] = _money(order, Decimal("0.00"))
        body["PromotionDiscount"] = _money(order, Decimal("0.00"))
    if BUYER_INFO in elements:
        info = render_item_buyer(order, item)
        if info:
            body["BuyerInfo"] = info
    return _present(body)


def render_item_buyer(order: Order, item: OrderItem) -> dict[str, Any]:
    if order.status not in WITH_ADDRESS or not order.merchant_fulfilled:
        return {}
    custom = {"CustomizedURL": item.customization_url} if item.customization_url is not None else None
    return _present(
        {
            "BuyerCustomizedInfo": custom,
            "GiftMessageText": item.gift_message,
            "GiftWrapLevel": item.gift_wrap_level,
        }
    )


def render_regulated_info(order: Order) -> dict[str, Any]:
    """What a pharmacy's buyer filled in comes with it: nobody who only ships has a use for that."""
    rejected = order.verification == "Rejected"
    reason = {"RejectionReasonId": "wrong_weight", "RejectionReasonDescription": "The weight does not match."}
    status: dict[str, Any] = {
        "Status": order.verification,
        "RequiresMerchantAction": order.merchant_reviews,
        "ValidRejectionReasons": [reason],
    }
    if rejected:
        status["RejectionReason"] = reason
    field = {"FieldId": "pet_name", "FieldLabel": "Name", "FieldType": "Text", "FieldValue": f"Pet-{order.order_id}"}
    return {
        "AmazonOrderId": order.order_id,
        "RequiresDosageLabel": order.dosage_label,
        "RegulatedInformation": {"Fields": [field]},
        "RegulatedOrderVerificationStatus": status,
    }


def _money(order: Order, amount: Decimal) -> dict[str, str]:
    return {"CurrencyCode": MARKETPLACES[order.marketplace_id].currency, "Amount": str(amount)}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
