"""Cut the days of a backfill into windows that fit pages, not days.

A search ends with a page that is partly empty, and a page costs three minutes of quota: a search a day would cost a
shop with a few orders a day thirty pages a month instead of one. But no day is known to be complete before its window
is read to the end, so a large shop's days are not put into one window either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

PAGE_ORDERS = 100
# A window of so many pages costs one more page in twenty at most, even where three times as many orders are expected
# as there are: who was changed three times in its life is counted three times by the sweeps that tell what to expect.
PAGES_A_WINDOW = 60
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """Adjacent UTC days, both ends included."""

    first: date
    last: date

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Days | None:
        """The days from `start` to `end` (exclusive); None unless both are midnights (UTC)."""
        whole = all(moment.astimezone(UTC).time() == time() for moment in (start, end))
        return cls(start.astimezone(UTC).date(), (end.astimezone(UTC) - _DAY).date()) if whole else None

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        """Exclusive."""
        return datetime.combine(self.last + _DAY, time(), UTC)

    @property
    def count(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def each(self) -> list[date]:
        return [self.first + timedelta(days=index) for index in range(self.count)]


def days_without(days: Days, begun: Sequence[Days]) -> list[Days]:
    """The days but those that are `begun`, oldest first, each span as long as can be."""
    spans: list[Days] = []
    first = days.first
    for one in sorted(begun, key=lambda one: one.first):
        if first < one.first:
            spans.append(Days(first, one.first - _DAY))
        first = one.last + _DAY
    return [*spans, Days(first, days.last)] if first <= days.last else spans


def adjoined(spans: Sequence[Days]) -> list[Days]:
    """The same days in as few spans as can be. No two of `spans` have a day in common."""
    joined: list[Days] = []
    for one in sorted(spans, key=lambda one: one.first):
        if joined and joined[-1].last + _DAY == one.first:
            joined[-1] = Days(joined[-1].first, one.last)
        else:
            joined.append(one)
    return joined


def cut_days(days: Days, orders_a_day: float | None, begun: Sequence[Days] = ()) -> list[Days]:
    """What is still to be begun, oldest first: all days but those of the searches that are under way (`begun`).

    `orders_a_day`: as many as are expected; None, and the days are one window.
    """
    return [window for span in days_without(days, begun) for window in _cut(span, orders_a_day)]


def _cut(days: Days, orders_a_day: float | None) -> list[Days]:
    """Windows of much the same length."""
    first, count = days.first, days.count
    expected = count * (orders_a_day or 0)
    number = min(max(int(expected / (PAGES_A_WINDOW * PAGE_ORDERS)), 1), count)
    bounds = [count * index // number for index in range(number + 1)]
    return [Days(first + timedelta(days=begin), first + timedelta(days=end - 1)) for begin, end in pairwise(bounds)]
