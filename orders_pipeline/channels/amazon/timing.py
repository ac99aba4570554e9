"""The clocks that the client reads, and how it waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Timing:
    """How this process waits, and tells the time."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self, self.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller stops waiting. One is shared by all the calls that make up one answer."""

    timing: Timing
    at: float

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.timing.monotonic())


def retrying(
    deadline: Deadline,
    errors: type[Exception] | tuple[type[Exception], ...],
    *,
    attempts: int,
    first_seconds: float,
    longest_seconds: float,
) -> Retrying:
    """Calls again after these errors, after random waits that grow; then raises the last one.

    It stops after so many attempts, or when the next wait would end after the deadline.
    """

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number >= attempts or state.upcoming_sleep >= deadline.remaining

    return Retrying(
        retry=retry_if_exception_type(errors),
        wait=wait_random_exponential(multiplier=first_seconds, max=longest_seconds),
        stop=stop,
        sleep=deadline.timing.sleep,
        reraise=True,
    )


# The Date header has whole seconds, and an answer takes a while to come.
DATE_RESOLUTION = timedelta(seconds=2)
# A machine that is further off than this is told so all the same; and no header moves the clock further. A database
# that was restored may be months behind: the retention has to hear of that (database.clocks).
FURTHEST_OFFSET = timedelta(days=366)


@dataclass(slots=True)
class AmazonClock:
    """Amazon's clock, as far as the Date header of its answers tells: rules about "two minutes ago" mean that one."""

    timing: Timing
    offset: timedelta = field(default=timedelta(0))
    known: bool = False
    # Hears the time of each answer: whoever compares another clock with it.
    observer: Callable[[datetime], None] | None = None

    def now(self) -> datetime:
        return self.timing.now() + self.offset

    def learn(self, date_header: str | None) -> None:
        """Take the time from an answer. The header has whole seconds, so it is up to one second behind.

        What is no time teaches nothing. One that is years away counts as one year: a machine whose clock is that wrong
        hears of it, and a header moves nothing further.
        """
        if not date_header:
            return
        try:
            date = parsedate_to_datetime(date_header)
            if date.tzinfo is None:
                return
            date = date.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        here = self.timing.now()
        seen = min(max(date - here, -FURTHEST_OFFSET), FURTHEST_OFFSET)
        # Each answer shows the least that the offset can be: the greatest of those that agree comes nearest to it.
        agrees = self.known and abs(seen - self.offset) < DATE_RESOLUTION
        self.offset = max(seen, self.offset) if agrees else seen
        self.known = True
        if self.observer is not None:
            self.observer(here + seen)
