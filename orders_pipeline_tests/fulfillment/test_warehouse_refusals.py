"""What the warehouse refuses is one order's until another order meets it too; and the queue opens with a success."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.wms.port import WarehouseForbidden, WarehouseUnauthorized, WarehouseUnavailable
from orders_pipeline.work.jobs import WAREHOUSE, Queue
from orders_pipeline_tests.world import World

FIREWALL = WarehouseForbidden("The warehouse answered 403 to push.", status=403)
TOKEN = WarehouseUnauthorized("The warehouse refused our token (401 to push): set WMS_TOKEN right.", status=401)
BROKEN = WarehouseUnavailable("The warehouse answered 500 to push.", status=500)


def test_a_firewalls_403_on_one_payload_parks_that_order_only(world: World):
    disliked = world.order()
    world.faults.fail("push", FIREWALL, disliked, times=100)
    for _ in range(10):
        other = world.order()
        tally = world.sync()
        assert world.state(other) == "accepted", "the others are pushed all along"
        assert tally.paused == {}
        world.make_due()
    (job,) = world.jobs(Queue.PUSH)
    assert job.subject == disliked
    assert job.parked_at is not None
    assert "403" in str(job.last_error)
    assert world.calls(disliked)["push"] == 8


def test_a_403_on_every_order_pauses_the_warehouse_and_parks_none(world: World):
    orders = [world.order() for _ in range(20)]
    world.faults.fail("push", FIREWALL, times=1000)
    for _ in range(12):
        world.sync()
        world.make_due()
    assert [job for job in world.jobs(Queue.PUSH) if job.parked_at is not None] == []
    world.faults.clear()
    world.sync()
    assert {world.state(order_id) for order_id in orders} == {"accepted"}


def test_a_refused_token_pauses_the_warehouse_at_once_for_seconds_and_the_first_success_opens_it(world: World):
    orders = [world.order() for _ in range(40)]
    world.faults.fail("push", TOKEN, times=40)
    tally = world.sync()
    assert len(world.wms.calls) <= 8, "one try for each worker"
    assert timedelta() < tally.paused[WAREHOUSE] - world.database.now() <= timedelta(seconds=5)
    assert world.push().outcomes == {}, "none is claimed while the warehouse is paused"
    world.faults.clear()
    world.make_due()
    tally = world.sync()
    assert tally.paused == {}
    assert {world.state(order_id) for order_id in orders} == {"accepted"}
    assert world.rows("pipeline.paused_dependencies") == []
    assert world.jobs(Queue.PUSH) == []


def test_one_order_that_always_answers_500_holds_up_nobody(world: World):
    broken, *others = (world.order() for _ in range(12))
    world.faults.fail("push", BROKEN, broken, times=1000)
    tally = world.sync()
    assert {world.state(order_id) for order_id in others} == {"accepted"}
    assert tally.paused == {}


def test_what_stops_an_order_goes_before_what_ships(world: World):
    to_stop = world.accepted()
    to_ship = [world.order() for _ in range(3)]
    world.amazon.cancel(to_stop)
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    turns = [job.order_id for job in sorted(world.jobs(Queue.PUSH), key=lambda job: -job.priority)]
    assert turns[0] == to_stop
    assert set(turns[1:]) == set(to_ship)
