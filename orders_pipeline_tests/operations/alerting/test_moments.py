"""A time of day comes once on every day, also on those on which the clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from orders_pipeline.operations.alerting.moments import first_moment, is_between, newest_moment

BERLIN, SYDNEY, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "at", "zone", "expected"),
    [
        ("2026-01-15", "08:00", BERLIN, "2026-01-15T07:00"),
        ("2026-07-15", "08:00", BERLIN, "2026-07-15T06:00"),
        # Skipped: 02:00 to 03:00. It is the moment of the change.
        ("2026-03-29", "02:30", BERLIN, "2026-03-29T01:00"),
        ("2026-03-29", "03:00", BERLIN, "2026-03-29T01:00"),
        # Shown twice: the first counts.
        ("2026-10-25", "02:30", BERLIN, "2026-10-25T00:30"),
        ("2026-10-25", "03:00", BERLIN, "2026-10-25T02:00"),
        # Half an hour.
        ("2026-10-04", "02:15", SYDNEY, "2026-10-03T15:30"),
        # A day that was not there.
        ("2011-12-30", "08:00", APIA, "2011-12-30T10:00"),
    ],
)
def test_the_first_moment_of_a_time_of_day(day: str, at: str, zone: ZoneInfo, expected: str):
    assert first_moment(date.fromisoformat(day), time.fromisoformat(at), zone) == utc(expected)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-10-25T00:29", "2026-10-24T00:30"),
        ("2026-10-25T00:30", "2026-10-25T00:30"),
        ("2026-10-25T01:30", "2026-10-25T00:30"),
        ("2026-03-29T00:59", "2026-03-28T01:30"),
        ("2026-03-29T01:00", "2026-03-29T01:00"),
    ],
)
def test_the_newest_moment_changes_once_a_day(now: str, expected: str):
    assert newest_moment(utc(now), time(2, 30), BERLIN) == utc(expected)


@pytest.mark.parametrize(
    ("now", "is_quiet"),
    [
        # Winter: 22:00 is 21:00 UTC.
        ("2026-01-15T20:59", False),
        ("2026-01-15T21:00", True),
        ("2026-01-16T00:00", True),
        ("2026-01-16T01:30", False),
        # Spring: the night ends at the change, since 02:30 is skipped.
        ("2026-03-28T21:00", True),
        ("2026-03-29T00:59", True),
        ("2026-03-29T01:00", False),
        # Autumn: it ends at the first 02:30, and the second 02:15 is no night again.
        ("2026-10-24T20:00", True),
        ("2026-10-25T00:29", True),
        ("2026-10-25T00:30", False),
        ("2026-10-25T01:15", False),
    ],
)
def test_a_night_begins_and_ends_once(now: str, is_quiet: bool):
    assert is_between(utc(now), time(22, 0), time(2, 30), BERLIN) == is_quiet


def test_a_part_of_the_day_may_lie_within_it_and_one_without_length_is_none():
    assert is_between(utc("2026-01-15T12:30"), time(12), time(13), ZoneInfo("UTC"))
    assert not is_between(utc("2026-01-15T13:00"), time(12), time(13), ZoneInfo("UTC"))
    assert not is_between(utc("2026-01-15T13:00"), time(13), time(13), ZoneInfo("UTC"))
