"""Which window a sweep searches, and how far back it may look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.intake.search import SEARCH_HOLDBACK
from orders_pipeline.intake.sweep import FIRST_LOOK_BACK, LONG_OVERLAP, OVERLAP, looks_back_to, sweep_window
from orders_pipeline.store.account_starts import note_start
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
END = NOW - SEARCH_HOLDBACK
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("last_until", "not_before", "start"),
    [
        (None, None, END - FIRST_LOOK_BACK),
        (END - HOUR, None, END - HOUR - OVERLAP),
        (END - 13 * HOUR, None, END - 13 * HOUR - LONG_OVERLAP),
        # The first start bounds the first sweep, and the overlap of every later one.
        (None, END - HOUR, END - HOUR),
        (END - HOUR, END - 1.5 * HOUR, END - 1.5 * HOUR),
        (END - 13 * HOUR, END - 20 * HOUR, END - 20 * HOUR),
        (END - HOUR, END - 48 * HOUR, END - HOUR - OVERLAP),
    ],
)
def test_a_sweep_overlaps_the_one_before_and_never_looks_back_past_the_first_start(
    last_until: datetime | None, not_before: datetime | None, start: datetime
):
    window = sweep_window(last_until, NOW, (MARKETPLACE,), not_before)
    assert window is not None
    assert (window.updated_after, window.updated_before) == (start, END)


def test_right_after_the_first_start_there_is_nothing_to_search_yet():
    assert sweep_window(None, NOW, (MARKETPLACE,), NOW - timedelta(minutes=1)) is None


def test_with_orders_start_at_the_sweep_looks_back_as_far_as_ever_since_what_it_finds_waits(world: World):
    with world.database.transaction() as connection:
        first = note_start(connection, SELLER, None).first_started_at
        assert looks_back_to(connection, SELLER) == first
        note_start(connection, SELLER, NOW)
        assert looks_back_to(connection, SELLER) is None
        # The first start is remembered, whatever the setting becomes.
        assert note_start(connection, SELLER, None).first_started_at == first
