"""A webhook acts at once: in the run that is awake, else by asking for one before the next tick would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orders_pipeline.operations import watch
from orders_pipeline.operations.confirm import CONFIRM, apply_recorded_shipments
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.doctor import check_webhooks
from orders_pipeline.operations.pending_work import confirm_due
from orders_pipeline.shipments.event_rows import WMS_SHIPMENTS
from orders_pipeline.work.hot_loop import Awake, Stage, work_hot
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.world import World

PATIENCE = 30.0


@pytest.fixture
def account(world: World, database_url: str, tmp_path: Path) -> Iterator[ServedAccount]:
    deployment = deployed(database_url, tmp_path, WMS_WEBHOOK_SECRET="a secret")
    yield deployment.account()
    deployment.database.close()


def test_a_run_that_is_awake_tells_amazon_while_the_warehouses_list_hangs(world: World, account: ServedAccount):
    order_id = world.accepted()
    is_reading, may_answer = threading.Event(), threading.Event()
    told = threading.Event()

    def read(_: float) -> Tally:
        is_reading.set()
        assert may_answer.wait(PATIENCE)
        return Tally()

    def confirm(_: float) -> Tally:
        done = world.confirm()
        if world.ports.told:
            told.set()
        return done

    stages = [
        Stage(SELLER, CONFIRM.stages[0].name, read),  # type: ignore[index]
        Stage(SELLER, WMS_SHIPMENTS, lambda seconds: apply_recorded_shipments(account, seconds)),
        Stage(SELLER, Queue.CONFIRM, confirm),
        Stage(SELLER, Queue.VERIFY, lambda _: world.verify()),
    ]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work_hot, world.database, stages, confirm_due, Awake(0, 60))
        assert is_reading.wait(PATIENCE)
        world.ship(order_id)
        world.webhook()
        assert told.wait(PATIENCE)
        may_answer.set()
        running.result(PATIENCE)
    assert [one.order_id for one in world.ports.told] == [order_id]


def test_the_list_is_read_once_a_run_and_not_again_for_each_webhook():
    """Its stage has a name under which nothing is notified and nothing is pending."""
    names = [stage.name for stage in CONFIRM.stages]
    assert names == ["read_shipments", WMS_SHIPMENTS, Queue.CONFIRM, Queue.VERIFY]


def test_a_tick_that_listens_asks_for_a_run_when_a_webhook_comes(
    world: World, account: ServedAccount, monkeypatch: pytest.MonkeyPatch
):
    order_id = world.accepted()
    is_due, has_looked = watch.is_confirm_due, threading.Event()

    def look(account: ServedAccount) -> bool:
        found = is_due(account)
        has_looked.set()
        return found

    monkeypatch.setattr(watch, "is_confirm_due", look)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        heard = pool.submit(watch.hear_webhooks, [account], lambda: PATIENCE)
        # There was nothing: from here on only a notification tells.
        assert has_looked.wait(PATIENCE)
        world.ship(order_id)
        world.webhook()
        assert heard.result(PATIENCE)
        assert time.monotonic() - began < PATIENCE - watch.UNHEARD_SECONDS


def test_what_was_committed_before_a_tick_listened_is_found(world: World, account: ServedAccount):
    world.ship(world.accepted())
    world.webhook()
    assert watch.hear_webhooks([account], lambda: PATIENCE)


def test_a_tick_ends_in_time_whatever_else_is_told(world: World, account: ServedAccount):
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(watch.hear_webhooks, [account], lambda: watch.UNHEARD_SECONDS + 0.5)
        world.order()
        world.drain()
        assert not heard.result(PATIENCE)
    assert not watch.hear_webhooks([account], lambda: 0.0)
    assert time.monotonic() - began < PATIENCE


def test_doctor_says_whether_webhooks_are_taken(
    world: World, account: ServedAccount, database_url: str, tmp_path: Path
):
    assert "none was taken yet" in check_webhooks(account.deployment).detail
    world.ship(world.accepted())
    world.webhook()
    assert "the last was taken at 20" in check_webhooks(account.deployment).detail
    without = deployed(database_url, tmp_path)
    assert "WMS_WEBHOOK_SECRET" in check_webhooks(without).detail
    assert check_webhooks(without).ok


def test_without_a_secret_no_tick_waits(world: World, database_url: str, tmp_path: Path):
    deployment = deployed(database_url, tmp_path)
    began = time.monotonic()
    assert not watch.hear_webhooks(deployment.accounts(), lambda: PATIENCE)
    assert time.monotonic() - began < PATIENCE / 3
    deployment.database.close()
