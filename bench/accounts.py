"""How long from a message until the warehouse has accepted its order, with fifty sellers and with one.

Both deployments get an order every two seconds, whoever's it is: what differs is how many queues, quotas, sessions and
stages one machine looks after. They run one after the other, under the real daemon, each on a store of its own.
"""

from __future__ import annotations

import itertools
import time

from bench.latency import LOOK_EVERY_SECONDS, PATIENCE_SECONDS, await_, share, shown
from bench.stack import Stack, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.sandbox.sandbox import Sandbox, other_sellers
from orders_pipeline.sandbox.warehouse.floor import FloorOptions

TITLE = "Accounts"
EVERY_SECONDS = 2.0
# One order in two seconds is what one seller's quota allows: the sandbox refills a little quicker, so that it is not
# Amazon's limit that is measured.
TIME_SCALE = 4


def run(workload: Workload) -> list[Row]:
    alone, alone_seconds = _measured(1, workload.account_orders)
    many, many_seconds = _measured(workload.accounts, workload.account_orders)
    notify(f"one account: {shown(alone)}; {workload.accounts} accounts: {shown(many)}")
    name = f"message to accepted, {workload.accounts} accounts of one"
    return [
        row(f"{name}: p50", share(many, 50), share(alone, 50), "<= 1.5"),
        row(f"{name}: p95", share(many, 95), share(alone, 95), "<= 1.5"),
        row(f"{name}: processor seconds, an order", many_seconds, alone_seconds, "falling"),
    ]


def _measured(accounts: int, orders: int) -> tuple[list[float], float]:
    """The seconds of each order, and the processor's for one."""
    others = other_sellers(accounts - 1)
    with (
        Sandbox(floor=FloorOptions(automatic=False), time_scale=TIME_SCALE, others=others) as sandbox,
        running_stack(sandbox) as stack,
    ):
        sellers = [(one.seller_id, one.marketplace_ids[0]) for one in sandbox.amazon.accounts.sellers.values()]
        # Each one's queue has been read and its session opened once; a run is awake.
        began = [_add(sandbox, *seller) for seller in sellers]
        await_(lambda: all(_is_accepted(sandbox, one) for one in began), "the first order of every account")
        return _steady(sandbox, stack, sellers, orders)


def _steady(sandbox: Sandbox, stack: Stack, sellers: list[tuple[str, str]], orders: int) -> tuple[list[float], float]:
    used, began = stack.processor_seconds(), time.monotonic()
    waiting, taken = dict[str, float](), list[float]()
    turns = itertools.cycle(sellers)
    sent = 0
    while len(taken) < orders:
        now = time.monotonic()
        if sent < orders and now - began >= sent * EVERY_SECONDS:
            waiting[_add(sandbox, *next(turns))] = now
            sent += 1
        for order_id in [one for one in waiting if _is_accepted(sandbox, one)]:
            taken.append(now - waiting.pop(order_id))
        if now - began > orders * EVERY_SECONDS + PATIENCE_SECONDS:
            raise TimeoutError(f"{len(waiting)} orders are not at the warehouse")
        time.sleep(LOOK_EVERY_SECONDS)
    return taken, (stack.processor_seconds() - used) / orders


def _add(sandbox: Sandbox, seller_id: str, marketplace_id: str) -> str:
    return sandbox.add_order(status="UNSHIPPED", seller_id=seller_id, marketplace_id=marketplace_id).order_id


def _is_accepted(sandbox: Sandbox, order_id: str) -> bool:
    known = sandbox.warehouse.orders.get(order_id)
    return known is not None and known.status == "accepted"
