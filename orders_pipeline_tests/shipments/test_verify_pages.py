"""A crowd of packages is verified by pages; what no page proves, and what is urgent, by a call for its order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.read_plan import PATIENCE
from orders_pipeline.model.order import Bucket, OrderParts, ReadQuota, SearchPage
from orders_pipeline.model.states import PackageState
from orders_pipeline.work.jobs import AMAZON_LISTINGS, Queue
from orders_pipeline.work.pauses import note_refusal
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

COUNT = 25


def quota(single: float, listing: float = 19) -> ReadQuota:
    return ReadQuota(single=Bucket(single, 0.5, 30), listing=Bucket(listing, 0.0056, 20))


def confirmed(world: World, count: int, *, ago: timedelta = timedelta(minutes=4)) -> list[str]:
    """Orders whose packages Amazon was told of so long ago, and that are to be verified now."""
    orders = [world.order() for _ in range(count)]
    world.sync()
    for order_id in orders:
        world.ship(order_id)
    world.poll()
    world.confirm()
    for order_id in orders:
        world.amazon.orders[order_id].last_updated -= ago
    world.sql("update pipeline.shipment_confirmations set sent_at = sent_at - cast(:ago as interval)", ago=ago)
    world.sql("update pipeline.orders set last_updated_at = last_updated_at - interval '1 hour'")
    world.sql("update pipeline.jobs set due_at = clock_timestamp() where queue = 'verify'")
    world.ports.asked.clear()
    world.ports.searched.clear()
    return orders


def states(world: World) -> set[str]:
    return {row.state for row in world.rows("pipeline.shipment_confirmations", "state, order_id")}


def test_a_crowd_of_packages_costs_a_page_and_its_orders_are_up_to_date(world: World):
    world.ports.quota = quota(0)
    orders = confirmed(world, COUNT)
    tally = world.verify()
    assert (len(world.ports.searched), world.ports.asked) == (1, [])
    assert states(world) == {PackageState.CONFIRMED}
    assert tally.notes["calls_saved"] == COUNT - 1
    assert {world.status(order_id) for order_id in orders} == {"SHIPPED"}
    assert world.jobs(Queue.VERIFY) == []


def test_a_wave_that_a_trickle_follows_has_its_page_when_its_oldest_has_waited_for_long_enough(world: World):
    """They are looked at a moment later: they are not to pay for their own calls then."""
    world.ports.quota = quota(15)
    wave = confirmed(world, COUNT, ago=PATIENCE + timedelta(seconds=1))
    confirmed(world, COUNT, ago=timedelta(seconds=20))
    world.sql(
        "update pipeline.shipment_confirmations set sent_at = clock_timestamp() - interval '901 seconds' "
        "where order_id = any(:wave)",
        wave=wave,
    )
    world.verify()
    assert (len(world.ports.searched), world.ports.asked) == (1, [])
    verified = world.rows("pipeline.shipment_confirmations", "order_id, state", "state = 'confirmed'")
    assert {row.order_id for row in verified} == {*wave}


def test_what_a_page_does_not_prove_is_asked_for_by_its_id_and_only_that_denies(world: World):
    world.ports.quota = quota(0)
    unproven, hidden, *_ = confirmed(world, COUNT)
    world.amazon.orders[unproven].packages.clear()
    world.amazon.orders[hidden].last_updated -= timedelta(hours=2)
    world.verify()
    assert len(world.ports.searched) == 1
    assert {order_id for order_id, _ in world.ports.asked} == {unproven, hidden}
    by_order = {row.order_id: row.state for row in world.rows("pipeline.shipment_confirmations", "order_id, state")}
    assert by_order[unproven] == PackageState.ACCEPTED, "it is asked about again before Amazon is told again"
    assert {state for order_id, state in by_order.items() if order_id != unproven} == {PackageState.CONFIRMED}


def test_what_was_asked_for_by_its_id_and_was_not_shown_may_be_verified_by_the_next_page(world: World):
    world.ports.quota = quota(0)
    unproven, *_ = confirmed(world, COUNT)
    packages = dict(world.amazon.orders[unproven].packages)
    world.amazon.orders[unproven].packages.clear()
    world.verify()
    assert [order_id for order_id, _ in world.ports.asked] == [unproven]
    world.amazon.orders[unproven].packages.update(packages)
    confirmed(world, COUNT)
    world.verify()
    assert (len(world.ports.searched), world.ports.asked) == (1, [])
    assert states(world) == {PackageState.CONFIRMED}


def test_a_few_are_asked_about_at_once_while_the_bucket_is_more_than_half_full(world: World):
    world.ports.quota = quota(29)
    confirmed(world, 3, ago=timedelta(seconds=16))
    world.verify()
    assert world.ports.searched == []
    assert [parts for _, parts in world.ports.asked] == [OrderParts.PACKAGES] * 3
    assert states(world) == {PackageState.CONFIRMED}


@pytest.mark.parametrize(
    ("ago", "ship_by", "asked"),
    [(timedelta(minutes=4), "1 day", 0), (timedelta(minutes=16), "1 day", 3), (timedelta(minutes=4), "1 hour", 3)],
)
def test_a_few_wait_for_company_while_new_orders_need_the_bucket_unless_they_are_old_or_urgent(
    world: World, ago: timedelta, ship_by: str, asked: int
):
    world.ports.quota = quota(10)
    confirmed(world, 3, ago=ago)
    world.sql("update pipeline.jobs set ship_by = clock_timestamp() + cast(:at as interval)", at=ship_by)
    tally = world.verify()
    assert len(world.ports.asked) == asked
    waiting = world.jobs(Queue.VERIFY)
    assert len(waiting) == 3 - asked == tally.notes.get("waiting_for_company", 0)
    assert all(job.due_at > world.database.now() and job.attempts == 0 for job in waiting), "no run is started for them"


def test_a_crowd_that_is_not_listed_yet_waits_for_its_page_though_there_are_calls_for_each(world: World):
    world.ports.quota = quota(29)
    confirmed(world, COUNT, ago=timedelta(seconds=16))
    tally = world.verify()
    assert (world.ports.searched, world.ports.asked) == ([], [])
    assert tally.notes["waiting_for_company"] == COUNT
    now = world.database.now()
    assert {timedelta(seconds=90) < job.due_at - now < timedelta(minutes=2) for job in world.jobs(Queue.VERIFY)} == {
        True
    }
    # The page comes when the last of them is listed.
    world.sql("update pipeline.shipment_confirmations set sent_at = sent_at - interval '2 minutes'")
    for order in world.amazon.orders.values():
        order.last_updated -= timedelta(minutes=2)
    world.sql("update pipeline.jobs set due_at = clock_timestamp() where queue = 'verify'")
    world.verify()
    assert (len(world.ports.searched), world.ports.asked) == (1, [])
    assert states(world) == {PackageState.CONFIRMED}


def test_the_urgent_of_a_crowd_do_not_wait_for_its_page(world: World):
    world.ports.quota = quota(29)
    urgent, *_ = confirmed(world, COUNT, ago=timedelta(seconds=16))
    soon = "update pipeline.jobs set ship_by = clock_timestamp() + interval '1 hour' where subject = :order_id"
    world.sql(soon, order_id=urgent)
    world.verify()
    assert [order_id for order_id, _ in world.ports.asked] == [urgent]


def test_pages_that_were_refused_are_tried_again_once_the_pause_is_over(world: World):
    world.ports.quota = quota(29)
    confirmed(world, COUNT)
    world.ports.quota = quota(0)
    with world.database.transaction(SELLER) as tx:
        note_refusal(tx, AMAZON_LISTINGS, None, "Amazon answered 500")
    world.sql("update pipeline.paused_dependencies set until = clock_timestamp()")
    world.verify()
    assert (len(world.ports.searched), world.ports.asked) == (1, [])


def test_pages_leave_the_sweep_its_tokens_whoever_else_spends_them_meanwhile(world: World):
    """Two processes plan from the same bucket, side by side."""
    world.ports.quota = quota(0)
    world.ports.page_size = 10
    orders = confirmed(world, 40)
    spend = world.ports.search_orders

    def search(*args: Any, **options: Any) -> SearchPage:
        world.ports.quota = quota(0, listing=4.5)
        return spend(*args, **options)

    world.ports.search_orders = search
    world.verify()
    assert len(world.ports.searched) == 1
    assert len(orders) == 40
