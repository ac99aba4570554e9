"""The states that a fulfillment order and a package can be in.

Every domain reads them, so they stand below all domains. The words are the ones that the database holds.
"""

from __future__ import annotations

from enum import StrEnum


class FulfillmentState(StrEnum):
    """Where a fulfillment order is."""

    QUEUED = "queued"  # to be pushed
    PUSHING = "pushing"  # a push was begun; what came of it is not known until the warehouse answers
    ACCEPTED = "accepted"  # the warehouse has it
    REFUSED = "refused"  # the warehouse will not take it: a person must act
    HELD = "held"  # not at the warehouse, and not to be pushed while a reason stands
    HOLD_ASKED = "hold_asked"  # at the warehouse; it is being told to wait
    HOLDING = "holding"  # at the warehouse, which waits
    RELEASE = "release"  # the reason is gone; the warehouse is being told to go on
    CANCEL_ASKED = "cancel_asked"  # cancelled at Amazon; the warehouse is being told, or has not decided
    CANCELLED = "cancelled"  # it never left
    TOO_LATE = "too_late"  # the warehouse could not stop it: a person must act
    SHIPPED = "shipped"  # every unit has left, says the warehouse
    CLOSED = "closed"  # Amazon shows it shipped; nothing is left to do


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

    PENDING = "pending"  # Amazon is to be told of it, or told again
    AWAITS_CARRIER = "awaits_carrier"  # as pending; its carrier has no code, and the marketplace refuses `Other`
    SENDING = "sending"  # a call was begun, and what came of it is not known: verify before repeating
    ACCEPTED = "accepted"  # Amazon answered 204, and has not shown it yet
    REFUSED_UNVERIFIED = "refused_unverified"  # Amazon refused it, and may show it all the same
    PRESUMED = "presumed"  # never sent: Amazon shows the order as shipped, so somebody else may have confirmed it
    CONFIRMED = "confirmed"  # seen in Amazon's own answer
    NEEDS_CORRECTION = "needs_correction"  # Amazon cannot be told of it as it is: a person must act
    REFUSED = "refused"  # Amazon refuses it, and does not show it: a person must act
    DROPPED = "dropped"  # Amazon accepted it again and again and never shows it: a person must act
    BLOCKED = "blocked"  # its order is cancelled at Amazon: a person must act
    NOT_NEEDED = "not_needed"  # Amazon knows the package by itself (label bought there)
    BY_HAND = "by_hand"  # someone confirmed the order elsewhere; Amazon shows it shipped
    VOIDED = "voided"  # it will not travel, and Amazon was not told of it
    AWAITS_REPLACEMENT = "awaits_replacement"  # it will not travel, and Amazon was told: another takes its place there
    REPLACED = "replaced"  # another package has taken over its reference id


TO_CONFIRM = (PackageState.PENDING, PackageState.AWAITS_CARRIER, PackageState.SENDING)
TO_VERIFY = (PackageState.ACCEPTED, PackageState.REFUSED_UNVERIFIED, PackageState.PRESUMED)
NEEDS_A_PERSON = (PackageState.NEEDS_CORRECTION, PackageState.REFUSED, PackageState.DROPPED, PackageState.BLOCKED)
# Amazon has to hear of these before their ship-by time.
UNCONFIRMED = (*TO_CONFIRM, *TO_VERIFY, *NEEDS_A_PERSON)
# Nothing is told of these any more, unless the warehouse reports them as shipped again.
SUPERSEDED = (PackageState.VOIDED, PackageState.AWAITS_REPLACEMENT, PackageState.REPLACED)
