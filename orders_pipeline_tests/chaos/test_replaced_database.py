"""PostgreSQL is killed whole and started again from its data while orders are on their way.

`make chaos` has the whole program and every kind of kill. This is the database alone, and prints its figures (-rP).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline_tests.chaos.installation import SupervisedPostgres
from orders_pipeline_tests.conftest import folder_for_servers
from orders_pipeline_tests.world import World, open_world

KILLS, PATIENCE_SECONDS = 3, 60.0


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[World, SupervisedPostgres]]:
    """A world on a server of its own, which is started again whenever it is gone."""
    with tempfile.TemporaryDirectory(prefix="replaced-", dir=folder_for_servers()) as folder:
        server, stopping = start_embedded(Path(folder)), threading.Event()
        url = server.url("orders")
        ensure_database_exists(url)
        database = Database(url)
        upgrade(database)
        postgres = SupervisedPostgres(Path(folder), stopping)
        postgres.watch()
        try:
            yield open_world(database, tmp_path), postgres
        finally:
            stopping.set()
            postgres.join()
            database.close()
            start_embedded(Path(folder)).stop()


def _work(world: World, failures: Counter[str], *, later: bool = False) -> None:
    """A round of every stage, as a run would do it; a run that the database fails is followed by another.

    `later`: once leases and back-offs are over.
    """
    stages = (world.drain, world.absorb, world.fetch, world.decide, world.push)
    for stage in (*stages, world.make_due) if later else stages:
        try:
            stage()
        except DBAPIError as error:
            failures[type(error.orig).__name__] += 1
            # What a run did not delete from the queue, SQS delivers again.
            world.queue.reappear()
            time.sleep(0.05)


def _until(done: Callable[[], bool], work: Callable[[], None]) -> float:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < PATIENCE_SECONDS
        work()
    return time.monotonic() - began


def test_a_database_that_is_killed_and_comes_back_loses_nothing_and_doubles_nothing(
    supervised: tuple[World, SupervisedPostgres],
):
    world, postgres = supervised
    orders, failures, pauses = list[str](), Counter[str](), list[float]()
    for number in range(KILLS):
        there = len(world.warehouse.orders)
        orders += [world.order() for _ in range(8)]
        # In the middle of a push: the warehouse has the order, and the answer finds no database.
        world.wms.meanwhile = lambda call, _: None if call != "push" else _kill_once(world, postgres)
        world.drain()
        world.absorb()
        world.fetch()
        world.decide()
        _work(world, failures)
        pauses.append(_until(lambda: _answers(world.database), lambda: time.sleep(0.02)))
        assert len(world.warehouse.orders) > there, number
    _until(lambda: _settled(world, orders), lambda: _work(world, failures, later=True))
    assert {world.state(order) for order in orders} == {"accepted"}
    pushes = Counter(one.outcome for one in world.warehouse.ledger if one.call == "put_order")
    assert pushes == {"created": len(orders)}
    assert world.vault.audit.verify().ok
    assert sum(failures.values()) > 0
    seconds = ", ".join(f"{pause:.1f} s" for pause in pauses)
    print(f"{len(orders)} orders, {KILLS} kills: PostgreSQL answered again after {seconds}; {dict(failures)}")


def _kill_once(world: World, postgres: SupervisedPostgres) -> None:
    world.wms.meanwhile = None
    postgres.kill()


def _answers(database: Database) -> bool:
    try:
        database.now()
    except DBAPIError:
        return False
    return True


def _settled(world: World, orders: list[str]) -> bool:
    return (
        _answers(world.database)
        and all(order in world.warehouse.orders for order in orders)
        and all(
            world.rows("pipeline.fulfillment_orders", "order_id, state", f"order_id = '{order}' and state = 'accepted'")
            for order in orders
        )
    )
