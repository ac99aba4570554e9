"""A table of what a queue does about each failure of a port. The worker asks it, and docs/failures.md is made of it.

The first rule that fits counts, so what is special stands before what is general.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import NotBefore, Park, Refused, Retry


class Does(Enum):
    """What becomes of the job, in the words of the docs."""

    RETRY = "the job is tried again"
    REFUSED = "the job is tried again; if another order meets the same before any succeeds, everything waits"
    REFUSED_WHOLE = "everything waits, at once"
    NOT_BEFORE = "the queue waits until the time that is known"
    PARK = "the job is parked"
    DONE = "the job is done; what Amazon shows is verified at once"
    GIVE_UP = "the job is done: what was asked for is given up, and an alert says so"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """One kind of failure and its answer. `applies` narrows it, and `when` says so in words.

    `policy`: how a job that is tried again by itself goes on; None: as the queue's other failures. `until`: the time
    that a NOT_BEFORE knows (aware, UTC).
    """

    error: type[Exception]
    does: Does
    why: str
    when: str = ""
    applies: Callable[[Any], bool] = lambda _: True
    policy: Policy | None = None
    until: Callable[[Any], datetime] | None = None


@dataclass(frozen=True, slots=True)
class FailureTable:
    """The failures of one port. `dependency`: what a refusal pauses; `policy`: the queue's own."""

    heading: str
    dependency: str
    policy: Policy
    rules: Sequence[FailureRule]

    def rule_of(self, error: Exception) -> FailureRule | None:
        """The rule that counts; None for an error that is none of the port's."""
        return next((rule for rule in self.rules if isinstance(error, rule.error) and rule.applies(error)), None)

    def answer(self, error: Exception) -> Exception:
        """What the handler raises: Retry, Refused, NotBefore or Park; an error that no rule knows, itself."""
        rule = self.rule_of(error)
        if rule is None:
            return error
        assert rule.does not in (Does.DONE, Does.GIVE_UP), "the handler itself goes on"
        if rule.does is Does.PARK:
            return Park(str(error))
        if rule.does is Does.NOT_BEFORE:
            assert rule.until is not None
            return NotBefore(rule.until(error))
        if rule.does is Does.RETRY:
            return Retry(error, policy=rule.policy)
        return Refused(self.dependency, error, whole=rule.does is Does.REFUSED_WHOLE, policy=rule.policy)

    def as_markdown(self) -> str:
        """The table as a section of docs/failures.md."""
        lines = [f"## {self.heading}", "", "| failure | what the queue does | why |", "| --- | --- | --- |"]
        for rule in self.rules:
            named = f"`{rule.error.__name__}`" + (f" ({rule.when})" if rule.when else "")
            tried = _in_words(rule.policy or self.policy) if rule.does in (Does.RETRY, Does.REFUSED) else ""
            lines.append(f"| {named} | {rule.does.value}{tried} | {rule.why} |")
        return "\n".join(lines) + "\n"


def _in_words(policy: Policy) -> str:
    pauses = f" (after {_time(policy.first)}, then twice as long each time, up to {_time(policy.longest)}"
    if policy.attempts is None:
        return f"{pauses}; never parked)"
    kept = policy.kept_after_ship_by
    not_before = f", but not until {_time(kept)} after the ship-by time" if kept is not None else ""
    return f"{pauses}; parked at failure {policy.attempts}{not_before})"


def _time(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
