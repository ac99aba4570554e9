"""Whatever was set aside can be replayed: the alert about it says so of every queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orders_pipeline.operations.replay import replay_parked
from orders_pipeline.work.alerts import ALERTS
from orders_pipeline.work.jobs import Queue, package_subject
from orders_pipeline.work.queue import claim, enqueue, park
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


@pytest.mark.parametrize("queue", Queue)
def test_a_parked_job_of_any_queue_is_replayed(world: World, queue: Queue):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.poll()
    subject = package_subject(order_id, package_id) if queue is Queue.CONFIRM else order_id
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, queue, [subject])
    with world.database.transaction(SELLER) as tx:
        (job,) = claim(tx, queue, limit=1, lease=timedelta(minutes=1))
        assert park(tx, job, "its worker died")
    assert "replay_parked" in world.alerts(ALERTS)["work.parked"].what_to_do
    replay_parked(world.database, world.vault.audit, account_id=SELLER)
    assert "work.parked" not in world.alerts(ALERTS)
    world.sync()
    assert world.calls(order_id)["push"] == 1, "what the warehouse has is not pushed again"
