"""The life of a package, as an explicit machine.

`docs/package-states.md` is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from orders_pipeline.model.states import PACKAGE_STATE_MEANINGS, SUPERSEDED, PackageState


class PackageEvent(StrEnum):
    """What can happen to a package."""

    REPORTED = "reported"
    REPORTED_INCOMPLETE = "reported incomplete"
    VOIDED_UNTOLD = "voided before Amazon was told"
    VOIDED_TOLD = "voided after Amazon was told"
    TAKES_PLACE = "takes a place"
    PLACE_TAKEN = "place taken"
    CALL_BEGUN = "call begun"
    CALL_NOT_MADE = "call not made"
    CALL_ACCEPTED = "call accepted"
    CALL_REFUSED = "call refused"
    CALL_UNKNOWN = "call unknown"
    ORDER_SHIPPED = "order shown as shipped"
    ORDER_CANCELLED = "order cancelled"
    LABEL_BOUGHT = "label bought at Amazon"
    CARRIER_UNKNOWN = "carrier unknown"
    CARRIER_MAPPED = "carrier mapped"
    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    NOT_SHOWN_IN_TIME = "not shown in time"
    NEVER_SHOWN = "never shown"
    CONFIRMED_ELSEWHERE = "confirmed elsewhere"
    REPLAY_UNTOLD = "replay"
    REPLAY_TOLD = "replay after Amazon was told"


# What has happened, for docs/package-states.md.
EVENT_MEANINGS: Mapping[PackageEvent, str] = {
    PackageEvent.REPORTED: "the warehouse reports it, with facts that Amazon can be told",
    PackageEvent.REPORTED_INCOMPLETE: "the warehouse reports it, with facts that Amazon cannot be told",
    PackageEvent.VOIDED_UNTOLD: "the warehouse says that it will not travel, and Amazon was not told of it",
    PackageEvent.VOIDED_TOLD: "the warehouse says that it will not travel, and Amazon was told of it",
    PackageEvent.TAKES_PLACE: "it gets the reference id of a package that will not travel",
    PackageEvent.PLACE_TAKEN: "another package got its reference id",
    PackageEvent.CALL_BEGUN: "Amazon is about to be told",
    PackageEvent.CALL_NOT_MADE: "nothing reached Amazon: no quota, or the account is refused",
    PackageEvent.CALL_ACCEPTED: "Amazon answered 204",
    PackageEvent.CALL_REFUSED: "Amazon refused the call",
    PackageEvent.CALL_UNKNOWN: "the answer was lost, or was none",
    PackageEvent.ORDER_SHIPPED: "Amazon shows the order as shipped, before anything was sent",
    PackageEvent.ORDER_CANCELLED: "Amazon shows the order as cancelled",
    PackageEvent.LABEL_BOUGHT: "Amazon knows the package by itself",
    PackageEvent.CARRIER_UNKNOWN: "the carrier has no code, and the marketplace refuses `Other`",
    PackageEvent.CARRIER_MAPPED: "the carrier has a code by now: a package that went out as `Other` is edited",
    PackageEvent.SHOWN: "Amazon's answer shows it",
    PackageEvent.NOT_SHOWN: "Amazon's answer does not show it",
    PackageEvent.NOT_SHOWN_IN_TIME: "accepted, and still missing after the last verification",
    PackageEvent.NEVER_SHOWN: "accepted too often",
    PackageEvent.CONFIRMED_ELSEWHERE: "Amazon shows the order as shipped, and not this package",
    PackageEvent.REPLAY_UNTOLD: "a person says: try again; Amazon was not told of it",
    PackageEvent.REPLAY_TOLD: "a person says: try again; Amazon was told of it",
}


S, E = PackageState, PackageEvent

TRANSITIONS: dict[tuple[PackageState, PackageEvent], PackageState] = {
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
TRANSITIONS.update({(state, E.REPORTED): S.PENDING for state in S})
TRANSITIONS.update({(state, E.REPORTED_INCOMPLETE): S.NEEDS_CORRECTION for state in S})
TRANSITIONS.update({(state, E.VOIDED_UNTOLD): S.VOIDED for state in S if state not in SUPERSEDED})
TRANSITIONS.update({(state, E.VOIDED_TOLD): S.AWAITS_REPLACEMENT for state in S if state not in SUPERSEDED})


class IllegalTransition(Exception):
    """The event makes no sense in this state. It names both; the package stays as it was."""

    def __init__(self, state: PackageState, event: PackageEvent) -> None:
        super().__init__(f"A package that is {state} cannot take the event '{event}'")


def next_state(state: PackageState, event: PackageEvent) -> PackageState:
    """The state after the event. Raises IllegalTransition; staying in the same state is legal."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def as_markdown() -> str:
    """The machine as the table of docs/package-states.md: what each event does in each state."""
    lines = [
        "# The life of a package",
        "",
        "Generated from `orders_pipeline/shipments/states.py` (`make docs`): what each event makes of each state.",
        "An event that is not in a state's row is refused as a defect: the state stays, and the work is tried again",
        "or parked.",
        "",
        "| state | what it means | event → next state |",
        "| --- | --- | --- |",
    ]
    for state in PackageState:
        steps = [
            f"{event} → {'stays' if after is state else f'**{after}**'}"
            for (before, event), after in TRANSITIONS.items()
            if before is state
        ]
        lines.append(f"| **{state}** | {PACKAGE_STATE_MEANINGS[state]} | {'; '.join(steps)} |")
    lines += ["", "## Events", "", "| event | what has happened |", "| --- | --- |"]
    lines += [f"| {event} | {EVENT_MEANINGS[event]} |" for event in PackageEvent]
    return "\n".join(lines) + "\n"
