"""The states that a fulfillment order and a package can be in.

Every domain reads them, so they stand below all domains. The words are the ones that the database holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class FulfillmentState(StrEnum):
    """Where a fulfillment order is."""

    QUEUED = "queued"
    PUSHING = "pushing"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD = "held"
    HOLD_ASKED = "hold_asked"
    HOLDING = "holding"
    RELEASE = "release"
    CANCEL_ASKED = "cancel_asked"
    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    SHIPPED = "shipped"
    CLOSED = "closed"


# What each state means; docs/order-states.md shows it.
FULFILLMENT_STATE_MEANINGS: Mapping[FulfillmentState, str] = {
    FulfillmentState.QUEUED: "to be pushed",
    FulfillmentState.PUSHING: "a push was begun; what came of it is not known until the warehouse answers",
    FulfillmentState.ACCEPTED: "the warehouse has it",
    FulfillmentState.REFUSED: "the warehouse will not take it: a person must act",
    FulfillmentState.HELD: "not at the warehouse, and not to be pushed while a reason stands",
    FulfillmentState.HOLD_ASKED: "at the warehouse; it is being told to wait",
    FulfillmentState.HOLDING: "at the warehouse, which waits",
    FulfillmentState.RELEASE: "the reason is gone; the warehouse is being told to go on",
    FulfillmentState.CANCEL_ASKED: "cancelled at Amazon; the warehouse is being told, or has not decided",
    FulfillmentState.CANCELLED: "it never left",
    FulfillmentState.TOO_LATE: "the warehouse could not stop it: a person must act",
    FulfillmentState.SHIPPED: "every unit has left, says the warehouse",
    FulfillmentState.CLOSED: "Amazon shows it shipped; nothing is left to do",
}


# The warehouse has not got the order: `fulfillment` may still decide otherwise by itself.
NOT_AT_THE_WAREHOUSE = frozenset({FulfillmentState.QUEUED, FulfillmentState.HELD, FulfillmentState.REFUSED})
# A push was begun or answered, and the warehouse may ship what it was sent.
AT_THE_WAREHOUSE = frozenset(
    {
        FulfillmentState.PUSHING,
        FulfillmentState.ACCEPTED,
        FulfillmentState.HOLD_ASKED,
        FulfillmentState.HOLDING,
        FulfillmentState.RELEASE,
    }
)
# All of the order left, or nothing of it will.
LEFT = frozenset({FulfillmentState.SHIPPED, FulfillmentState.CLOSED})


class PackageState(StrEnum):
    """Where a package is between the warehouse and Amazon. `shipments/states.py` says what leads where."""

    PENDING = "pending"
    AWAITS_CARRIER = "awaits_carrier"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REFUSED_UNVERIFIED = "refused_unverified"
    PRESUMED = "presumed"
    CONFIRMED = "confirmed"
    NEEDS_CORRECTION = "needs_correction"
    REFUSED = "refused"
    DROPPED = "dropped"
    BLOCKED = "blocked"
    NOT_NEEDED = "not_needed"
    BY_HAND = "by_hand"
    VOIDED = "voided"
    AWAITS_REPLACEMENT = "awaits_replacement"
    REPLACED = "replaced"


# What each state means; docs/package-states.md shows it.
PACKAGE_STATE_MEANINGS: Mapping[PackageState, str] = {
    PackageState.PENDING: "Amazon is to be told of it, or told again",
    PackageState.AWAITS_CARRIER: "as pending; its carrier has no code, and the marketplace refuses `Other`",
    PackageState.SENDING: "a call was begun, and what came of it is not known: verify before repeating",
    PackageState.ACCEPTED: "Amazon answered 204, and has not shown it yet",
    PackageState.REFUSED_UNVERIFIED: "Amazon refused it, and may show it all the same",
    PackageState.PRESUMED: "never sent: Amazon shows the order as shipped, so somebody else may have confirmed it",
    PackageState.CONFIRMED: "seen in Amazon's own answer",
    PackageState.NEEDS_CORRECTION: "Amazon cannot be told of it as it is: a person must act",
    PackageState.REFUSED: "Amazon refuses it, and does not show it: a person must act",
    PackageState.DROPPED: "Amazon accepted it again and again and never shows it: a person must act",
    PackageState.BLOCKED: "its order is cancelled at Amazon: a person must act",
    PackageState.NOT_NEEDED: "Amazon knows the package by itself (label bought there)",
    PackageState.BY_HAND: "someone confirmed the order elsewhere; Amazon shows it shipped",
    PackageState.VOIDED: "it will not travel, and Amazon was not told of it",
    PackageState.AWAITS_REPLACEMENT: "it will not travel, and Amazon was told: another takes its place there",
    PackageState.REPLACED: "another package has taken over its reference id",
}


TO_CONFIRM = (PackageState.PENDING, PackageState.AWAITS_CARRIER, PackageState.SENDING)
TO_VERIFY = (PackageState.ACCEPTED, PackageState.REFUSED_UNVERIFIED, PackageState.PRESUMED)
NEEDS_A_PERSON = (PackageState.NEEDS_CORRECTION, PackageState.REFUSED, PackageState.DROPPED, PackageState.BLOCKED)
# Amazon has to hear of these before their ship-by time.
UNCONFIRMED = (*TO_CONFIRM, *TO_VERIFY, *NEEDS_A_PERSON)
# Nothing is told of these any more, unless the warehouse reports them as shipped again.
SUPERSEDED = (PackageState.VOIDED, PackageState.AWAITS_REPLACEMENT, PackageState.REPLACED)
