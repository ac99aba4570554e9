"""The machine: every state and event make a legal step or an IllegalTransition, and no life ends by accident."""

from __future__ import annotations

from itertools import product

import pytest

from orders_pipeline.fulfillment.states import (
    ACTIONABLE,
    ENDED,
    NEEDS_A_PERSON,
    TRANSITIONS,
    Event,
    IllegalTransition,
    State,
    next_state,
)

# What deriving the queue may say of an order in any state: what Amazon wants, and what the warehouse has reported.
FROM_AMAZON = (Event.SHIP, Event.HOLD, Event.CANCEL, Event.CLOSE)
FROM_THE_WAREHOUSE = (Event.PACKAGE_LEFT, Event.ALL_LEFT, Event.WAREHOUSE_CANCELLED)
PAIRS = list(product(State, FROM_AMAZON + FROM_THE_WAREHOUSE))


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_a_legal_step_or_refused_by_name(state: State, event: Event):
    if (state, event) in TRANSITIONS:
        assert isinstance(next_state(state, event), State)
    else:
        with pytest.raises(IllegalTransition, match=f"that is {state} cannot take the event '{event}'"):
            next_state(state, event)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_what_amazon_or_the_warehouse_says_is_legal_in_every_state(state: State, event: Event):
    next_state(state, event)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_being_told_the_same_again_changes_nothing(state: State, event: Event):
    once = next_state(state, event)
    assert next_state(once, event) is once


@pytest.mark.parametrize("state", State)
def test_a_cancellation_never_leads_to_the_order_being_sent(state: State):
    after = next_state(state, Event.CANCEL)
    assert after in (
        State.CANCELLED,
        State.CANCEL_ASKED,
        State.TOO_LATE,
        State.CLOSED,
        # Decided once the outcome of the push is known.
        State.PUSHING,
    )
    if after is State.PUSHING:
        assert next_state(next_state(after, Event.PUSH_ACCEPTED), Event.CANCEL) is State.CANCEL_ASKED


@pytest.mark.parametrize("state", [state for state in State if state not in (State.QUEUED, State.HELD)])
def test_an_order_that_the_warehouse_may_have_is_not_taken_for_cancelled_without_asking_it(state: State):
    if state is not State.CANCELLED:
        assert next_state(state, Event.CANCEL) is not State.CANCELLED


@pytest.mark.parametrize("state", [state for state in State if state not in ENDED])
def test_from_every_state_there_is_a_way_to_an_end(state: State):
    reached, front = {state}, [state]
    while front:
        current = front.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is current and after not in reached:
                reached.add(after)
                front.append(after)
    assert reached >= ENDED


def test_a_person_is_needed_only_where_the_pipeline_has_nothing_to_do():
    assert not NEEDS_A_PERSON & ACTIONABLE
    assert not ENDED & ACTIONABLE
