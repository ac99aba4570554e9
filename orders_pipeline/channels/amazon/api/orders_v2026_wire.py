"""An order of the Orders API 2026-01-01, from its JSON to the domain objects.

What identifies a buyer goes into `ShippingDetails` and nowhere else; a gift message rides with FULFILLMENT and a
customization URL with the product, so they are dropped here when they were not asked for.
"""

from __future__ import annotations

from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.model.order import Money, Order, OrderItem, Package, canonical_fulfiller, canonical_status
from orders_pipeline.model.shipping_details import Address, ItemDetails, ShippingDetails

UNKNOWN_STATUS = "UNKNOWN"


def read_order(body: Fields, *, with_packages: bool, strict: bool = True) -> Order:
    """The order without anything of the buyer's. Raises FieldProblem.

    With `strict=False` an unreadable item is left out: a listing must not lose an order because of one of its items.
    """
    fulfillment = body.part("fulfillment")
    ship_by = fulfillment.part("shipByWindow")
    channel = body.part("salesChannel")
    last_updated = body.required_time("lastUpdatedTime")
    return Order(
        order_id=body.required_text("orderId"),
        marketplace_id=channel.text("marketplaceId"),
        status=canonical_status(fulfillment.text("fulfillmentStatus") or UNKNOWN_STATUS),
        fulfilled_by=canonical_fulfiller(fulfillment.text("fulfilledBy")),
        purchased_at=body.time("createdTime") or last_updated,
        last_updated_at=last_updated,
        items=_items(body, strict),
        service_level=fulfillment.text("fulfillmentServiceLevel"),
        earliest_ship_at=ship_by.time("earliestDateTime"),
        ship_by=ship_by.time("latestDateTime"),
        deliver_by=fulfillment.part("deliverByWindow").time("latestDateTime"),
        programs=frozenset(body.texts("programs")),
        total=_money(body.part("proceeds").part("grandTotal")),
        packages=tuple(_package(package) for package in body.parts("packages")) if with_packages else None,
    )


def read_shipping_details(body: Fields) -> ShippingDetails | None:
    """What the warehouse needs of the buyer's; None when Amazon gave no address and no buyer's text."""
    address = body.part("recipient").part("deliveryAddress")
    items = {
        item_id: details
        for item in body.parts("orderItems")
        if (item_id := item.text("orderItemId")) and (details := _item_details(item))
    }
    if not address and not items:
        return None
    return ShippingDetails(
        Address(
            name=address.personal("name"),
            company=address.personal("companyName"),
            address_line1=address.personal("addressLine1"),
            address_line2=address.personal("addressLine2"),
            address_line3=address.personal("addressLine3"),
            city=address.personal("city") or address.personal("municipality"),
            district=address.personal("districtOrCounty"),
            state_or_region=address.personal("stateOrRegion"),
            postal_code=address.personal("postalCode"),
            country_code=address.text("countryCode"),
            phone=address.personal("phone"),
            address_type=address.text("addressType"),
        ),
        items,
    )


def _items(body: Fields, strict: bool) -> tuple[OrderItem, ...]:
    items: list[OrderItem] = []
    for item in body.required_parts("orderItems"):
        try:
            items.append(_item(item))
        except FieldProblem:
            if strict:
                raise
    return tuple(items)


def _item(item: Fields) -> OrderItem:
    product = item.part("product")
    cancellation = item.part("cancellation")
    ordered = item.required_whole("quantityOrdered")
    fulfilled = item.part("fulfillment").whole("quantityFulfilled") or 0
    unfulfilled = item.part("fulfillment").whole("quantityUnfulfilled") or 0
    executed = cancellation.has("cancellationExecution")
    # Cancelled in part: what Amazon still counts as unfulfilled is still to ship, and no more than that.
    in_part = executed and unfulfilled > 0
    return OrderItem(
        order_item_id=item.required_text("orderItemId"),
        quantity_ordered=min(ordered, fulfilled + unfulfilled) if in_part else ordered,
        quantity_fulfilled=fulfilled,
        sku=product.text("sellerSku"),
        asin=product.text("asin"),
        title=product.text("title"),
        unit_price=_money(product.part("price").part("unitPrice")),
        programs=frozenset(item.texts("programs")),
        cancellation_requested=cancellation.has("cancellationRequest"),
        cancelled=executed and not in_part,
    )


def _item_details(item: Fields) -> ItemDetails | None:
    message = item.part("fulfillment").part("packing").part("giftOption").personal("giftMessage")
    customization = item.part("product").part("customization").personal("customizedUrl")
    return ItemDetails(message, customization) if message or customization else None


def _package(package: Fields) -> Package:
    status = package.part("packageStatus")
    return Package(
        package_reference_id=package.required_text("packageReferenceId"),
        status=status.text("status"),
        carrier=package.text("carrier"),
        tracking_number=package.text("trackingNumber"),
        shipped_at=package.time("shipTime"),
        items=tuple(
            (item_id, item.whole("quantity") or 0)
            for item in package.parts("packageItems")
            if (item_id := item.text("orderItemId"))
        ),
    )


def _money(value: Fields) -> Money | None:
    return value.money("amount", "currencyCode")
