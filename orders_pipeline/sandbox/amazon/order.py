"""An order as Amazon keeps it, before any API version has dressed it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

PENDING_AVAILABILITY = "PENDING_AVAILABILITY"
PENDING = "PENDING"
UNSHIPPED = "UNSHIPPED"
PARTIALLY_SHIPPED = "PARTIALLY_SHIPPED"
SHIPPED = "SHIPPED"
CANCELLED = "CANCELLED"
UNFULFILLABLE = "UNFULFILLABLE"

# 2026-01-01 → v0 and ORDER_CHANGE. The two disagree on the second l of cancelled.
V0_STATUS: dict[str, str] = {
    PENDING_AVAILABILITY: "PendingAvailability",
    PENDING: "Pending",
    UNSHIPPED: "Unshipped",
    PARTIALLY_SHIPPED: "PartiallyShipped",
    SHIPPED: "Shipped",
    CANCELLED: "Canceled",
    UNFULFILLABLE: "Unfulfillable",
}
STATUS_OF_V0: dict[str, str] = {v0: status for status, v0 in V0_STATUS.items()}

MERCHANT = "MERCHANT"
AMAZON = "AMAZON"

PRIME = "PRIME"
BUSINESS = "AMAZON_BUSINESS"
SHIP_PLUS = "FBM_SHIP_PLUS"
TRANSPARENCY = "TRANSPARENCY"


@dataclass
class Address:
    name: str | None = None
    company_name: str | None = None
    address_line1: str | None = None
    address_line2: str | None = None
    address_line3: str | None = None
    city: str | None = None
    district_or_county: str | None = None
    state_or_region: str | None = None
    postal_code: str | None = None
    country_code: str | None = None
    phone: str | None = None
    address_type: str | None = "RESIDENTIAL"


@dataclass
class Buyer:
    name: str | None = None
    email: str | None = None
    company_name: str | None = None
    purchase_order_number: str | None = None


@dataclass
class OrderItem:
    item_id: str
    sku: str | None
    asin: str
    title: str
    quantity: int
    unit_price: Decimal
    gift_message: str | None = None
    gift_wrap_level: str | None = None
    customization_url: str | None = None
    programs: list[str] = field(default_factory=list[str])
    cancel_request_reason: str | None = None
    cancelled_by: str | None = None
    cancel_reason: str | None = None
    # Units that left without a package of ours: by Amazon (AFN), or by hand in Seller Central.
    shipped_otherwise: int = 0


@dataclass
class Package:
    reference_id: str
    carrier_code: str
    carrier_name: str | None
    shipping_method: str | None
    tracking_number: str
    ship_date: datetime
    created: datetime
    visible_at: datetime
    items: dict[str, int]
    transparency_codes: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    status: str = "SHIPPED"
    edits: int = 0


@dataclass
class Order:
    order_id: str
    seller_id: str
    marketplace_id: str
    status: str
    fulfilled_by: str
    created: datetime
    last_updated: datetime
    service_level: str
    ship_by: tuple[datetime, datetime]
    deliver_by: tuple[datetime, datetime]
    address: Address
    buyer: Buyer
    items: list[OrderItem]
    programs: list[str] = field(default_factory=list[str])
    packages: dict[str, Package] = field(default_factory=dict[str, Package])
    # Until then Amazon has the order but not its address.
    address_known_at: datetime | None = None
    # Of an order with regulated items: Pending, Approved, Rejected, Expired or Cancelled; None: it has none.
    verification: str | None = None
    merchant_reviews: bool = False
    dosage_label: bool = False
    easy_ship_status: str | None = None
    # A listing does not show it (a hole), although getOrder does.
    unlisted: bool = False

    def item(self, item_id: str) -> OrderItem | None:
        return next((item for item in self.items if item.item_id == item_id), None)

    def shipped_units(self, item_id: str, *, without_package: str | None = None) -> int:
        item = self.item(item_id)
        if item is None:
            return 0
        packed = sum(
            package.items.get(item_id, 0)
            for package in self.packages.values()
            if package.reference_id != without_package
        )
        return item.shipped_otherwise + packed

    @property
    def all_shipped(self) -> bool:
        return all(self.shipped_units(item.item_id) >= item.quantity for item in self.items)

    @property
    def any_shipped(self) -> bool:
        return any(self.shipped_units(item.item_id) for item in self.items)

    @property
    def merchant_fulfilled(self) -> bool:
        return self.fulfilled_by == MERCHANT

    @property
    def total(self) -> Decimal:
        return sum((item.unit_price * item.quantity for item in self.items), Decimal("0.00"))
