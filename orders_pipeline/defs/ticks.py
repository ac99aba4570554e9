"""How long a sensor's tick may take, and how often it notes that it read what is outside the pipeline.

Dagster waits 60 s for it. A tick that takes longer goes on unseen, while its requests for runs and its cursor are
thrown away: a dependency that hangs would then stop all that the sensor asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from threading import Lock

GIVEN_UP_AFTER_SECONDS = 60.0
# What waits for somebody else is begun before this, but for the first such call of a tick. From here the longest that
# any of them takes still fits: a receive and a delete at SQS, a page of the warehouse's, messages about alerts.
BEGIN_BEFORE_SECONDS = 18.0
# A line of Dagster's history each. Of the freshness of what is read (defs.policy) it is a small part.
NOTED_EVERY = timedelta(minutes=1)


class Tick:
    """One tick of a sensor, from its first line on; made before the settings are read, which may wait too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()

    def left_to_begin(self) -> float:
        """The seconds within which calls may still be begun, never negative."""
        return max(0.0, BEGIN_BEFORE_SECONDS - (self._clock() - self._begun))


def asked_once_a_second(
    question: Callable[[], bool], clock: Callable[[], float] = time.monotonic
) -> Callable[[], bool]:
    """The same question for many that ask it at once: its answer holds for a second. Thread-safe."""
    guard, asked_at, answer = Lock(), -inf, False

    def ask() -> bool:
        nonlocal asked_at, answer
        with guard:
            if clock() - asked_at >= 1.0:
                answer, asked_at = question(), clock()
            return answer

    return ask


def is_to_be_noted(cursor: str | None, now: datetime) -> bool:
    """Whether the sensor's last note, whose time is its `cursor`, is old enough for another. `now` is aware, UTC."""
    return now - datetime.fromtimestamp(float(cursor or 0), UTC) > NOTED_EVERY


def noted_at(now: datetime) -> str:
    """The cursor of a sensor that notes it now."""
    return str(int(now.timestamp()))
