"""Amazon's clock: what no header may do to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from orders_pipeline.channels.amazon.timing import FURTHEST_OFFSET, AmazonClock, Timing

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "offset"),
    [
        (format_datetime(NOW + timedelta(minutes=3), usegmt=True), timedelta(minutes=3)),
        # A clock of days ago is still told as wrong.
        (format_datetime(NOW - timedelta(days=400), usegmt=True), -FURTHEST_OFFSET),
        ("Fri, 31 Dec 9999 23:59:59 +0000", FURTHEST_OFFSET),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Mon, 01 Jan 1000 00:00:00 +2300", -FURTHEST_OFFSET),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999", None),
        ("Mon, 01 Jan 2026 00:00:00 -", None),
        ("Mon, 01", None),
        ("x", None),
        ("\x00", None),
        (None, None),
    ],
)
def test_a_header_moves_the_clock_by_a_year_at_most_and_what_is_no_time_by_nothing(
    header: str | None, offset: timedelta | None
) -> None:
    heard: list[datetime] = []
    clock = AmazonClock(Timing(now=lambda: NOW), observer=heard.append)
    clock.learn(header)
    assert (clock.known, clock.offset) == (offset is not None, offset or timedelta())
    assert clock.now() == NOW + clock.offset
    assert heard == ([clock.now()] if offset is not None else [])
