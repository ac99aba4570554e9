"""The states that a fulfillment order and a package can be in.

Every domain reads them, so they stand below all domains. The words are the ones that the database holds.
"""

from __future__ import annotations

from orders_pipeline.model.state_machine import DescribedWord


class FulfillmentState(DescribedWord):
    """Where a fulfillment order is."""

    QUEUED = "queued", "to be pushed to the warehouse"
    PUSHING = "pushing", "a push was begun; its outcome is not known until the warehouse answers, or shows the order"
    ACCEPTED = "accepted", "the warehouse has it, and has not shipped all of it"
    REFUSED = "refused", "the warehouse refused it, or cancelled it by itself: a person must act"
    HELD = "held", "not at the warehouse, and not pushed while a reason to hold it stands"
    HOLD_ASKED = "hold_asked", "at the warehouse, which is asked to hold it (where its adapter cannot, by a person)"
    HOLDING = "holding", "at the warehouse, which holds it"
    RELEASE_ASKED = (
        "release_asked",
        "no reason to hold it is left; the warehouse is asked to release it (where its adapter cannot, by a person)",
    )
    CANCEL_ASKED = (
        "cancel_asked",
        "cancelled at Amazon; the warehouse is asked to cancel it (where its adapter cannot, by a person) or decides",
    )
    CANCELLED = "cancelled", "nothing of it has left the warehouse, and nothing will"
    TOO_LATE = "too_late", "it should not ship, and the warehouse could not stop it: a person must act"
    SHIPPED = "shipped", "the warehouse reports that every unit has left"
    CLOSED = "closed", "Amazon shows it as shipped; nothing is left to do"


# The warehouse has not got the order: `fulfillment` may still decide otherwise by itself.
NOT_AT_THE_WAREHOUSE = frozenset({FulfillmentState.QUEUED, FulfillmentState.HELD, FulfillmentState.REFUSED})
# A push was begun or answered, and the warehouse may ship what it was sent.
AT_THE_WAREHOUSE = frozenset(
    {
        FulfillmentState.PUSHING,
        FulfillmentState.ACCEPTED,
        FulfillmentState.HOLD_ASKED,
        FulfillmentState.HOLDING,
        FulfillmentState.RELEASE_ASKED,
    }
)
# All of the order left, or nothing of it will.
LEFT = frozenset({FulfillmentState.SHIPPED, FulfillmentState.CLOSED})


class PackageState(DescribedWord):
    """Where a package is between the warehouse and Amazon. `shipments/states.py` says what leads where."""

    PENDING = "pending", "to be confirmed to Amazon, or to be confirmed again"
    AWAITS_CARRIER = (
        "awaits_carrier",
        "as pending; its carrier has no code, and the marketplace refuses `Other`",
    )
    SENDING = "sending", "a call was begun, and its outcome is not known: verified before it is repeated"
    ACCEPTED = "accepted", "Amazon answered 204, and does not show the package yet"
    REFUSED_UNVERIFIED = "refused_unverified", "Amazon refused the call, and may show the package all the same"
    PRESUMED = "presumed", "never sent: Amazon shows the order as shipped, so somebody else may have confirmed it"
    CONFIRMED = "confirmed", "Amazon's own answer shows the package"
    NEEDS_CORRECTION = "needs_correction", "Amazon cannot be told of it as it is: a person must act"
    REFUSED = "refused", "Amazon refused the call, and does not show the package: a person must act"
    DROPPED = "dropped", "Amazon answered 204 again and again, and never showed the package: a person must act"
    BLOCKED = "blocked", "its order is cancelled at Amazon: a person must act"
    NOT_NEEDED = "not_needed", "its label was bought at Amazon, which knows the package by itself"
    BY_HAND = "by_hand", "Amazon shows the order as shipped, and not this package: somebody else confirmed the order"
    VOIDED = "voided", "it will not travel, and Amazon was never told of it"
    AWAITS_REPLACEMENT = (
        "awaits_replacement",
        "it will not travel, and Amazon was told: another takes its place there",
    )
    REPLACED = "replaced", "another package has taken over its reference id"


TO_CONFIRM = (PackageState.PENDING, PackageState.AWAITS_CARRIER, PackageState.SENDING)
TO_VERIFY = (PackageState.ACCEPTED, PackageState.REFUSED_UNVERIFIED, PackageState.PRESUMED)
NEEDS_A_PERSON = (PackageState.NEEDS_CORRECTION, PackageState.REFUSED, PackageState.DROPPED, PackageState.BLOCKED)
# Amazon has to hear of these before their ship-by time.
UNCONFIRMED = (*TO_CONFIRM, *TO_VERIFY, *NEEDS_A_PERSON)
# Nothing is told of these any more, unless the warehouse reports them as shipped again.
SUPERSEDED = (PackageState.VOIDED, PackageState.AWAITS_REPLACEMENT, PackageState.REPLACED)
