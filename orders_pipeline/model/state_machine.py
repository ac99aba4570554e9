"""A state machine as one table: what each event makes of each state.

What is not in the table is refused by name, and the page about the machine is generated from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Self, TypeVar


class DescribedWord(StrEnum):
    """A state or an event: the word that is stored and shown, and what it means, for the machine's page."""

    _value_: str
    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


State = TypeVar("State", bound=DescribedWord)
Event = TypeVar("Event", bound=DescribedWord)


class IllegalTransition(Exception):
    """The event makes no sense in this state. It names both; what has the state stays as it was."""


@dataclass(frozen=True, slots=True)
class StateMachine(Generic[State, Event]):
    """`subject`: what has the states, such as "a package"; `source`: the module of the table, for the page."""

    subject: str
    source: str
    states: type[State]
    events: type[Event]
    transitions: Mapping[tuple[State, Event], State]

    def next_state(self, state: State, event: Event) -> State:
        """The state after the event. Raises IllegalTransition; staying in the same state is legal and common."""
        if (state, event) not in self.transitions:
            raise IllegalTransition(f"{self.subject.capitalize()} that is {state} cannot take the event '{event}'")
        return self.transitions[state, event]

    def as_markdown(self) -> str:
        """The page about the machine, such as docs/order-states.md: what each event does in each state."""
        lines = [
            f"# The life of {self.subject}",
            "",
            f"Generated from `orders_pipeline/{self.source}` (`make docs`): what each event makes of each state.",
            "An event that is not in a state's row is refused as a defect: the state stays, and the work is tried",
            "again or parked.",
            "",
            "| state | what it means | event → next state |",
            "| --- | --- | --- |",
        ]
        for state in self.states:
            steps = [
                f"{event} → {'stays' if after is state else f'**{after}**'}"
                for (before, event), after in self.transitions.items()
                if before is state
            ]
            lines.append(f"| **{state}** | {state.meaning} | {'; '.join(steps)} |")
        lines += ["", "## Events", "", "| event | what has happened |", "| --- | --- |"]
        lines += [f"| {event} | {event.meaning} |" for event in self.events]
        return "\n".join(lines) + "\n"
