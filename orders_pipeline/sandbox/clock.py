"""The sandbox's clock: real UTC time, which a test may push forward.

Everything in the sandbox that expires asks this clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time plus an offset, so that a test sees an hour pass without waiting for it."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Aware UTC, cut to the millisecond, which is the finest that Amazon writes."""
        moment = datetime.now(UTC) + self._offset
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        return time.monotonic() + self._offset.total_seconds()

    def advance(self, by: timedelta) -> None:
        self._offset += by


def iso(moment: datetime) -> str:
    """`2026-11-21T09:12:40.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """An ISO 8601 date and time with an offset. A local time without one means nothing to a server: ValueError."""
    if "T" not in text:
        raise ValueError("a date-time needs its time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a date-time needs its offset")
    return moment.astimezone(UTC)
