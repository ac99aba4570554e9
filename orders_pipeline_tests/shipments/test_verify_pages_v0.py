"""A crowd of packages under the Orders API v0 is verified by lists of its orders, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.model.states import PackageState
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.served_crowd import Crowd, served_crowd


@pytest.fixture
def crowd(database: Database, tmp_path: Path) -> Iterator[Crowd]:
    with served_crowd(database, tmp_path, "v0") as crowd:
        crowd.sandbox.amazon.plans.set_plan("v0.getOrderItems", 40, 30)
        yield crowd


def reads(crowd: Crowd) -> dict[str, int]:
    return {name: count for name, count in crowd.calls.items() if name.startswith("v0.")}


def test_packages_of_whole_orders_are_proven_by_a_list_without_their_items(crowd: Crowd):
    crowd.ship(crowd.fetched(50))
    before = reads(crowd)
    tally = crowd.verify()
    assert reads(crowd) == {**before, "v0.getOrders": before["v0.getOrders"] + 1}
    assert {row.state for row in crowd.packages()} == {PackageState.CONFIRMED}
    assert {status for status, _ in crowd.statuses()} == {"SHIPPED"}
    assert tally.notes["calls_saved"] == 50 + 50 - 1
    assert crowd.sandbox.amazon.ledger.throttled == {}
    assert crowd.world.jobs(Queue.VERIFY) == []


def test_what_a_list_does_not_prove_is_asked_for_by_its_id_and_only_that_denies(crowd: Crowd):
    orders = crowd.fetched(50)
    crowd.ship(orders)
    dropped, hidden, *_ = orders
    crowd.sandbox.amazon.orders[dropped].packages.clear()
    crowd.sandbox.amazon.orders[dropped].status = "UNSHIPPED"
    crowd.sandbox.amazon.orders[hidden].unlisted = True
    before = reads(crowd)
    crowd.verify()
    after = reads(crowd)
    assert after["v0.getOrders"] == before["v0.getOrders"] + 1
    assert after.get("v0.getOrder", 0) == before.get("v0.getOrder", 0) + 2
    assert after["v0.getOrderItems"] == before["v0.getOrderItems"] + 2
    states = {row.order_id: row.state for row in crowd.packages()}
    assert states.pop(dropped) == PackageState.ACCEPTED, "it is asked about again before Amazon is told again"
    assert set(states.values()) == {PackageState.CONFIRMED}
