"""What opens and closes each alert of `orders_pipeline/work/alerts.py`."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.work.alerts import PARKED, PAUSED
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.pauses import note_refusal, note_success
from orders_pipeline.work.queue import claim, enqueue, park, unpark, withdraw
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

DEPENDENCY = "warehouse"


def _park(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.PUSH, ["111-1", "111-2"])
    with world.database.transaction(SELLER) as tx:
        (job,) = claim(tx, Queue.PUSH, limit=1, lease=timedelta(minutes=1))
        assert park(tx, job, "the warehouse answered 422 unknown_sku")


def _unpark(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        assert unpark(tx, queue=Queue.PUSH) == 1


def _refuse(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.PUSH, ["111-1"])
        assert note_refusal(tx, "account", "111-1", "403") is None, "one order's refusal is its own"
        note_refusal(tx, DEPENDENCY, None, "the token is refused (401)")
    world.sql("update pipeline.paused_dependencies set since = since - interval '6 minutes'")
    world.sql("update pipeline.jobs set due_at = due_at - interval '6 minutes'")


def _withdraw(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        # Due much later, or of a queue that does not need it: neither waits for the warehouse.
        enqueue(tx, Queue.ERASE, ["111-2"], due_in=timedelta(hours=6))
        enqueue(tx, Queue.CONFIRM, ["111-3:1"])
        assert withdraw(tx, Queue.PUSH, ["111-1"]) == 1
    world.sql("update pipeline.jobs set due_at = due_at - interval '6 minutes'")


def _succeed(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_success(tx, DEPENDENCY)


CASES = (Case(PARKED, begin=_park, end=_unpark), Case(PAUSED, begin=_refuse, end=_succeed))
# Another end of the same.
NOTHING_WAITS = Case(PAUSED, begin=_refuse, end=_withdraw)
