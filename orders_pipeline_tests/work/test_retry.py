"""When a failed job is tried again: a table, decided without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.work.retry import JITTER, Policy, RetryDecision, decide_retry

POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=15)
FOR_EVER = Policy(first=timedelta(minutes=1), longest=timedelta(hours=6), attempts=None)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@pytest.mark.parametrize(
    ("policy", "attempts", "random", "after", "expected"),
    [
        (POLICY, 0, 0.0, None, RetryDecision(1, seconds(30))),
        (POLICY, 1, 0.0, None, RetryDecision(2, seconds(60))),
        (POLICY, 6, 0.0, None, RetryDecision(7, seconds(1920))),
        (POLICY, 7, 0.0, None, RetryDecision(8, seconds(3600))),
        (POLICY, 13, 0.0, None, RetryDecision(14, seconds(3600))),
        (POLICY, 14, 0.0, None, RetryDecision(15, None)),
        (POLICY, 99, 0.0, None, RetryDecision(100, None)),
        # Jitter shortens, so that the longest pause stays the longest.
        (POLICY, 0, 1.0, None, RetryDecision(1, seconds(24))),
        (POLICY, 13, 1.0, None, RetryDecision(14, seconds(2880))),
        # The other side's word is a bound from below, also above the longest pause.
        (POLICY, 0, 0.0, seconds(90), RetryDecision(1, seconds(90))),
        (POLICY, 0, 0.0, seconds(5), RetryDecision(1, seconds(30))),
        (POLICY, 0, 0.0, timedelta(hours=2), RetryDecision(1, timedelta(hours=2))),
        (POLICY, 14, 0.0, seconds(90), RetryDecision(15, None)),
        # Without an end.
        (FOR_EVER, 1_000_000, 0.0, None, RetryDecision(1_000_001, timedelta(hours=6))),
        (Policy(seconds(1), seconds(1), attempts=1), 0, 0.0, None, RetryDecision(1, None)),
    ],
)
def test_pauses_double_to_the_longest_and_end_by_parking(
    policy: Policy, attempts: int, random: float, after: timedelta | None, expected: RetryDecision
):
    assert decide_retry(policy, attempts, lambda: random, after=after) == expected
    assert expected.parked is (expected.delay is None)


@given(attempts=st.integers(0, 13), random=st.floats(0, 1))
def test_jitter_takes_a_fifth_at_most(attempts: int, random: float):
    full = decide_retry(POLICY, attempts, lambda: 0.0).delay
    delay = decide_retry(POLICY, attempts, lambda: random).delay
    assert full is not None
    assert delay is not None
    assert full * (1 - JITTER) - seconds(0.001) <= delay <= full
