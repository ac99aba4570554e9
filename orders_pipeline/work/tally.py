"""What a run did, as one value that adds up: of a queue (Tally), or of any other work (Totals)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Tally:
    """Jobs by outcome, how many were parked, and failures by the error's name: never by its text.

    `not_before`: when the quota allows the next call, if it is spent. `paused`: until when each dependency waits.
    `notes`: what else people are to see; numbers add up, of words the last counts.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict[str, int])
    parked: int = 0
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    not_before: datetime | None = None
    paused: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    notes: Mapping[str, int | str] = field(default_factory=dict[str, int | str])

    def __add__(self, other: Tally) -> Tally:
        known = [at for at in (self.not_before, other.not_before) if at is not None]
        return Tally(
            outcomes=_sum(self.outcomes, other.outcomes),
            parked=self.parked + other.parked,
            errors=_sum(self.errors, other.errors),
            not_before=max(known, default=None),
            paused={**self.paused, **other.paused},
            notes=_noted(self.notes, other.notes),
        )

    def as_metadata(self) -> dict[str, int | str]:
        """Flat values for people: one an outcome, and what is out of order only if it is."""
        found: dict[str, int | str] = dict(sorted(self.outcomes.items()))
        found["jobs_parked"] = self.parked
        found |= self.notes
        found |= {f"error_{name}": count for name, count in sorted(self.errors.items())}
        found |= {f"paused_{name}": f"until {until.isoformat()}" for name, until in sorted(self.paused.items())}
        if self.not_before is not None:
            found["quota_next_at"] = self.not_before.isoformat()
        return found


@dataclass(slots=True)
class Totals:
    """A base for dataclasses of counts, counts by word (Counter) and flags, under the names that are shown."""

    def add(self, other: Totals) -> None:
        """Take what another run, or a part of this one, did into these totals."""
        for one in fields(other):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            setattr(self, one.name, mine or theirs if isinstance(mine, bool) else mine + theirs)

    def as_metadata(self) -> dict[str, int | bool]:
        """Flat values for people: of counts by word, the sum."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value.total() if isinstance(value, Counter) else value for name, value in values.items()}


def _noted(left: Mapping[str, int | str], right: Mapping[str, int | str]) -> dict[str, int | str]:
    found = dict(left)
    for name, value in right.items():
        before = found.get(name)
        found[name] = before + value if isinstance(before, int) and isinstance(value, int) else value
    return found


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(left) + Counter(right))
