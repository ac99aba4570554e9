"""Pushing: once, with one content, and never what Amazon has cancelled."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from orders_pipeline.fulfillment.alerts import ALERTS
from orders_pipeline.wms.port import PushResult, WarehouseRefused, WarehouseUnavailable
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.world import World

TIMED_OUT = WarehouseUnavailable("The warehouse could not be reached (ReadTimeout)")


def test_an_order_is_pushed_once_and_the_same_content_is_not_sent_again(world: World):
    order_id = world.order(quantities=(2, 1))
    world.sync()
    world.amazon.notify(order_id)
    world.hear()
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.calls(order_id) == {"push": 1}
    assert world.warehouse.orders[order_id].lines == {
        item.item_id: item.quantity for item in world.amazon.orders[order_id].items
    }


def test_an_accepted_push_with_a_lost_answer_is_not_sent_again(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT, after=True)
    world.sync()
    assert world.state(order_id) == "pushing"
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.calls(order_id) == {"push": 1, "find": 1}


def test_a_push_that_never_arrived_is_looked_for_and_then_sent_again(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT)
    world.sync()
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert [call for call, _ in world.wms.calls] == ["push", "find", "push"]
    assert len({push.content_sha256 for push in world.warehouse.pushes_of(order_id)}) == 1


def test_a_process_that_dies_during_a_push_leaves_it_pushed_exactly_once(world: World):
    order_id = world.order()

    class Died(BaseException):
        pass

    world.faults.fail("push", Died(), after=True)  # type: ignore[arg-type]
    with pytest.raises(Died):
        world.sync()
    assert world.state(order_id) == "pushing"
    assert world.push().outcomes == {}, "its lease has not run out"
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.calls(order_id)["push"] == 1


def test_other_content_does_not_race_the_first_one_to_the_warehouse(world: World):
    order_id = world.order(quantities=(3,))
    world.faults.fail("push", TIMED_OUT)
    world.sync()
    item = world.fewer_pieces(order_id, 2)
    world.sql("update pipeline.jobs set due_at = clock_timestamp()")
    world.sync()
    assert world.calls(order_id)["push"] == 1, "the first may still be on its way"
    world.make_due()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.warehouse.orders[order_id].lines == {item: 2}


def test_an_order_that_was_cancelled_while_it_was_queued_is_never_pushed(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    assert world.state(order_id) == "queued"
    world.amazon.cancel(order_id)
    world.hear()
    world.drain()
    # The push comes before the cancellation was absorbed.
    world.push()
    assert world.calls(order_id) == {}
    world.make_due()
    world.sync()
    assert world.state(order_id) == "cancelled"
    assert world.calls(order_id) == {}


def test_an_order_of_which_nothing_is_to_be_shipped_waits_without_asking_for_runs(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.fewer_pieces(order_id, 0)
    world.request_fetch(order_id)
    for _ in range(2):
        world.sync()
        world.make_due()
    world.sync()
    assert (world.state(order_id), world.calls(order_id)) == ("queued", {})
    assert world.jobs(Queue.DECIDE) == []
    (job,) = world.jobs(Queue.PUSH)
    assert job.due_at - world.database.now() > timedelta(minutes=5)
    world.fewer_pieces(order_id, 1)
    world.request_fetch(order_id)
    world.sync()
    assert world.state(order_id) == "accepted", "at once, not after the wait"


def test_a_cancellation_that_comes_between_two_looks_wins(world: World, monkeypatch: pytest.MonkeyPatch):
    order_id = world.order()
    reveal = world.vault.reveal

    def cancelled_meanwhile(**arguments: str) -> bytes:
        world.amazon.cancel(order_id)
        world.hear()
        world.drain()
        world.absorb()
        return reveal(**arguments)

    monkeypatch.setattr(world.vault, "reveal", cancelled_meanwhile)
    world.sync()
    assert world.calls(order_id) == {}


def test_a_push_that_is_no_longer_wanted_is_looked_for_before_it_is_given_up(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT)
    world.sync()
    world.amazon.cancel(order_id)
    world.hear()
    world.sql("update pipeline.jobs set due_at = clock_timestamp()")
    world.sync()
    assert world.state(order_id) == "pushing", "it may still be on its way"
    world.make_due()
    world.sync()
    world.sync()
    assert world.state(order_id) == "cancelled"
    assert world.calls(order_id)["push"] == 1
    assert order_id not in world.warehouse.orders


@pytest.mark.parametrize("held_before", [False, True])
def test_what_a_push_that_broke_off_left_there_unseen_is_cancelled_too(world: World, held_before: bool):
    order_id = world.order()
    # As a Tryton does that was given a draft: `find` shows what is whole.
    world.faults.fail("push", TIMED_OUT, after=True)
    world.wms.find = lambda order_ref: None  # type: ignore[method-assign]
    world.sync()
    if held_before:
        world.amazon.request_cancellation(order_id)
        world.hear()
        _until_settled(world)
        assert world.state(order_id) == "held"
    world.amazon.cancel(order_id)
    world.hear()
    _until_settled(world)
    assert world.state(order_id) == "cancelled"
    assert world.warehouse.orders[order_id].status == "cancelled"


def _until_settled(world: World) -> None:
    for _ in range(4):
        world.make_due()
        world.sync()


def test_a_push_that_arrived_after_cancellation_is_cancelled_there(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT, after=True)
    world.sync()
    world.amazon.cancel(order_id)
    world.hear()
    world.make_due()
    world.sync()
    world.sync()
    assert world.state(order_id) == "cancelled"
    assert world.warehouse.orders[order_id].status == "cancelled"
    assert world.calls(order_id)["push"] == 1


def test_a_refusal_becomes_an_alert_without_the_address_that_the_warehouse_echoed(world: World):
    order_id = world.order()
    world.warehouse.faults.add("invalid_address_echo", "put_order", order_id=order_id)
    world.sync()
    assert world.state(order_id) == "refused"
    assert "invalid_address" in world.alerts(ALERTS)["order.refused"].message
    address = world.amazon.orders[order_id].address
    stored = world.everything_stored()
    for text in (address.name, address.address_line1, address.city, address.postal_code, address.phone):
        assert text
        assert text not in stored


def test_an_answer_that_is_not_in_the_contract_is_a_refusal_too(world: World):
    order_id = world.order()
    world.faults.fail("push", WarehouseRefused("The warehouse answered 413 to push.", status=413))
    world.sync()
    assert world.state(order_id) == "refused"
    assert "http_413" in world.alerts(ALERTS)["order.refused"].message


def test_one_failing_order_does_not_stop_the_batch(world: World):
    orders = [world.order() for _ in range(6)]
    world.faults.fail("push", TIMED_OUT, orders[0])
    world.faults.fail("push", KeyError("a defect, with a street in it: 7 Nightingale Row"), orders[1])
    world.sync()
    assert [world.state(order_id) for order_id in orders[2:]] == ["accepted"] * 4
    assert "Nightingale" not in world.everything_stored()
    world.make_due()
    world.sync()
    assert {world.state(order_id) for order_id in orders} == {"accepted"}


def test_an_absent_warehouse_parks_the_order_but_not_its_cancellation(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT, after=True)
    world.sync()
    world.sql("update pipeline.jobs set attempts = 49")
    world.faults.fail("find", TIMED_OUT)
    world.make_due()
    assert world.sync().parked == 1
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    world.sync()
    assert world.state(order_id) == "cancelled"
    assert world.jobs() == []


def test_an_order_read_long_ago_is_read_again_before_it_is_pushed(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.sql("update pipeline.orders set fetched_at = fetched_at - interval '11 minutes'")
    world.amazon.cancel(order_id, notify=False)
    world.push()
    assert world.calls(order_id) == {}
    world.make_due()
    world.sync()
    assert world.state(order_id) == "cancelled"
    assert world.calls(order_id) == {}


def test_an_address_missing_from_the_vault_is_fetched_again_during_a_push(world: World):
    order_id = world.order()
    world.faults.fail("push", TIMED_OUT)
    world.sync()
    assert world.state(order_id) == "pushing"
    world.sql("delete from vault.records where kind = 'shipping_details'")
    for _ in range(4):
        world.make_due()
        world.sync()
    assert world.state(order_id) == "accepted"


def test_an_order_that_the_warehouse_lost_is_pushed_again_on_release(world: World):
    order_id = world.accepted()
    world.amazon.request_cancellation(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "holding"
    del world.warehouse.orders[order_id]
    world.amazon.withdraw_cancellation_request(order_id)
    world.hear()
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.warehouse.orders[order_id].status == "accepted"


def test_a_refusal_whose_code_is_the_buyers_name_is_kept_without_it(world: World, monkeypatch: pytest.MonkeyPatch):
    order_id = world.order()
    name = str(world.amazon.orders[order_id].address.name)
    code = "_".join(re.findall(r"[a-z0-9]+", name.casefold()))
    monkeypatch.setattr(world.wms, "push", lambda _order: PushResult("refused", wms_id=name, code=f"no_{code}"))
    world.sync()
    assert world.state(order_id) == "refused"
    alert = world.alerts(ALERTS)["order.refused"]
    assert "no_•••" in alert.message
    stored = world.everything_stored().casefold()
    assert code not in stored
    assert name.casefold() not in stored
