"""The machine: every state and event make a legal step or an IllegalTransition, and no life ends by accident."""

from __future__ import annotations

from itertools import product

import pytest

from orders_pipeline.fulfillment.states import ACTIONABLE, ENDED, NEEDS_A_PERSON, ORDER_STATES, Event
from orders_pipeline.model.state_machine import IllegalTransition
from orders_pipeline.model.states import FulfillmentState

# What deriving the queue may say of an order in any state: what Amazon wants, and what the warehouse has reported.
FROM_AMAZON = (Event.SHIP, Event.HOLD, Event.CANCEL, Event.CLOSE)
FROM_THE_WAREHOUSE = (Event.PARTLY_SHIPPED, Event.ALL_SHIPPED, Event.WAREHOUSE_CANCELLED)
PAIRS = list(product(FulfillmentState, FROM_AMAZON + FROM_THE_WAREHOUSE))


@pytest.mark.parametrize(("state", "event"), list(product(FulfillmentState, Event)))
def test_every_pair_is_a_legal_step_or_refused_by_name(state: FulfillmentState, event: Event):
    if (state, event) in ORDER_STATES.transitions:
        assert isinstance(ORDER_STATES.next_state(state, event), FulfillmentState)
    else:
        with pytest.raises(IllegalTransition, match=f"that is {state} cannot take the event '{event}'"):
            ORDER_STATES.next_state(state, event)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_what_amazon_or_the_warehouse_says_is_legal_in_every_state(state: FulfillmentState, event: Event):
    ORDER_STATES.next_state(state, event)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_being_told_the_same_again_changes_nothing(state: FulfillmentState, event: Event):
    once = ORDER_STATES.next_state(state, event)
    assert ORDER_STATES.next_state(once, event) is once


@pytest.mark.parametrize("state", FulfillmentState)
def test_a_cancellation_never_leads_to_the_order_being_sent(state: FulfillmentState):
    after = ORDER_STATES.next_state(state, Event.CANCEL)
    assert after in (
        FulfillmentState.CANCELLED,
        FulfillmentState.CANCEL_ASKED,
        FulfillmentState.TOO_LATE,
        FulfillmentState.CLOSED,
        # Decided once the outcome of the push is known.
        FulfillmentState.PUSHING,
    )
    if after is FulfillmentState.PUSHING:
        accepted = ORDER_STATES.next_state(after, Event.PUSH_ACCEPTED)
        assert ORDER_STATES.next_state(accepted, Event.CANCEL) is FulfillmentState.CANCEL_ASKED


@pytest.mark.parametrize(
    "state", [state for state in FulfillmentState if state not in (FulfillmentState.QUEUED, FulfillmentState.HELD)]
)
def test_an_order_that_the_warehouse_may_have_is_cancelled_only_by_it(state: FulfillmentState):
    if state is not FulfillmentState.CANCELLED:
        assert ORDER_STATES.next_state(state, Event.CANCEL) is not FulfillmentState.CANCELLED


@pytest.mark.parametrize("state", [state for state in FulfillmentState if state not in ENDED])
def test_from_every_state_there_is_a_way_to_an_end(state: FulfillmentState):
    reached, front = {state}, [state]
    while front:
        current = front.pop()
        for (before, _), after in ORDER_STATES.transitions.items():
            if before is current and after not in reached:
                reached.add(after)
                front.append(after)
    assert reached >= ENDED


def test_a_person_is_needed_only_where_the_pipeline_has_nothing_to_do():
    assert not NEEDS_A_PERSON & ACTIONABLE
    assert not ENDED & ACTIONABLE
