"""From the message to the warehouse in one run: nobody waits for a whole batch of another, nor for a new run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from orders_pipeline.operations.pending_work import sync_due
from orders_pipeline.orders.event_rows import ORDER_EVENTS
from orders_pipeline.work.hot_loop import Awake, Stage, StageResult, work_hot
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

PATIENCE = 30.0


class Accepted:
    """The orders that the warehouse has taken; a test waits for them."""

    def __init__(self, world: World) -> None:
        self._world, self._changed = world, threading.Condition()
        self._push = world.wms.push
        world.wms.push = self._pushed

    def _pushed(self, order):  # type: ignore[no-untyped-def]
        answer = self._push(order)
        with self._changed:
            self._changed.notify_all()
        return answer

    def await_(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self._world.warehouse.orders) >= count, PATIENCE)


def hot_run(world: World, awake: Awake) -> Mapping[Stage, StageResult]:
    stages = [
        Stage(SELLER, ORDER_EVENTS, lambda _: world.absorb()),
        Stage(SELLER, Queue.FETCH, lambda _: world.fetch()),
        Stage(SELLER, Queue.DECIDE, lambda _: world.decide()),
        Stage(SELLER, Queue.PUSH, lambda _: world.push()),
    ]
    return work_hot(world.database, stages, sync_due, awake)


def test_the_first_order_is_accepted_while_the_others_are_still_being_fetched(world: World):
    accepted = Accepted(world)
    first, slow = world.order(), {world.order(), world.order()}
    was_accepted: list[bool] = []

    def amazon_is_slow(order_id: str) -> None:
        if order_id in slow:
            was_accepted.append(accepted.await_(1))

    world.ports.meanwhile = amazon_is_slow
    world.drain()
    hot_run(world, Awake(idle_seconds=0, longest_seconds=60))
    assert was_accepted == [True, True]
    assert world.warehouse.orders.keys() == {first, *slow}


def test_a_message_that_comes_while_a_run_is_awake_is_pushed_by_that_run(world: World):
    accepted = Accepted(world)
    world.order()
    world.drain()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hot_run, world, Awake(idle_seconds=5, longest_seconds=60))
        assert accepted.await_(1)
        world.order()
        world.drain()
        assert accepted.await_(2)
        done = running.result(PATIENCE)
    assert {stage.name: result.tally.outcomes.get("accepted") for stage, result in done.items()}[Queue.PUSH] == 2
