"""What an order's state at Amazon asks of the warehouse: ship, wait, cancel, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orders_pipeline.model.order import (
    AMAZON,
    IN_STORE_PICK_UP,
    LABEL_PROGRAMS,
    MERCHANT,
    REGULATED_PROGRAM,
    OrderStatus,
)
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START

# Why an order waits. Each is shown in the UI, with its age; docs/runbook.md says what ends it.
BUYER_ASKS_TO_CANCEL = "buyer_asks_to_cancel"
NO_ADDRESS = "no_address"
LABEL_BOUGHT_AT_AMAZON = "label_bought_at_amazon"
PICKED_UP_IN_STORE = "picked_up_in_store"
TRANSPARENCY_CODES = "transparency_codes"
REGULATED = "regulated"
DOSAGE_LABEL = "dosage_label"
NO_SKU = "no_sku"
UNKNOWN_STATUS = "unknown_status"
UNKNOWN_FULFILLER = "unknown_fulfiller"
UNKNOWN_MARKETPLACE = "unknown_marketplace"
MARKETPLACE_NOT_CONFIGURED = "marketplace_not_configured"
CANCELLATION_ANNOUNCED = "cancellation_announced"

# A person may ship in spite of these. The others are not a matter of judgement: without an address nothing can be sent,
# and what Amazon ships or hands over itself is not the warehouse's.
WAIVABLE = frozenset({BUYER_ASKS_TO_CANCEL, TRANSPARENCY_CODES, REGULATED, DOSAGE_LABEL})
# Amazon's word for a regulated order that may be shipped; every other one, and none, is a reason to wait.
APPROVED = "Approved"

_KNOWN = frozenset(value for name, value in vars(OrderStatus).items() if not name.startswith("_"))


class Wanted(Enum):
    """What Amazon's state asks of the warehouse."""

    NOTHING = "nothing"  # not ours, or not yet
    OUTSIDE = "outside"  # of a marketplace that is not configured: never queued
    SHIP = "ship"
    HOLD = "hold"
    CANCEL = "cancel"
    CLOSE = "close"
    ERASE = "erase"  # an erasure of its buyer was requested: what the warehouse has not taken is given up


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One line. Quantities in pieces."""

    ordered: int
    fulfilled: int
    cancelled: bool
    has_sku: bool
    programs: frozenset[str]

    @property
    def to_ship(self) -> int:
        return 0 if self.cancelled else max(self.ordered - self.fulfilled, 0)


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What is known of an order when it is decided about."""

    status: str
    fulfilled_by: str
    fetched: bool
    has_address: bool
    cancellation_requested: bool
    programs: frozenset[str]
    items: tuple[ItemFacts, ...]
    erasure_requested: bool = False
    # Purchased before the pipeline began here, and not adopted: an old process may be shipping it.
    awaits_adoption: bool = False
    # Whether its marketplace is configured; None where Amazon names none.
    configured: bool | None = True
    # A message said that it is cancelled, and Amazon was not asked since.
    cancellation_announced: bool = False
    # Of an order with regulated items: Amazon's word, and whether a dosage label goes into the package.
    verification: str | None = None
    dosage_label: bool = False
    # Reasons that a person has looked at, and decided to ship all the same.
    waived: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    wanted: Wanted
    reasons: tuple[str, ...] = ()


def decide(facts: OrderFacts) -> Decision:
    """Decide from the facts alone. A status that we do not know is held, so that a person sees it."""
    if facts.fulfilled_by == AMAZON:
        return Decision(Wanted.NOTHING)
    if facts.status == OrderStatus.CANCELLED:
        return Decision(Wanted.CANCEL)
    if facts.status in (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED):
        return Decision(Wanted.CLOSE)
    if facts.erasure_requested:
        return Decision(Wanted.ERASE)
    if not facts.fetched:
        # Known from a notification only: nothing can be shipped before Amazon was asked.
        return Decision(Wanted.NOTHING)
    if facts.status not in _KNOWN:
        return Decision(Wanted.HOLD, (UNKNOWN_STATUS,))
    if facts.status not in (OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED):
        return Decision(Wanted.NOTHING)
    open_items = [item for item in facts.items if item.to_ship > 0]
    if not open_items:
        return Decision(Wanted.NOTHING)
    if facts.configured is False:
        return Decision(Wanted.OUTSIDE)
    if facts.awaits_adoption:
        # Alone: until a person says that it is ours, nothing else about it is asked or waited for.
        return Decision(Wanted.HOLD, (PURCHASED_BEFORE_START,))
    reasons: list[str] = []
    if facts.fulfilled_by != MERCHANT:
        # Absent, or a word that we do not know: it may be Amazon's to ship.
        reasons.append(UNKNOWN_FULFILLER)
    if facts.configured is None:
        reasons.append(UNKNOWN_MARKETPLACE)
    if facts.cancellation_announced:
        reasons.append(CANCELLATION_ANNOUNCED)
    if facts.cancellation_requested:
        reasons.append(BUYER_ASKS_TO_CANCEL)
    if not facts.has_address:
        reasons.append(NO_ADDRESS)
    if facts.programs & LABEL_PROGRAMS:
        reasons.append(LABEL_BOUGHT_AT_AMAZON)
    if IN_STORE_PICK_UP in facts.programs:
        reasons.append(PICKED_UP_IN_STORE)
    if REGULATED_PROGRAM in facts.programs and facts.verification != APPROVED:
        reasons.append(REGULATED)
    if REGULATED_PROGRAM in facts.programs and facts.dosage_label:
        # The warehouse's contract has no word for it.
        reasons.append(DOSAGE_LABEL)
    if any("TRANSPARENCY" in item.programs for item in open_items):
        reasons.append(TRANSPARENCY_CODES)
    if any(not item.has_sku for item in open_items):
        reasons.append(NO_SKU)
    standing = tuple(reason for reason in reasons if reason not in facts.waived & WAIVABLE)
    return Decision(Wanted.HOLD, standing) if standing else Decision(Wanted.SHIP)
