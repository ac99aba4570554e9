"""The life of a fulfillment order, as an explicit machine.

`docs/order-states.md` is generated from this table.
"""

from __future__ import annotations

from orders_pipeline.model.state_machine import DescribedWord, StateMachine
from orders_pipeline.model.states import FulfillmentState


class Event(DescribedWord):
    """What can happen to a fulfillment order."""

    SHIP = "ship", "decided: Amazon's state asks to ship it"
    HOLD = "hold", "decided: there is a reason to hold it"
    CANCEL = "cancel", "decided: Amazon has cancelled it"
    CANCEL_BEGUN = "cancel begun", "decided: Amazon has cancelled it, and a push of it was begun once"
    CLOSE = "close", "decided: Amazon shows it as shipped, or ships it itself"
    ERASE = "erase", "an erasure of its buyer was requested"
    PUSH_BEGUN = "push begun", "a push is about to be sent"
    PUSH_ACCEPTED = "push accepted", "the warehouse has taken it"
    PUSH_REFUSED = "push refused", "the warehouse will not take it"
    PUSH_ABANDONED = "push abandoned", "the warehouse does not have it, and it should no longer be pushed"
    HOLD_DONE = "hold done", "the warehouse holds it"
    HOLD_TOO_LATE = "hold too late", "the warehouse can no longer hold it"
    RELEASE_DONE = "release done", "the warehouse goes on with it"
    CANCEL_DONE = "cancel done", "the warehouse has cancelled it as asked"
    CANCEL_PENDING = "cancel pending", "the warehouse has not decided yet"
    CANCEL_TOO_LATE = "cancel too late", "the warehouse can no longer cancel it"
    NOT_FOUND = "not found", "the warehouse answers that it does not have the order"
    PARTLY_SHIPPED = "partly shipped", "the warehouse reports that some units have left"
    ALL_SHIPPED = "all shipped", "the warehouse reports that every unit has left"
    ALL_VOIDED = "all voided", "the warehouse has voided every package that it had reported"
    WAREHOUSE_CANCELLED = (
        "warehouse cancelled",
        "the warehouse reports that it will send nothing of it",
    )
    REPLAY = "replay", "a person asks for another try"


S, E = FulfillmentState, Event

_TRANSITIONS: dict[tuple[FulfillmentState, Event], FulfillmentState] = {
    (S.QUEUED, E.SHIP): S.QUEUED,
    (S.QUEUED, E.HOLD): S.HELD,
    (S.QUEUED, E.CANCEL): S.CANCELLED,
    # A push that broke off may have left something there that `find` does not show: it is told.
    (S.QUEUED, E.CANCEL_BEGUN): S.CANCEL_ASKED,
    (S.QUEUED, E.CLOSE): S.CLOSED,
    (S.QUEUED, E.PUSH_BEGUN): S.PUSHING,
    # The warehouse can only report a package of an order that it got: our knowledge lags, its word counts.
    (S.QUEUED, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.QUEUED, E.ALL_SHIPPED): S.SHIPPED,
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
    (S.PUSHING, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.PUSHING, E.ALL_SHIPPED): S.SHIPPED,
    (S.PUSHING, E.WAREHOUSE_CANCELLED): S.PUSHING,
    (S.PUSHING, E.REPLAY): S.PUSHING,
    (S.ACCEPTED, E.SHIP): S.ACCEPTED,
    (S.ACCEPTED, E.HOLD): S.HOLD_ASKED,
    (S.ACCEPTED, E.CANCEL): S.CANCEL_ASKED,
    (S.ACCEPTED, E.CLOSE): S.CLOSED,
    (S.ACCEPTED, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.ACCEPTED, E.ALL_SHIPPED): S.SHIPPED,
    (S.ACCEPTED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.REFUSED, E.SHIP): S.REFUSED,
    (S.REFUSED, E.HOLD): S.REFUSED,
    # It may have the order with other content: it is told.
    (S.REFUSED, E.CANCEL): S.CANCEL_ASKED,
    (S.REFUSED, E.CLOSE): S.CLOSED,
    (S.REFUSED, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.REFUSED, E.ALL_SHIPPED): S.SHIPPED,
    (S.REFUSED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.REFUSED, E.REPLAY): S.QUEUED,
    (S.HELD, E.SHIP): S.QUEUED,
    (S.HELD, E.HOLD): S.HELD,
    (S.HELD, E.CANCEL): S.CANCELLED,
    (S.HELD, E.CANCEL_BEGUN): S.CANCEL_ASKED,
    (S.HELD, E.CLOSE): S.CLOSED,
    (S.HELD, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.HELD, E.ALL_SHIPPED): S.SHIPPED,
    (S.HELD, E.WAREHOUSE_CANCELLED): S.HELD,
    (S.HELD, E.REPLAY): S.HELD,
    (S.HOLD_ASKED, E.SHIP): S.RELEASE_ASKED,
    (S.HOLD_ASKED, E.HOLD): S.HOLD_ASKED,
    (S.HOLD_ASKED, E.CANCEL): S.CANCEL_ASKED,
    (S.HOLD_ASKED, E.CLOSE): S.CLOSED,
    (S.HOLD_ASKED, E.HOLD_DONE): S.HOLDING,
    (S.HOLD_ASKED, E.HOLD_TOO_LATE): S.TOO_LATE,
    (S.HOLD_ASKED, E.NOT_FOUND): S.HELD,
    (S.HOLD_ASKED, E.PARTLY_SHIPPED): S.HOLD_ASKED,
    (S.HOLD_ASKED, E.ALL_SHIPPED): S.TOO_LATE,
    (S.HOLD_ASKED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.HOLDING, E.SHIP): S.RELEASE_ASKED,
    (S.HOLDING, E.HOLD): S.HOLDING,
    (S.HOLDING, E.CANCEL): S.CANCEL_ASKED,
    (S.HOLDING, E.CLOSE): S.CLOSED,
    (S.HOLDING, E.PARTLY_SHIPPED): S.HOLDING,
    (S.HOLDING, E.ALL_SHIPPED): S.TOO_LATE,
    (S.HOLDING, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.RELEASE_ASKED, E.SHIP): S.RELEASE_ASKED,
    (S.RELEASE_ASKED, E.HOLD): S.HOLD_ASKED,
    (S.RELEASE_ASKED, E.CANCEL): S.CANCEL_ASKED,
    (S.RELEASE_ASKED, E.CLOSE): S.CLOSED,
    (S.RELEASE_ASKED, E.RELEASE_DONE): S.ACCEPTED,
    (S.RELEASE_ASKED, E.NOT_FOUND): S.QUEUED,
    (S.RELEASE_ASKED, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.RELEASE_ASKED, E.ALL_SHIPPED): S.SHIPPED,
    (S.RELEASE_ASKED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.CANCEL_ASKED, E.CANCEL): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CANCEL_DONE): S.CANCELLED,
    (S.CANCEL_ASKED, E.CANCEL_PENDING): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CANCEL_TOO_LATE): S.TOO_LATE,
    # What has not left can still be stopped: the warehouse is asked all the same.
    (S.CANCEL_ASKED, E.PARTLY_SHIPPED): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.ALL_SHIPPED): S.TOO_LATE,
    (S.CANCEL_ASKED, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    # Amazon's cancellations are final; a late word of another status changes nothing.
    (S.CANCEL_ASKED, E.SHIP): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.HOLD): S.CANCEL_ASKED,
    (S.CANCEL_ASKED, E.CLOSE): S.CLOSED,
    (S.CANCELLED, E.SHIP): S.CANCELLED,
    (S.CANCELLED, E.HOLD): S.CANCELLED,
    (S.CANCELLED, E.CANCEL): S.CANCELLED,
    (S.CANCELLED, E.CLOSE): S.CANCELLED,
    (S.CANCELLED, E.PARTLY_SHIPPED): S.TOO_LATE,
    (S.CANCELLED, E.ALL_SHIPPED): S.TOO_LATE,
    (S.CANCELLED, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    # A person says that it lives: it waits for Amazon's word.
    (S.CANCELLED, E.REPLAY): S.HELD,
    # Only a hold came too late, and it is no longer wanted.
    (S.TOO_LATE, E.SHIP): S.ACCEPTED,
    (S.TOO_LATE, E.HOLD): S.TOO_LATE,
    (S.TOO_LATE, E.CANCEL): S.TOO_LATE,
    (S.TOO_LATE, E.CLOSE): S.CLOSED,
    (S.TOO_LATE, E.PARTLY_SHIPPED): S.TOO_LATE,
    (S.TOO_LATE, E.ALL_SHIPPED): S.TOO_LATE,
    (S.TOO_LATE, E.WAREHOUSE_CANCELLED): S.CANCELLED,
    (S.SHIPPED, E.SHIP): S.SHIPPED,
    (S.SHIPPED, E.HOLD): S.SHIPPED,
    (S.SHIPPED, E.CANCEL): S.TOO_LATE,
    (S.SHIPPED, E.CLOSE): S.CLOSED,
    # A package was voided: its replacement can still be stopped.
    (S.SHIPPED, E.PARTLY_SHIPPED): S.ACCEPTED,
    (S.SHIPPED, E.ALL_VOIDED): S.ACCEPTED,
    (S.SHIPPED, E.WAREHOUSE_CANCELLED): S.REFUSED,
    (S.SHIPPED, E.ALL_SHIPPED): S.SHIPPED,
    (S.CLOSED, E.SHIP): S.CLOSED,
    (S.CLOSED, E.HOLD): S.CLOSED,
    (S.CLOSED, E.CANCEL): S.CLOSED,
    (S.CLOSED, E.CLOSE): S.CLOSED,
    (S.CLOSED, E.PARTLY_SHIPPED): S.CLOSED,
    (S.CLOSED, E.ALL_SHIPPED): S.CLOSED,
    (S.CLOSED, E.WAREHOUSE_CANCELLED): S.CLOSED,
}

# An order that the warehouse has not accepted is cancelled. One that it may have needs a person: raise an alert.
_TRANSITIONS.update({(state, E.ERASE): S.CANCELLED if state in (S.QUEUED, S.HELD, S.REFUSED) else state for state in S})

ORDER_STATES = StateMachine("a fulfillment order", "fulfillment/states.py", FulfillmentState, Event, _TRANSITIONS)

# In these states the pipeline itself has something to do at the warehouse.
ACTIONABLE = frozenset({S.QUEUED, S.PUSHING, S.HOLD_ASKED, S.RELEASE_ASKED, S.CANCEL_ASKED})
# In these it has to stop an order; that goes before what ships.
STOPPING = frozenset({S.HOLD_ASKED, S.CANCEL_ASKED})
# In these a person has.
NEEDS_A_PERSON = frozenset({S.REFUSED, S.TOO_LATE})
ENDED = frozenset({S.CANCELLED, S.CLOSED})
