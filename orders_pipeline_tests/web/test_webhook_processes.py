"""From a package that leaves the warehouse to its confirmation at Amazon by a webhook, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from orders_pipeline.operations.metrics.scrape import GROUPS
from orders_pipeline.operations.processes import stop_tree
from orders_pipeline.sandbox.sandbox import WEBHOOK_SECRET, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.web.webhooks import WEBHOOK_PATH
from orders_pipeline_tests.free_port import free_port
from orders_pipeline_tests.web.deployment import Up, running_up, second_ui, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]
_DYING = "orders_pipeline_tests.web.dies_after_commit"


class Shop:
    def __init__(self, sandbox: Sandbox, up: Up) -> None:
        self.sandbox = sandbox
        self.up = up

    def accepted(self) -> str:
        """A new order that the warehouse has."""
        order_id = self.sandbox.add_order(status="UNSHIPPED").order_id
        orders = self.sandbox.warehouse.orders
        wait_until(lambda: order_id in orders and orders[order_id].status == "accepted", self.up)
        return order_id

    def await_confirmed(self, order_id: str) -> float:
        """The seconds until Amazon shows the order's package."""
        began = time.monotonic()
        wait_until(lambda: self.sandbox.amazon.orders[order_id].packages, self.up)
        return time.monotonic() - began

    def events(self, order_id: str) -> int:
        (row,) = self.up.query(f"select count(*) from pipeline.wms_shipments where order_id = '{order_id}'")
        return row[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Whose warehouse answers no poll: what is heard of it, webhooks brought."""
    folder = tmp_path_factory.mktemp("webhooks")
    with (
        Sandbox(time_scale=100, floor=FloorOptions(automatic=False)) as sandbox,
        running_up(sandbox, folder, WMS_WEBHOOK_SECRET=WEBHOOK_SECRET) as up,
    ):
        sandbox.warehouse.faults.add("error_503", "shipments", times=None)
        sandbox.webhooks.url = up.url + WEBHOOK_PATH
        yield Shop(sandbox, up)


@pytest.mark.slow(90)
def test_a_package_is_confirmed_by_its_webhook_alone_and_at_once_while_a_run_is_awake(shop: Shop):
    first, second = shop.accepted(), shop.accepted()
    shop.sandbox.floor.ship_now(first)
    shop.await_confirmed(first)
    shop.sandbox.floor.ship_now(second)
    # About one second; a busy machine takes longer, and a poll, were it answered, ten.
    assert shop.await_confirmed(second) < 6
    calls = shop.sandbox.warehouse.as_json()["calls"]
    assert calls["webhook"]["204"] == 2
    assert "events" not in calls["shipments"]


def test_the_metrics_of_real_processes_tell_what_they_did(shop: Shop):
    """Counted in the processes of runs, and read by the process of the UI."""
    order_id = shop.accepted()
    shop.sandbox.floor.ship_now(order_id)
    shop.await_confirmed(order_id)

    def told() -> dict[tuple[str, ...], float] | None:
        text = requests.get(f"{shop.up.url}/metrics", timeout=30).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found = {(one.name.removeprefix("orders_pipeline_"), *one.labels.values()): one.value for one in samples}
        # Calls are written once in ten seconds, and at the end of a run.
        is_written = any(key[0] == "amazon_answers_total" and key[2:] == ("getOrder", "200") for key in found)
        is_shown = any(key[0] == "notification_queue_messages" for key in found)
        return found if is_written and is_shown else None

    found = wait_until(told, shop.up)
    assert (found["up", "orders"], found["up", "dagster"]) == (1, 1)
    assert {key[1] for key, value in found.items() if key[0] == "scrape_group_read" and value == 1} == {
        group.name for group in GROUPS
    }
    (seller,) = shop.sandbox.amazon.accounts.sellers
    assert found["message_to_accepted_seconds_count", seller] >= 1
    assert found["shipped_to_confirmed_seconds_count", seller] >= 1
    assert found["daemon_heartbeat_age_seconds", "SENSOR"] < 120
    assert ("ticks_failed_last_hour", "drain_notifications_sensor") in found


@pytest.mark.parametrize("fault", ["wrong_secret", "stale", "duplicate"])
def test_what_goes_wrong_with_a_webhook_is_made_good_by_the_next(shop: Shop, fault: str):
    order_id = shop.accepted()
    shop.sandbox.warehouse.faults.add(fault, "webhook", order_id=order_id)
    shop.sandbox.floor.ship_now(order_id)
    shop.await_confirmed(order_id)
    assert shop.events(order_id) == 1
    assert len(shop.sandbox.amazon.orders[order_id].packages) == 1


def test_a_web_process_that_is_killed_between_commit_and_answer_doubles_nothing(shop: Shop):
    port, up = free_port(), shop.up
    order_id = shop.accepted()
    shop.sandbox.webhooks.url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
    command = [sys.executable, "-m", _DYING, "web", "--port", str(port), "-w", up.workspace()]
    with (up.folder / "dying.log").open("wb") as log:
        dying = subprocess.Popen(command, env=up.environment, stdout=log, stderr=log)
    try:
        shop.sandbox.floor.ship_now(order_id)
        assert dying.wait(timeout=60) == -signal.SIGKILL, (up.folder / "dying.log").read_text(errors="replace")
    finally:
        stop_tree(dying.pid)
    assert shop.events(order_id) == 1
    with second_ui(up, port=port):
        wait_until(lambda: _outcomes(shop, order_id)[-1:] == ["204"], up)
    shop.await_confirmed(order_id)
    assert "unreachable" in _outcomes(shop, order_id)
    assert shop.events(order_id) == 1
    confirmed = shop.sandbox.amazon.orders[order_id].packages
    assert len(confirmed) == 1


def _outcomes(shop: Shop, order_id: str) -> list[str]:
    ledger = list(shop.sandbox.warehouse.ledger)
    return [entry.outcome for entry in ledger if (entry.call, entry.order_ref) == ("webhook", order_id)]
