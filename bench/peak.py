"""A thousand orders at once: how long until the warehouse has them all, and until it has the first.

Ours is the whole deployment against an Amazon at its real pace, which lists an order two minutes after it changed. The
loops only wait for Amazon's quota, so they are played at twenty times its pace, and their times multiplied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bench.loops import GET_ORDER, PAGE_SIZE, Script, Tutorial, one_call_loop
from bench.stack import EVENT_ROWS, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions

TITLE = "A peak"
PACE = 20
LIST_LAG_SECONDS = 120.0
SEARCH_BURST = 20
PATIENCE_SECONDS = 900.0


def run(workload: Workload) -> list[Row]:
    orders = workload.peak_orders
    ours = _ours(orders)
    first, last = ours.first, ours.last
    one_call = _played(orders, _one_call)
    tutorial = _played(orders, _tutorial)
    bound = _bound(orders)
    return [
        row(f"{orders:,} orders at once, of the loop with one getOrder each", last, one_call, "<= 0.2"),
        row(f"{orders:,} orders at once, of the v0 tutorials' loop", last, tutorial, "<= 0.05"),
        row(f"{orders:,} orders at once, of what both quotas and the list lag allow", last, bound, "<= 1.3"),
        row("the first of them accepted, of all of them", first, last, ""),
        row("processor seconds for 1,000 of them", ours.processor_seconds / orders * 1_000, 1.0, "falling"),
        row("Dagster's event rows for each of them", ours.event_rows / orders, 1.0, "< 0.1"),
    ]


class Peak(NamedTuple):
    """Seconds from the orders' appearance until the warehouse had the first, and all; what that cost."""

    first: float
    last: float
    processor_seconds: float
    event_rows: float


def _ours(orders: int) -> Peak:
    # A shop that has run for long: an order that a page shows before its message is no order of before the start.
    start = (datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)).isoformat()
    with _amazon(1.0) as sandbox, running_stack(sandbox, ORDERS_START_AT=start) as stack:
        # A quiet shop: its first order has come and gone.
        sandbox.add_order()
        _accepted(sandbox, 1)
        rows, used = stack.dagster(EVENT_ROWS), stack.processor_seconds()
        before, started = len(sandbox.warehouse.orders), time.monotonic()
        for _ in range(orders):
            sandbox.add_order()
        first = _accepted(sandbox, before + 1) - started
        last = _accepted(sandbox, before + orders) - started
        throttled = sum(sandbox.amazon.ledger.throttled.values())
        notify(f"{orders} orders: {dict(sandbox.amazon.ledger.requests)}, {throttled} times throttled")
        return Peak(first, last, stack.processor_seconds() - used, stack.dagster(EVENT_ROWS) - rows)


def _accepted(sandbox: Sandbox, count: int) -> float:
    """Wait until the warehouse has so many orders; the time at which it had."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(sandbox.warehouse.orders) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(sandbox.warehouse.orders)} of {count} orders after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.02)
    return time.monotonic()


def _amazon(pace: float) -> Sandbox:
    return Sandbox(
        time_scale=pace,
        amazon=AmazonOptions(listing_delay_seconds=LIST_LAG_SECONDS / pace),
        floor=FloorOptions(automatic=False),
    )


def _played(orders: int, play: Callable[[Sandbox, Script, int], None]) -> float:
    """Amazon's seconds that this loop takes for so many orders."""
    with _amazon(PACE) as sandbox:
        script = Script(sandbox.environment(), PACE)
        for _ in range(orders):
            sandbox.add_order()
        started = time.monotonic()
        play(sandbox, script, orders)
        seconds = time.monotonic() - started
        script.close()
    return seconds * PACE


def _one_call(_sandbox: Sandbox, script: Script, orders: int) -> None:
    read = 0
    while read < orders:
        read += one_call_loop(script)


def _tutorial(sandbox: Sandbox, script: Script, orders: int) -> None:
    tutorial = Tutorial(script, MARKETPLACE_ID)
    since = iso(sandbox.clock.now() - timedelta(hours=1))
    read = 0
    while read < orders:
        # Once a minute, as the tutorials have it, because getOrders allows no more.
        time.sleep(60 / PACE)
        read += tutorial.poll(since)


def _bound(orders: int) -> float:
    """The seconds that Amazon's quota costs at least: getOrder until the listing has the rest, then its pages."""
    at_once = orders - GET_ORDER.burst
    one_by_one = max(at_once, 0) / GET_ORDER.rate
    if one_by_one <= LIST_LAG_SECONDS:
        return max(one_by_one, 1.0)
    listed = at_once - LIST_LAG_SECONDS * GET_ORDER.rate
    pages = -(-listed // PAGE_SIZE)
    return LIST_LAG_SECONDS + max(pages - SEARCH_BURST, 0) / 0.0056
