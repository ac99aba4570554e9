"""Holds and cancellations: what Amazon wants after the push, what the warehouse answers, and who is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.fulfillment import decide
from orders_pipeline.fulfillment.alerts import ALERTS
from orders_pipeline.fulfillment.states import ORDER_STATES, Event
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.orders.rows import lock_orders
from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline.work.backlog import parked
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue, unpark
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _cancel(world: World, order_id: str) -> None:
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()


def test_a_pass_ends_at_its_deadline_and_the_next_one_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decide, "ORDERS_A_BATCH", 1)
    for _ in range(3):
        world.order()
    world.drain()
    world.absorb()
    world.fetch()
    only: dict[str, Any] = {"account_id": SELLER, "marketplace_ids": world.marketplace_ids}
    audit = world.vault.audit
    passed = [decide.decide_orders(world.database, audit, deadline_seconds=seconds, **only) for seconds in (0, 45, 0)]
    assert [sum(tally.outcomes.values()) for tally in passed] == [1, 2, 0]


def test_a_cancellation_after_the_push_stops_the_order_at_the_warehouse(world: World):
    order_id = world.accepted()
    _cancel(world, order_id)
    assert world.state(order_id) == "cancelled"
    assert world.warehouse.orders[order_id].status == "cancelled"
    world.run_until_idle()
    assert world.state(order_id) == "cancelled"
    assert world.alerts(ALERTS) == {}


def test_a_cancellation_that_comes_too_late_is_told_to_a_person(world: World):
    order_id = world.accepted()
    world.warehouse.cancel_answers[order_id] = "too_late"
    _cancel(world, order_id)
    assert world.state(order_id) == "too_late"
    assert "Ask the carrier to return the package" in world.alerts(ALERTS)["order.too_late"].what_to_do


def test_a_pending_cancellation_is_requested_again_with_backoff(world: World):
    order_id = world.accepted()
    waits: list[timedelta] = []
    for _ in range(4):
        world.warehouse.cancel_answers[order_id] = "pending"
        if not waits:
            world.amazon.cancel(order_id)
            world.hear()
        world.sync()
        assert world.state(order_id) == "cancel_asked"
        (job,) = world.jobs(Queue.PUSH)
        waits.append(job.due_at - world.database.now())
        world.make_due()
    assert waits == sorted(waits)
    world.sync()
    assert world.state(order_id) == "cancelled"


def test_cancelling_a_partly_shipped_order_stops_the_rest_and_alerts(world: World):
    order_id = world.accepted(quantities=(2,))
    world.ship(order_id, {0: 1})
    world.poll()
    world.decide()
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    assert world.calls(order_id)["cancel"] == 1, "what has not left can still be stopped"
    assert world.state(order_id) == "too_late"
    # The warehouse's own word of the rest does not take the alert away.
    world.run_until_idle()
    assert world.state(order_id) == "too_late"
    assert {"order.too_late", "package.blocked"} <= world.alerts(ALERTS).keys()


def test_an_order_whose_only_package_was_voided_can_still_be_stopped(world: World):
    order_id = world.accepted()
    package_id = world.ship(order_id)
    world.poll()
    world.decide()
    assert world.state(order_id) == "shipped"
    world.warehouse.void(order_id, package_id)
    world.poll()
    world.decide()
    assert world.state(order_id) == "accepted"
    _cancel(world, order_id)
    assert world.warehouse.orders[order_id].open_units() == {}
    assert world.state(order_id) == "cancelled"


def test_an_order_that_the_warehouse_has_with_other_content_is_cancelled_there_too(world: World):
    order_id = world.order()
    sent = {"order_ref": order_id, "ship_to": {}, "lines": []}
    world.warehouse.accept(order_id, sent)
    world.sync()
    assert world.state(order_id) == "refused"
    _cancel(world, order_id)
    world.sync()
    assert world.warehouse.orders[order_id].status == "cancelled"
    assert world.state(order_id) == "cancelled"
    assert "order.refused" not in world.alerts(ALERTS)


def test_an_order_cancelled_by_the_warehouse_stays_with_a_person(
    world: World,
):
    order_id = world.accepted()
    world.warehouse.stop(order_id)
    world.run_until_idle()
    assert world.state(order_id) == "refused"
    assert "order.warehouse_cancelled" in world.alerts(ALERTS)
    other = world.order()
    world.amazon.notify(order_id)
    world.run_until_idle()
    assert world.state(order_id) == "refused"
    assert world.state(other) == "accepted", "the others go on"


def test_an_impossible_step_is_that_orders_alone(world: World, monkeypatch: pytest.MonkeyPatch):
    stuck, other = world.order(), world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    step = (FulfillmentState.QUEUED, Event.CANCEL)
    without = {known: after for known, after in ORDER_STATES.transitions.items() if known != step}
    monkeypatch.setattr(decide, "ORDER_STATES", replace(ORDER_STATES, transitions=without))
    world.amazon.cancel(stuck)
    world.hear()
    world.sync()
    assert world.state(stuck) == "queued"
    assert world.state(other) == "accepted"
    with world.database.transaction(SELLER) as tx:
        (job,) = parked(tx)
        assert (job.queue, job.subject) == (Queue.DECIDE, stuck)
        assert "cannot take the event 'cancel'" in str(job.last_error)
        unpark(tx)
    monkeypatch.undo()
    world.sync()
    assert world.state(stuck) == "cancelled"


def test_an_order_that_another_transaction_holds_is_decided_a_moment_later(world: World):
    held, other = world.order(), world.order()
    world.drain()
    world.absorb()
    world.fetch()
    with world.database.transaction(SELLER) as tx:
        lock_orders(tx, [held])
        assert world.decide().outcomes == {"queued": 1}
    world.make_due()
    assert world.decide().outcomes == {"queued": 1}
    assert {world.state(order_id) for order_id in (held, other)} == {"queued"}


def test_a_buyers_request_holds_and_its_withdrawal_releases(world: World):
    order_id = world.accepted()
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.sync()
    entry = world.one("pipeline.fulfillment_orders", order_id)
    assert (entry.state, entry.hold_reasons) == ("holding", ["buyer_asks_to_cancel"])
    assert world.warehouse.orders[order_id].status == "held"
    world.amazon.withdraw_cancellation_request(order_id)
    world.hear()
    world.sync()
    entry = world.one("pipeline.fulfillment_orders", order_id)
    assert (entry.state, entry.hold_reasons) == ("accepted", [])
    assert world.warehouse.orders[order_id].status == "accepted"


def test_a_request_before_the_push_keeps_the_order_here_until_it_is_withdrawn(world: World):
    order_id = world.order(hear=False)
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "held"
    assert world.calls(order_id) == {}
    world.amazon.withdraw_cancellation_request(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"


def test_a_hold_that_came_too_late_and_is_no_longer_wanted_leaves_no_alert(world: World):
    order_id = world.accepted()
    world.warehouse.faults.add("too_late", "hold", order_id=order_id)
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "too_late"
    world.amazon.withdraw_cancellation_request(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.alerts(ALERTS) == {}


def test_pieces_that_are_cancelled_after_the_push_are_told_to_a_person(world: World):
    order_id = world.accepted(quantities=(3,))
    item = world.fewer_pieces(order_id, 2)
    world.sync()
    assert item in world.alerts(ALERTS)["order.fewer_pieces"].message
    assert world.calls(order_id)["push"] == 1


def test_a_push_that_waited_for_a_look_at_amazon_goes_on_as_soon_as_it_has_come(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    # A look that failed is due again in an hour; the push waits for it, without asking for a run every few seconds.
    world.request_fetch(order_id, timedelta(hours=1))
    world.push()
    (job,) = world.jobs(Queue.PUSH)
    assert job.due_at - world.database.now() > timedelta(minutes=5)
    world.request_fetch(order_id)
    world.sync()
    assert world.state(order_id) == "accepted"


def test_deriving_the_queue_and_settling_a_push_do_not_wait_for_each_other(world: World):
    orders = [world.order() for _ in range(12)]
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.faults.clear()

    def derive_again(_: int) -> None:
        for _ in range(15):
            with world.database.transaction(SELLER) as tx:
                lock_orders(tx, orders[:4])
                enqueue(tx, Queue.DECIDE, orders[:4])
            world.decide()

    with ThreadPoolExecutor(3) as pool:
        deriving = [pool.submit(derive_again, number) for number in range(2)]
        pool.submit(world.push).result()
        for future in deriving:
            future.result()
    world.run_until_idle()
    assert {world.state(order_id) for order_id in orders} == {"accepted"}
    assert all(world.calls(order_id)["push"] == 1 for order_id in orders)


def test_an_answer_locks_the_order_before_its_queue_entry_as_deriving_does(world: World):
    order_id = world.order()
    answered, go_on = threading.Event(), threading.Event()

    def wait_with_the_answer(call: str, _: str) -> None:
        if call == "push":
            answered.set()
            go_on.wait(10)

    world.wms.meanwhile = wait_with_the_answer
    with ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(world.sync)
        assert answered.wait(10)
        with world.database.transaction(SELLER) as tx:
            lock_orders(tx, [order_id])
            go_on.set()
            waiting = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
            while tx.execute(waiting).scalar_one() == 0 and not syncing.done():
                tx.execute(text("select pg_stat_clear_snapshot()"))
            # Had the answer taken the entry first, both would now wait for each other.
            tx.execute(text("select 1 from pipeline.fulfillment_orders for update nowait"))
        syncing.result()
    assert world.state(order_id) == "accepted"


def test_a_cancelled_order_that_left_while_its_push_was_in_doubt_is_too_late(world: World):
    order_id = world.order()
    world.faults.fail("push", WarehouseUnavailable("it did not answer"), after=True)
    world.sync()
    assert world.state(order_id) == "pushing"
    world.ship(order_id)
    world.amazon.cancel(order_id)
    world.hear()
    world.drain()
    world.absorb()
    world.fetch()
    world.poll()
    world.decide()
    assert world.state(order_id) == "too_late"
