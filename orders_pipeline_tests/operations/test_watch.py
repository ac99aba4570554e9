"""What one tick at the queue tells, however busy the queue is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders_pipeline.intake.queue import QueueDepth
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.watch import watch_queue
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.ports import MemoryQueue
from orders_pipeline_tests.world import World


class CountedQueue(MemoryQueue):
    def depth(self) -> QueueDepth:
        return QueueDepth(len(self.waiting), len(self.in_flight), 0)


@pytest.fixture
def account(
    world: World, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedAccount]:
    queue = CountedQueue()
    monkeypatch.setattr(ServedAccount, "queue", queue)
    deployment = deployed(database_url, tmp_path)
    yield deployment.account()
    deployment.database.close()


def test_the_depth_is_told_also_while_a_run_is_awake_until_the_ticks_time_is_over(world: World, account: ServedAccount):
    left = iter([18.0, 18.0, 9.0, 4.0])
    seen = watch_queue([account], lambda: next(left, 0.0), measure=True, is_awake=lambda: True)
    assert seen.drained.unavailable is None
    assert seen.depth == QueueDepth(0, 0, 0)
    (noted,) = world.rows("pipeline.notification_queues")
    assert noted.visible == 0


def test_a_tick_whose_time_is_nearly_over_asks_for_no_depth(account: ServedAccount):
    """Its last call is begun in time: reading comes first (defs.ticks)."""
    left = iter([3.0])
    assert watch_queue([account], lambda: next(left, 0.0), measure=True, is_awake=lambda: True).depth is None
