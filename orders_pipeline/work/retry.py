"""When a job that failed is tried again, and when it is given up: a value, decided without a clock or a database."""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

# Jobs that failed together are not tried again together: each waits up to this share less.
JITTER = 0.2
# Doubled this often, any first pause is longer than any longest one.
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """How failures of one job are answered: pauses double from `first` to `longest`.

    `attempts`: so many failures park the job; None never does. `kept_after_ship_by`: a job that has a ship-by time is
    not parked until so long after it, however often it failed.
    """

    first: timedelta
    longest: timedelta
    attempts: int | None
    kept_after_ship_by: timedelta | None = None


# An error that nobody expected is tried a few times: it may be the order's state of the moment.
DEFECTS = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=4)


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """How often the job has failed by now, and when it is tried again; `delay` is None if it is parked."""

    attempts: int
    delay: timedelta | None

    @property
    def parked(self) -> bool:
        return self.delay is None


def decide_retry(
    policy: Policy,
    attempts: int,
    random: Callable[[], float] = _random.random,
    *,
    after: timedelta | None = None,
    past_ship_by: timedelta | None = None,
) -> RetryDecision:
    """What follows the failure of a job that had failed `attempts` times before.

    `random` gives a number from 0 to 1. `after` is the other side's word: the job is not tried earlier, whatever the
    policy says. `past_ship_by`: how long ago its ship-by time was (negative: it is still to come); None: it has none.
    """
    failures = attempts + 1
    if policy.attempts is not None and failures >= policy.attempts and not _is_kept(policy, past_ship_by):
        return RetryDecision(failures, None)
    doubled = policy.first.total_seconds() * 2.0 ** min(attempts, _MOST_DOUBLINGS)
    pause = min(doubled, policy.longest.total_seconds()) * (1 - JITTER * random())
    return RetryDecision(failures, max(timedelta(seconds=pause), after or timedelta()))


def _is_kept(policy: Policy, past_ship_by: timedelta | None) -> bool:
    return (
        policy.kept_after_ship_by is not None and past_ship_by is not None and past_ship_by < policy.kept_after_ship_by
    )
