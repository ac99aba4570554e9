"""An order as Amazon tells it, in one shape for both versions of the Orders API.

What identifies a buyer is in `ShippingDetails` alone, never in `Order`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, auto
from typing import Protocol

from orders_pipeline.model.shipping_details import ShippingDetails


class OrderStatus:
    """Amazon's order statuses, canonical spelling (that of 2026-01-01). The set is open: others are kept as told."""

    PENDING_AVAILABILITY = "PENDING_AVAILABILITY"
    PENDING = "PENDING"
    UNSHIPPED = "UNSHIPPED"
    PARTIALLY_SHIPPED = "PARTIALLY_SHIPPED"
    SHIPPED = "SHIPPED"
    INVOICE_UNCONFIRMED = "INVOICE_UNCONFIRMED"  # v0 only: shipped, invoice not confirmed
    CANCELLED = "CANCELLED"
    UNFULFILLABLE = "UNFULFILLABLE"


# v0 and ORDER_CHANGE spell "Canceled" with one l and in Pascal case; 2026-01-01 with two and in capitals (facts §10).
_CANONICAL_STATUS = {
    "pending": OrderStatus.PENDING,
    "pendingavailability": OrderStatus.PENDING_AVAILABILITY,
    "unshipped": OrderStatus.UNSHIPPED,
    "partiallyshipped": OrderStatus.PARTIALLY_SHIPPED,
    "shipped": OrderStatus.SHIPPED,
    "invoiceunconfirmed": OrderStatus.INVOICE_UNCONFIRMED,
    "canceled": OrderStatus.CANCELLED,
    "cancelled": OrderStatus.CANCELLED,
    "unfulfillable": OrderStatus.UNFULFILLABLE,
}


def canonical_status(spelling: str) -> str:
    """One spelling for a status of either API version or of a notification; an unknown value comes back unchanged."""
    return _CANONICAL_STATUS.get(spelling.replace("_", "").replace(" ", "").lower(), spelling)


# Amazon shows the order as shipped.
SHIPPED_STATUSES = frozenset({OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED})

# Labels that Amazon sells are confirmed by Amazon; confirming them again is refused (facts §1, §10).
LABEL_PROGRAMS = frozenset({"FBM_SHIP_PLUS", "AMAZON_EASY_SHIP", "DELIVERY_BY_AMAZON"})
IN_STORE_PICK_UP = "IN_STORE_PICK_UP"
# No program of Amazon's: v0 says it with HasRegulatedItems, 2026-01-01 not at all (there, AMAZON_REGULATED_SKUS does).
REGULATED_PROGRAM = "REGULATED"
# No warehouse of ours ever needs to know where these go.
NOT_FOR_THE_WAREHOUSE = LABEL_PROGRAMS | {IN_STORE_PICK_UP}

MERCHANT = "MERCHANT"
AMAZON = "AMAZON"
UNKNOWN_FULFILLER = "UNKNOWN"


def canonical_fulfiller(spelling: str | None) -> str:
    """MERCHANT for MFN, AMAZON for AFN; UNKNOWN when absent; another value comes back unchanged."""
    if not spelling:
        return UNKNOWN_FULFILLER
    return {"MFN": MERCHANT, "AFN": AMAZON}.get(spelling.upper(), spelling.upper())


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One line. `unit_price` is for one piece, before tax and promotions; None while Pending."""

    order_item_id: str
    quantity_ordered: int
    quantity_fulfilled: int
    sku: str | None = None
    asin: str | None = None
    title: str | None = None
    unit_price: Money | None = None
    programs: frozenset[str] = frozenset()  # canonical, e.g. TRANSPARENCY
    cancellation_requested: bool = False  # the buyer asked; nobody has cancelled yet
    cancelled: bool = False  # cancellationExecution is there


@dataclass(frozen=True, slots=True)
class Package:
    """A package as Amazon shows it. `items` is (order_item_id, quantity). DELIVERED as `status` starts retention."""

    package_reference_id: str
    status: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    shipped_at: datetime | None = None
    items: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """The state of one order, without anything that identifies the buyer. Times are aware, UTC.

    `packages` is None where the API version or the request did not show packages; () where it showed none.
    `programs` is canonical (PRIME, AMAZON_BUSINESS, FBM_SHIP_PLUS, IN_STORE_PICK_UP, …) and open.
    """

    order_id: str
    marketplace_id: str | None
    status: str
    fulfilled_by: str
    purchased_at: datetime
    last_updated_at: datetime
    items: tuple[OrderItem, ...]
    service_level: str | None = None
    earliest_ship_at: datetime | None = None
    ship_by: datetime | None = None
    deliver_by: datetime | None = None
    programs: frozenset[str] = frozenset()
    total: Money | None = None
    packages: tuple[Package, ...] | None = None

    @property
    def cancellation_requested(self) -> bool:
        return any(item.cancellation_requested and not item.cancelled for item in self.items)


class OrderParts(Flag):
    """What to ask for beside the state and the items, which always come (cancellation included)."""

    STATE = 0
    SHIPPING_DETAILS = auto()  # restricted: only for an order that is about to ship
    PACKAGES = auto()


class Priority(Enum):
    """Who may take the last tokens of a limit: events first, then sweeps, then backfills."""

    EVENT = "event"
    SWEEP = "sweep"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class FetchedOrder:
    """One answer. `shipping_details` is None when not asked for, or when Amazon gave none."""

    order: Order
    shipping_details: ShippingDetails | None = None


@dataclass(frozen=True, slots=True)
class SearchWindow:
    """Orders of any status that changed in [updated_after, updated_before); times aware, UTC."""

    updated_after: datetime
    updated_before: datetime
    marketplace_ids: tuple[str, ...]
    fulfilled_by: tuple[str, ...] = ()  # MERCHANT, AMAZON; empty means both


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An entry of a listing that cannot be read, its id where that can, and the field that is the problem."""

    order_id: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Pieces:
    """How many pieces of an order, of all its items together, are shipped and are not; None: Amazon does not say."""

    shipped: int | None
    unshipped: int | None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page, at most 100 orders. `next_page_token` is None on the last; `listed_until` is Amazon's own watermark.

    `shipping_details` by order id, where they were asked for and Amazon gave some; `pieces` by order id, where the
    orders are listed without their items (v0 by ids).
    """

    orders: tuple[Order, ...]
    next_page_token: str | None
    listed_until: datetime | None
    unreadable: tuple[UnreadableEntry, ...] = ()
    shipping_details: Mapping[str, ShippingDetails] = field(default_factory=dict[str, ShippingDetails])
    pieces: Mapping[str, Pieces] = field(default_factory=dict[str, Pieces])


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate limit as it is now: tokens at hand (negative: that many calls wait already), tokens a second, the most.

    `kept`: so many tokens a backfill leaves to live work.
    """

    tokens: float
    rate: float
    burst: float
    kept: float = 0.0

    @property
    def seconds_until_spare(self) -> float:
        """How long until a backfill may take a token, if nobody else does; 0: now."""
        return max(0.0, (self.kept + 1 - self.tokens) / self.rate)


@dataclass(frozen=True, slots=True)
class ReadQuota:
    """What reading costs: `single` is the bucket of one order's call, `listing` that of a page of many."""

    single: Bucket
    listing: Bucket


@dataclass(frozen=True, slots=True)
class Verification:
    """Of an order with regulated items. `status`: Pending, Approved, Rejected, Expired or Cancelled (open set)."""

    status: str
    needs_merchant: bool = False  # a person reviews it in Seller Central
    dosage_label: bool = False  # a label with the dosage goes into the package


class VerificationsPort(Protocol):
    """Tells whether a regulated order may be shipped; a call of its own, from a quota of its own."""

    def get_verification(
        self, order_id: str, *, priority: Priority = Priority.EVENT, deadline_seconds: float = 20.0
    ) -> Verification:
        """Raises AmazonError (see channels.amazon.errors)."""
        ...


# A listing shows most changes after two minutes, and a window that ends later is refused (facts §1, §2); Amazon's clock
# is known to some seconds. What a listing misses all the same has to be asked for by its id.
LIST_LAG = timedelta(minutes=2, seconds=5)


class OrdersPort(Protocol):
    """Reads orders. Each call spends quota; `deadline_seconds` bounds the wait for it (then comes LimitNotBefore)."""

    @property
    def api_version(self) -> str: ...

    @property
    def lists_whole_orders(self) -> bool:
        """Whether `search_orders` takes `parts`. If not (v0), a crowd is asked by `list_orders`, then `add_items`."""
        ...

    def read_quota(self) -> ReadQuota:
        """What reading costs now. Sends nothing, takes nothing."""
        ...

    def get_order(
        self,
        order_id: str,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        """One order with all its items. Raises AmazonError; AmazonNotFound for an unknown id."""
        ...

    def list_orders(
        self,
        order_ids: Sequence[str],
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        """One page of these orders (50 at most), LIST_LAG old, without their items. Those not listed are absent.

        Only where `lists_whole_orders` is false; ValueError elsewhere.
        """
        ...

    def add_items(
        self,
        listed: FetchedOrder,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        """What `list_orders` showed of an order, with its items as they are now, and their texts with the details."""
        ...

    def search_orders(
        self,
        window: SearchWindow,
        *,
        parts: OrderParts | None = None,
        page_token: str | None = None,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        """One page of the search. With a `page_token`, `window` must be exactly the first page's.

        `parts`: each entry is as whole as get_order's answer with these, or unreadable, and the window may end LIST_LAG
        ago. None: enough to see which orders changed, up to SEARCH_HOLDBACK ago. v0 takes no `parts`.
        """
        ...
