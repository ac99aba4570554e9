"""No tick waits so long that Dagster throws away what it asks for."""

from __future__ import annotations

from orders_pipeline.defs.ticks import BEGIN_BEFORE_SECONDS, GIVEN_UP_AFTER_SECONDS, Tick
from orders_pipeline.intake.queue import CALLS
from orders_pipeline.operations.alerting.deliver import LONGEST_SECONDS
from orders_pipeline.wms.rest.adapter import TOTAL_SECONDS

# Secrets Manager, which the settings wait for before anything else (settings, two attempts), at its worst.
SETTINGS_SECONDS = 2 * (2 + 5) + 1
# PostgreSQL and Dagster's own storage: a few short transactions.
MARGIN_SECONDS = 2.0


def test_the_longest_tick_of_each_sensor_ends_in_time():
    queue = CALLS["receive"].longest + CALLS["change"].longest
    # To evaluate the alerts takes up to the budget.
    for calls in (queue, TOTAL_SECONDS, LONGEST_SECONDS):
        # The first is always begun; the last is begun at the end of the budget.
        begun_at = max(SETTINGS_SECONDS, BEGIN_BEFORE_SECONDS)
        assert begun_at + calls + MARGIN_SECONDS <= GIVEN_UP_AFTER_SECONDS


def test_what_is_left_to_begin_shrinks_to_nothing():
    times = iter([100.0, 100.0, 110.0, 118.0, 500.0])
    tick = Tick(lambda: next(times))
    assert [tick.left_to_begin() for _ in range(4)] == [BEGIN_BEFORE_SECONDS, BEGIN_BEFORE_SECONDS - 10, 0.0, 0.0]
