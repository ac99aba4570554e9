"""Days are cut so that a search costs no more pages than its orders fill, and a large shop sees progress."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orders_pipeline.intake.backfill_plan import PAGE_ORDERS, Days, cut_days

FIRST = date(2026, 3, 1)
COUNTS = st.lists(st.integers(0, 12_000), min_size=1, max_size=60)


def _days(first: int, last: int) -> Days:
    return Days(FIRST + timedelta(days=first), FIRST + timedelta(days=last))


@given(COUNTS, st.floats(0.2, 3.0))
def test_however_the_orders_lie_no_more_than_a_page_in_twenty_is_asked_for_beyond_what_they_fill(
    counts: list[int], misjudged: float
):
    """Also where the sweeps see an order three times."""
    total = sum(counts)
    windows = cut_days(_days(0, len(counts) - 1), misjudged * total / len(counts))
    first = FIRST.toordinal()
    seen = [sum(counts[one.first.toordinal() - first : one.last.toordinal() - first + 1]) for one in windows]
    pages = sum(max(math.ceil(orders / PAGE_ORDERS), 1) for orders in seen)
    assert pages <= max(math.ceil(total / PAGE_ORDERS), 1) * 1.05
    assert sum(seen) == total


@given(
    st.integers(1, 400),
    st.one_of(st.none(), st.floats(0, 20_000)),
    st.sets(st.integers(0, 399), max_size=8),
)
def test_every_day_is_in_one_window_and_what_is_under_way_in_none_of_the_new_ones(
    count: int, orders_a_day: float | None, bounds: set[int]
):
    inside = sorted(bound for bound in bounds if bound < count)
    begun = [_days(first, last - 1) for first, last in list(pairwise(inside))[::2]]
    windows = cut_days(_days(0, count - 1), orders_a_day, begun)
    covered = [day for one in sorted([*windows, *begun], key=lambda one: one.first) for day in one.each]
    assert covered == _days(0, count - 1).each


def test_a_small_shop_is_read_by_one_search_and_a_large_one_day_by_day():
    month = _days(0, 29)
    assert cut_days(month, 40) == [month]
    assert cut_days(month, None) == [month], "nothing tells how many pages a day would fill"
    assert [one.count for one in cut_days(month, 6_000)] == [1] * 30
    assert [one.count for one in cut_days(month, 1_000)] == [6] * 5


def test_only_whole_days_are_days():
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    assert Days.of(midnight, midnight + timedelta(days=2)) == _days(0, 1)
    assert Days.of(midnight, midnight + timedelta(hours=30)) is None
