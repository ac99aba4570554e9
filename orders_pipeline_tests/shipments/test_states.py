"""The package's machine: whatever happens in whatever order, Amazon is told of what travels, once."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.model.state_machine import IllegalTransition
from orders_pipeline.model.states import NEEDS_A_PERSON, SUPERSEDED, TO_CONFIRM, TO_VERIFY, PackageState
from orders_pipeline.shipments.states import PACKAGE_STATES, PackageEvent

S, E = PackageState, PackageEvent
TRAVELS = {E.REPORTED, E.REPORTED_INCOMPLETE}
# What says that the last call's package is not at Amazon, or is there with other facts than it should.
MAY_CALL_AGAIN = TRAVELS | {
    E.CALL_NOT_MADE, E.NOT_SHOWN, E.NOT_SHOWN_IN_TIME, E.CARRIER_MAPPED, E.TAKES_PLACE, E.REPLAY_TOLD, E.REPLAY_UNTOLD,
}  # fmt: skip


def _lives(events: Sequence[PackageEvent]) -> list[tuple[PackageState, PackageEvent, PackageState]]:
    """The steps of a package to which these events happen; what cannot happen is left out."""
    steps: list[tuple[PackageState, PackageEvent, PackageState]] = []
    state = S.PENDING
    for event in events:
        try:
            after = PACKAGE_STATES.next_state(state, event)
        except IllegalTransition:
            continue
        steps.append((state, event, after))
        state = after
    return steps


@given(st.lists(st.sampled_from(E), max_size=60))
def test_a_voided_package_is_not_sent_before_the_warehouse_reports_it_again(events: list[PackageEvent]):
    travels = True
    for before, event, _ in _lives(events):
        travels = (travels or event in TRAVELS) and event not in (E.VOIDED_TOLD, E.VOIDED_UNTOLD)
        assert travels or event is not E.CALL_BEGUN, before


@given(st.lists(st.sampled_from(E), max_size=60))
def test_a_package_is_not_sent_again_without_an_edit_or_a_proof_that_it_is_missing(events: list[PackageEvent]):
    may_call = True
    for before, event, _ in _lives(events):
        assert may_call or event is not E.CALL_BEGUN, before
        may_call = (may_call or event in MAY_CALL_AGAIN) and event is not E.CALL_BEGUN


@given(st.lists(st.sampled_from(E), max_size=60))
def test_a_confirmed_package_is_sent_again_only_as_an_edit(events: list[PackageEvent]):
    is_shown = False
    for before, event, _ in _lives(events):
        assert not is_shown or event is not E.CALL_BEGUN, before
        is_shown = event is E.SHOWN or (is_shown and event not in TRAVELS | {E.CARRIER_MAPPED})


@given(st.lists(st.sampled_from(E), max_size=60))
def test_only_amazons_answer_or_a_persons_confirms(events: list[PackageEvent]):
    for before, event, after in _lives(events):
        if after is S.CONFIRMED and before is not S.CONFIRMED:
            assert event is E.SHOWN
            assert before in (*TO_VERIFY, S.SENDING)


def test_from_the_first_report_every_state_is_reached_and_no_state_is_a_trap():
    reached, more = {S.PENDING}, True
    while more:
        found = {after for (before, _), after in PACKAGE_STATES.transitions.items() if before in reached}
        more = not found <= reached
        reached |= found
    assert reached == set(S)
    for state in S:
        assert PACKAGE_STATES.next_state(state, E.REPORTED) is S.PENDING


def test_each_state_says_what_is_to_be_done():
    ended = {S.CONFIRMED, S.NOT_NEEDED, S.BY_HAND}
    groups = [set(TO_CONFIRM), set(TO_VERIFY), set(NEEDS_A_PERSON), set(SUPERSEDED), ended]
    assert set.union(*groups) == set(S)
    assert sum(map(len, groups)) == len(S), "each in one group"
