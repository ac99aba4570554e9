"""How long from a package that leaves the warehouse until Amazon shows its confirmation: by a webhook, and by the poll.

Both in turns, by the real daemon against the same sandbox. In a busy shop a run is awake when the package leaves, as it
is for half a minute after each one; in a quiet shop none is, and one has to start.
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
WEBHOOK, POLL = "webhook", "poll"
RATIO = "package to confirmed, webhook ÷ poll"


def run(workload: Workload) -> list[Row]:
    port, chance = choose_port(None), random.Random(1)
    url = f"http://127.0.0.1:{port}/webhooks/warehouse"
    # Amazon's quotas are no part of this.
    with (
        Sandbox(floor=FloorOptions(automatic=False), time_scale=100, webhook_url=url) as sandbox,
        running_stack(sandbox, port) as stack,
    ):
        shop = _Shop(sandbox, url)
        # What is loaded and logged in at first use is not what is measured.
        shop.confirmed(WEBHOOK)
        busy = _in_turns(shop, workload.steady_messages // 3 or 1, chance)
        quiet = _in_turns(shop, workload.quiet_messages // 2 or 1, chance, stack)
    rows = [
        row(f"{RATIO}: {name}, p{percent}", share(found[WEBHOOK], percent), share(found[POLL], percent), goal)
        for name, found, goal in (("a run is awake", busy, "<= 0.3"), ("a quiet shop", quiet, "<= 0.8"))
        for percent in (50, 95)
    ]
    for name, found in (("a run is awake", busy), ("a quiet shop", quiet)):
        for way, taken in found.items():
            notify(f"{name}, by {way}: {shown(taken)}")
    return rows


class _Shop:
    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self._sandbox = sandbox
        self._url = url

    def accepted(self) -> str:
        """A new order that the warehouse has."""
        order_id, orders = self._sandbox.add_order(status="UNSHIPPED").order_id, self._sandbox.warehouse.orders
        await_(lambda: order_id in orders and orders[order_id].status == "accepted", f"order {order_id}")
        return order_id

    def confirmed(self, way: str, order_id: str | None = None) -> float:
        """The seconds from a package that leaves until Amazon has been told of it."""
        order_id = order_id or self.accepted()
        self._sandbox.webhooks.url = self._url if way == WEBHOOK else None
        began, order = time.monotonic(), self._sandbox.amazon.orders[order_id]
        self._sandbox.floor.ship_now(order_id)
        await_(lambda: bool(order.packages), f"the package of {order_id}")
        return time.monotonic() - began


def _in_turns(shop: _Shop, rounds: int, chance: random.Random, stack: Stack | None = None) -> dict[str, list[float]]:
    """The seconds of each package, by its way. With the stack: no run is awake when it leaves."""
    found: dict[str, list[float]] = {WEBHOOK: [], POLL: []}
    for _ in range(rounds):
        for way, taken in found.items():
            order_id = shop.accepted()
            if stack is None:
                shop.confirmed(WEBHOOK)
            else:
                await_(lambda: stack.dagster(RUNS) == 0, "the shop to be quiet")
            time.sleep(chance.uniform(0, POLLED_EVERY_SECONDS))
            taken.append(shop.confirmed(way, order_id))
    return found
