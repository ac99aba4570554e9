"""The life of a fulfillment order, as an explicit machine.

`docs/order-states.md` is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from orders_pipeline.model.states import FULFILLMENT_STATE_MEANINGS, FulfillmentState


class Event(StrEnum):
    """What can happen to a fulfillment order."""

    SHIP = "ship"
    HOLD = "hold"
    CANCEL = "cancel"
    CLOSE = "close"
    ERASE = "erase"
    PUSH_BEGUN = "push begun"
    PUSH_ACCEPTED = "push accepted"
    PUSH_REFUSED = "push refused"
    PUSH_ABANDONED = "push abandoned"
    HOLD_DONE = "hold done"
    HOLD_TOO_LATE = "hold too late"
    RELEASE_DONE = "release done"
    CANCEL_DONE = "cancel done"
    CANCEL_PENDING = "cancel pending"
    CANCEL_TOO_LATE = "cancel too late"
    PACKAGE_LEFT = "package left"
    ALL_LEFT = "all left"
    NOTHING_LEFT = "nothing left"
    WAREHOUSE_CANCELLED = "warehouse cancelled"
    GONE = "gone"
    REPLAY = "replay"


# What has happened, for docs/order-states.md.
EVENT_MEANINGS: Mapping[Event, str] = {
    Event.SHIP: "Amazon's state says: ship it",
    Event.HOLD: "a reason to wait has come",
    Event.CANCEL: "Amazon has cancelled it",
    Event.CLOSE: "Amazon shows it shipped",
    Event.ERASE: "an erasure of its buyer was requested",
    Event.PUSH_BEGUN: "a push is about to be sent",
    Event.PUSH_ACCEPTED: "the warehouse has taken it",
    Event.PUSH_REFUSED: "the warehouse will not take it",
    Event.PUSH_ABANDONED: "looked for at the warehouse, not there, and no longer wanted",
    Event.HOLD_DONE: "the warehouse holds it",
    Event.HOLD_TOO_LATE: "the warehouse can no longer hold it",
    Event.RELEASE_DONE: "the warehouse goes on with it",
    Event.CANCEL_DONE: "the warehouse has cancelled it as asked",
    Event.CANCEL_PENDING: "the warehouse has not decided yet",
    Event.CANCEL_TOO_LATE: "the warehouse can no longer cancel it",
    Event.PACKAGE_LEFT: "some units have left",
    Event.ALL_LEFT: "every unit has left",
    Event.NOTHING_LEFT: "every package that left was voided",
    Event.WAREHOUSE_CANCELLED: "nothing left, and the warehouse will send nothing",
    Event.GONE: "the warehouse does not know the order",
    Event.REPLAY: "a person says: try again",
}


S, E = FulfillmentState, Event

TRANSITIONS: dict[tuple[FulfillmentState, Event], FulfillmentState] = {
    (S.QUEUED, E.SHIP): S.QUEUED,
    (S.QUEUED, E.HOLD): S.HELD,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    (S.QUEUED, E.CLOSE): S.CLOSED,
    (S.QUEUED, E.PUSH_BEGUN): S.PUSHING,
    # The warehouse can only report a package of an order that it got: our knowledge lags, its word counts.
    (S.QUEUED, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.QUEUED, E.ALL_LEFT): S.SHIPPED,
    # The warehouse cancelled the earlier push. The next push shows whether it accepts the order again.
    (S.QUEUED, E.WAREHOUSE_CANCELLED): S.QUEUED,
    (S.QUEUED, E.REPLAY): S.QUEUED,
    # While a push's outcome is unknown nothing else is decided: whatever Amazon wants is applied once it is known.
    (S.PUSHING, E.SHIP): S.PUSHING,
    (S.PUSHING, E.HOLD): S.PUSHING,
    (S.PUSHING, E.CANCEL): S.PUSHING,
    (S.PUSHING, E.CLOSE): S.PUSHING,
    (S.PUSHING, E.PUSH_BEGUN): S.PUSHING,
    (S.PUSHING, E.PUSH_ACCEPTED): S.ACCEPTED,
    (S.PUSHING, E.PUSH_REFUSED): S.REFUSED,
    (S.PUSHING, E.PUSH_ABANDONED): S.HELD,
    (S.PUSHING, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.PUSHING, E.ALL_LEFT): S.SHIPPED,
    (S.PUSHING, E.WAREHOUSE_CANCELLED): S.PUSHING,
    (S.PUSHING, E.REPLAY): S.PUSHING,
    (S.ACCEPTED, E.SHIP): S.ACCEPTED,
    (S.ACCEPTED, E.HOLD): S.HOLD_ASKED,
    (S.ACCEPTED, E.CANCEL): S.CANCEL_ASKED,
    (S.ACCEPTED, E.CLOSE): S.CLOSED,
    (S.ACCEPTED, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.ACCEPTED, E.ALL_LEFT): S.SHIPPED,
    (S.ACCEPTED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.REFUSED, E.SHIP): S.REFUSED,
    (S.REFUSED, E.HOLD): S.REFUSED,
    # It may have the order with other content: it is told.
    (S.REFUSED, E.CANCEL): S.CANCEL_ASKED,
    (S.REFUSED, E.CLOSE): S.CLOSED,
    (S.REFUSED, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.REFUSED, E.ALL_LEFT): S.SHIPPED,
    (S.REFUSED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.REFUSED, E.REPLAY): S.QUEUED,
    (S.HELD, E.SHIP): S.QUEUED,
    (S.HELD, E.HOLD): S.HELD,
    (S.HELD, E.CANCEL): S.CANCELLED,
    (S.HELD, E.CLOSE): S.CLOSED,
    (S.HELD, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.HELD, E.ALL_LEFT): S.SHIPPED,
    (S.HELD, E.WAREHOUSE_CANCELLED): S.HELD,
    (S.HELD, E.REPLAY): S.HELD,
    (S.HOLD_ASKED, E.SHIP): S.RELEASE,
    (S.HOLD_ASKED, E.HOLD): S.HOLD_ASKED,
    (S.HOLD_ASKED, E.CANCEL): S.CANCEL_ASKED,
    (S.HOLD_ASKED, E.CLOSE): S.CLOSED,
    (S.HOLD_ASKED, E.HOLD_DONE): S.HOLDING,
    (S.HOLD_ASKED, E.HOLD_TOO_LATE): S.TOO_LATE,
    (S.HOLD_ASKED, E.GONE): S.HELD,
    (S.HOLD_ASKED, E.PACKAGE_LEFT): S.HOLD_ASKED,
    (S.HOLD_ASKED, E.ALL_LEFT): S.TOO_LATE,
    (S.HOLD_ASKED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.HOLDING, E.SHIP): S.RELEASE,
    (S.HOLDING, E.HOLD): S.HOLDING,
    (S.HOLDING, E.CANCEL): S.CANCEL_ASKED,
    (S.HOLDING, E.CLOSE): S.CLOSED,
    (S.HOLDING, E.PACKAGE_LEFT): S.HOLDING,
    (S.HOLDING, E.ALL_LEFT): S.TOO_LATE,
    (S.HOLDING, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.RELEASE, E.SHIP): S.RELEASE,
    (S.RELEASE, E.HOLD): S.HOLD_ASKED,
    (S.RELEASE, E.CANCEL): S.CANCEL_ASKED,
    (S.RELEASE, E.CLOSE): S.CLOSED,
    (S.RELEASE, E.RELEASE_DONE): S.ACCEPTED,
    (S.RELEASE, E.GONE): S.QUEUED,
    (S.RELEASE, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.RELEASE, E.ALL_LEFT): S.SHIPPED,
    (S.RELEASE, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.CANCEL_ASKED, E.CANCEL): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CANCEL_DONE): S.CANCELLED,
    (S.CANCEL_ASKED, E.CANCEL_PENDING): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CANCEL_TOO_LATE): S.TOO_LATE,
    # What has not left can still be stopped: the warehouse is asked all the same.
    (S.CANCEL_ASKED, E.PACKAGE_LEFT): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.ALL_LEFT): S.TOO_LATE,
    (S.CANCEL_ASKED, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    # Amazon's cancellations are final; a late word of another status changes nothing.
    (S.CANCEL_ASKED, E.SHIP): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.HOLD): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CLOSE): S.CLOSED,
    (S.CANCELLED, E.SHIP): S.CANCELLED,
    (S.CANCELLED, E.HOLD): S.CANCELLED,
    (S.CANCELLED, E.CANCEL): S.CANCELLED,
    (S.CANCELLED, E.CLOSE): S.CANCELLED,
    (S.CANCELLED, E.PACKAGE_LEFT): S.TOO_LATE,
    (S.CANCELLED, E.ALL_LEFT): S.TOO_LATE,
    (S.CANCELLED, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    # A person says that it lives: it waits for Amazon's word.
    (S.CANCELLED, E.REPLAY): S.HELD,
    # Only a hold came too late, and it is no longer wanted.
    (S.TOO_LATE, E.SHIP): S.ACCEPTED,
    (S.TOO_LATE, E.HOLD): S.TOO_LATE,
    (S.TOO_LATE, E.CANCEL): S.TOO_LATE,
    (S.TOO_LATE, E.CLOSE): S.CLOSED,
    (S.TOO_LATE, E.PACKAGE_LEFT): S.TOO_LATE,
    (S.TOO_LATE, E.ALL_LEFT): S.TOO_LATE,
    (S.TOO_LATE, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    (S.SHIPPED, E.SHIP): S.SHIPPED,
    (S.SHIPPED, E.HOLD): S.SHIPPED,
    (S.SHIPPED, E.CANCEL): S.TOO_LATE,
    (S.SHIPPED, E.CLOSE): S.CLOSED,
    # A package was voided: its replacement can still be stopped.
    (S.SHIPPED, E.PACKAGE_LEFT): S.ACCEPTED,
    (S.SHIPPED, E.NOTHING_LEFT): S.ACCEPTED,
    (S.SHIPPED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.SHIPPED, E.ALL_LEFT): S.SHIPPED,
    (S.CLOSED, E.SHIP): S.CLOSED,
    (S.CLOSED, E.HOLD): S.CLOSED,
    (S.CLOSED, E.CANCEL): S.CLOSED,
    (S.CLOSED, E.CLOSE): S.CLOSED,
    (S.CLOSED, E.PACKAGE_LEFT): S.CLOSED,
    (S.CLOSED, E.ALL_LEFT): S.CLOSED,
    (S.CLOSED, E.WAREHOUSE_CANCELLED): S.CLOSED,
}

# An order that the warehouse has not accepted is cancelled. One that it may have needs a person: raise an alert.
TRANSITIONS.update({(state, E.ERASE): S.CANCELLED if state in (S.QUEUED, S.HELD, S.REFUSED) else state for state in S})

# In these states the pipeline itself has something to do at the warehouse.
ACTIONABLE = frozenset({S.QUEUED, S.PUSHING, S.HOLD_ASKED, S.RELEASE, S.CANCEL_ASKED})
# In these it has to stop an order; that goes before what ships.
STOPPING = frozenset({S.HOLD_ASKED, S.CANCEL_ASKED})
# In these a person has.
NEEDS_A_PERSON = frozenset({S.REFUSED, S.TOO_LATE})
ENDED = frozenset({S.CANCELLED, S.CLOSED})


class IllegalTransition(Exception):
    """The event makes no sense in this state. It names both; the order stays as it was."""

    def __init__(self, state: FulfillmentState, event: Event) -> None:
        super().__init__(f"A fulfillment order that is {state} cannot take the event '{event}'")


def next_state(state: FulfillmentState, event: Event) -> FulfillmentState:
    """The state after the event. Raises IllegalTransition; staying in the same state is legal and common."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def as_markdown() -> str:
    """The machine as the table of docs/order-states.md: what each event does in each state."""
    lines = [
        "# The life of a fulfillment order",
        "",
        "Generated from `orders_pipeline/fulfillment/states.py` (`make docs`): what each event makes of each state.",
        "An event that is not in a state's row is refused as a defect: the state stays, and the work is tried again",
        "or parked.",
        "",
        "| state | what it means | event → next state |",
        "| --- | --- | --- |",
    ]
    for state in FulfillmentState:
        steps = [
            f"{event} → {'stays' if after is state else f'**{after}**'}"
            for (before, event), after in TRANSITIONS.items()
            if before is state
        ]
        lines.append(f"| **{state}** | {FULFILLMENT_STATE_MEANINGS[state]} | {'; '.join(steps)} |")
    lines += ["", "## Events", "", "| event | what has happened |", "| --- | --- |"]
    lines += [f"| {event} | {EVENT_MEANINGS[event]} |" for event in Event]
    return "\n".join(lines) + "\n"
