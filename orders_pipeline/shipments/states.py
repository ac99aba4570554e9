"""The life of a package, as an explicit machine.

`docs/package-states.md` is generated from this table.
"""

from __future__ import annotations

from orders_pipeline.model.state_machine import DescribedWord, StateMachine
from orders_pipeline.model.states import SUPERSEDED, PackageState


class PackageEvent(DescribedWord):
    """What can happen to a package."""

    REPORTED = "reported", "the warehouse reports it, with facts that Amazon can be told"
    REPORTED_INCOMPLETE = "reported incomplete", "the warehouse reports it, with facts that Amazon cannot be told"
    VOIDED_UNTOLD = (
        "voided before Amazon was told",
        "the warehouse says that it will not travel",
    )
    VOIDED_TOLD = (
        "voided after Amazon was told",
        "the warehouse says that it will not travel",
    )
    TAKES_PLACE = "takes a place", "it gets the reference id of a package that will not travel"
    PLACE_TAKEN = "place taken", "another package got its reference id"
    CALL_BEGUN = "call begun", "confirmShipment is about to be called"
    CALL_NOT_MADE = "call not made", "nothing reached Amazon: no quota, or the account is refused"
    CALL_ACCEPTED = "call accepted", "Amazon answered the call with 204"
    CALL_REFUSED = "call refused", "Amazon refused the call"
    CALL_UNKNOWN = "call unknown", "no answer came, or none that can be read: Amazon may have it"
    ORDER_SHIPPED = "order shown as shipped", "Amazon shows the order as shipped, and this package was never sent"
    ORDER_CANCELLED = "order cancelled", "Amazon shows the order as cancelled"
    LABEL_BOUGHT = "label bought at Amazon", "its label was bought at Amazon, which knows the package by itself"
    CARRIER_UNKNOWN = "carrier unknown", "the carrier has no code, and the marketplace refuses `Other`"
    CARRIER_MAPPED = "carrier mapped", "its carrier has a code by now: a package that was sent as `Other` is edited"
    SHOWN = "shown", "Amazon's own answer shows the package"
    NOT_SHOWN = "not shown", "Amazon's own answer does not show the package"
    NOT_SHOWN_IN_TIME = "not shown in time", "Amazon answered 204, and still does not show it at the last verification"
    NEVER_SHOWN = "never shown", "as not shown in time, and it was sent too often by now"
    CONFIRMED_ELSEWHERE = "confirmed elsewhere", "Amazon shows the order as shipped, and not this package"
    REPLAY_UNTOLD = "replay before Amazon was told", "a person asks for another try; Amazon was not told of it"
    REPLAY_TOLD = "replay after Amazon was told", "a person asks for another try; Amazon was told of it"


S, E = PackageState, PackageEvent

_TRANSITIONS: dict[tuple[PackageState, PackageEvent], PackageState] = {
    (S.PENDING, E.TAKES_PLACE): S.PENDING,
    (S.PENDING, E.CALL_BEGUN): S.SENDING,
    (S.PENDING, E.ORDER_SHIPPED): S.PRESUMED,
    (S.PENDING, E.ORDER_CANCELLED): S.BLOCKED,
    (S.PENDING, E.LABEL_BOUGHT): S.NOT_NEEDED,
    (S.PENDING, E.CARRIER_UNKNOWN): S.AWAITS_CARRIER,
    (S.AWAITS_CARRIER, E.TAKES_PLACE): S.PENDING,
    (S.AWAITS_CARRIER, E.CALL_BEGUN): S.SENDING,
    (S.AWAITS_CARRIER, E.ORDER_SHIPPED): S.PRESUMED,
    (S.AWAITS_CARRIER, E.ORDER_CANCELLED): S.BLOCKED,
    (S.AWAITS_CARRIER, E.LABEL_BOUGHT): S.NOT_NEEDED,
    (S.AWAITS_CARRIER, E.CARRIER_UNKNOWN): S.AWAITS_CARRIER,
    (S.SENDING, E.CALL_NOT_MADE): S.PENDING,
    (S.SENDING, E.CALL_ACCEPTED): S.ACCEPTED,
    (S.SENDING, E.CALL_REFUSED): S.REFUSED_UNVERIFIED,
    (S.SENDING, E.CALL_UNKNOWN): S.SENDING,
    (S.SENDING, E.SHOWN): S.CONFIRMED,
    # Telling Amazon again under the same reference id is an edit: no second package.
    (S.SENDING, E.NOT_SHOWN): S.PENDING,
    (S.SENDING, E.ORDER_CANCELLED): S.BLOCKED,
    (S.ACCEPTED, E.SHOWN): S.CONFIRMED,
    (S.ACCEPTED, E.NOT_SHOWN): S.ACCEPTED,
    (S.ACCEPTED, E.NOT_SHOWN_IN_TIME): S.PENDING,
    (S.ACCEPTED, E.NEVER_SHOWN): S.DROPPED,
    (S.ACCEPTED, E.ORDER_CANCELLED): S.BLOCKED,
    # "Order already fulfilled" is a refusal too: what Amazon shows decides (amzn/selling-partner-api-models#5037).
    (S.REFUSED_UNVERIFIED, E.SHOWN): S.CONFIRMED,
    (S.REFUSED_UNVERIFIED, E.NOT_SHOWN): S.REFUSED,
    (S.REFUSED_UNVERIFIED, E.TAKES_PLACE): S.PENDING,
    (S.REFUSED_UNVERIFIED, E.ORDER_CANCELLED): S.BLOCKED,
    (S.PRESUMED, E.SHOWN): S.CONFIRMED,
    (S.PRESUMED, E.NOT_SHOWN): S.PENDING,
    (S.PRESUMED, E.CONFIRMED_ELSEWHERE): S.BY_HAND,
    (S.PRESUMED, E.ORDER_CANCELLED): S.BLOCKED,
    (S.CONFIRMED, E.CARRIER_MAPPED): S.PENDING,
    (S.NEEDS_CORRECTION, E.TAKES_PLACE): S.NEEDS_CORRECTION,
    (S.NEEDS_CORRECTION, E.REPLAY_UNTOLD): S.PENDING,
    # Its facts of now were never sent: there is nothing to verify.
    (S.NEEDS_CORRECTION, E.REPLAY_TOLD): S.PENDING,
    (S.REFUSED, E.TAKES_PLACE): S.PENDING,
    (S.REFUSED, E.REPLAY_TOLD): S.SENDING,
    (S.DROPPED, E.REPLAY_TOLD): S.SENDING,
    (S.BLOCKED, E.REPLAY_UNTOLD): S.PENDING,
    (S.BLOCKED, E.REPLAY_TOLD): S.SENDING,
    (S.AWAITS_REPLACEMENT, E.PLACE_TAKEN): S.REPLACED,
}
# The warehouse's word counts in every state: the same box may leave after all, under another label.
_TRANSITIONS.update({(state, E.REPORTED): S.PENDING for state in S})
_TRANSITIONS.update({(state, E.REPORTED_INCOMPLETE): S.NEEDS_CORRECTION for state in S})
_TRANSITIONS.update({(state, E.VOIDED_UNTOLD): S.VOIDED for state in S if state not in SUPERSEDED})
_TRANSITIONS.update({(state, E.VOIDED_TOLD): S.AWAITS_REPLACEMENT for state in S if state not in SUPERSEDED})

PACKAGE_STATES = StateMachine("a package", "shipments/states.py", PackageState, PackageEvent, _TRANSITIONS)
