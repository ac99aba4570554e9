"""How long from a package that leaves the warehouse until Amazon shows its confirmation: by a webhook, and by the poll.

By the real daemon, first with webhooks and then without: where none can come, nobody listens
for them between two polls, and the poll comes sooner. In a busy shop a run is awake when the package leaves, as it is
for half a minute after each one; in a quiet shop none is, and one has to start.
"""

from __future__ import annotations

import random
import time

from bench.latency import RUNS, await_, share, shown
from bench.stack import Stack, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.operations.serve import choose_port
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions

TITLE = "Webhooks"
# The poll's own interval: a package leaves at any moment of it.
POLLED_EVERY_SECONDS = 10.0
RATIO = "package to confirmed, webhook ÷ poll"
AWAKE, QUIET = "a run is awake", "a quiet shop"
GOALS = {AWAKE: "<= 0.3", QUIET: "<= 0.8"}


def run(workload: Workload) -> list[Row]:
    port = choose_port(None)
    by_webhook = _measure(workload, port, f"http://127.0.0.1:{port}/webhooks/warehouse")
    by_poll = _measure(workload, choose_port(None), None)
    for way, found in (("webhook", by_webhook), ("poll", by_poll)):
        for shop, taken in found.items():
            notify(f"{shop}, by {way}: {shown(taken)}")
    return [
        row(f"{RATIO}: {shop}, p{percent}", share(by_webhook[shop], percent), share(by_poll[shop], percent), goal)
        for shop, goal in GOALS.items()
        for percent in (50, 95)
    ]


class _Shop:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def accepted(self) -> str:
        """A new order that the warehouse has."""
        order_id, orders = self._sandbox.add_order(status="UNSHIPPED").order_id, self._sandbox.warehouse.orders
        await_(lambda: order_id in orders and orders[order_id].status == "accepted", f"order {order_id}")
        return order_id

    def confirmed(self, order_id: str) -> float:
        """The seconds from its package, which leaves now, until Amazon has been told of it."""
        began, order = time.monotonic(), self._sandbox.amazon.orders[order_id]
        self._sandbox.floor.ship_now(order_id)
        await_(lambda: bool(order.packages), f"the package of {order_id}")
        return time.monotonic() - began


def _measure(workload: Workload, port: int, webhook_url: str | None) -> dict[str, list[float]]:
    """The seconds of each package in a shop where a run is awake, and in a quiet one."""
    # Amazon's quotas are no part of this.
    with (
        Sandbox(floor=FloorOptions(automatic=False), time_scale=100, webhook_url=webhook_url) as sandbox,
        running_stack(sandbox, port) as stack,
    ):
        return _shipped(_Shop(sandbox), stack, workload)


def _shipped(shop: _Shop, stack: Stack, workload: Workload) -> dict[str, list[float]]:
    chance = random.Random(1)
    # What is loaded and logged in at first use is not what is measured.
    shop.confirmed(shop.accepted())
    found: dict[str, list[float]] = {AWAKE: [], QUIET: []}
    for _ in range(workload.steady_messages // 3 or 1):
        order_id = shop.accepted()
        shop.confirmed(shop.accepted())
        time.sleep(chance.uniform(0, POLLED_EVERY_SECONDS))
        found[AWAKE].append(shop.confirmed(order_id))
    for _ in range(workload.quiet_messages // 2 or 1):
        order_id = shop.accepted()
        await_(lambda: stack.dagster(RUNS) == 0, "the shop to be quiet")
        time.sleep(chance.uniform(0, POLLED_EVERY_SECONDS))
        found[QUIET].append(shop.confirmed(order_id))
    return found
