"""A month's backfill beside live orders: the calls it costs, the quota it leaves unused, and who waits for it.

The days are asked for as the UI asks for them, of the whole deployment. Some of their orders are still to ship, and
each of those is fetched, from the bucket that live orders are fetched from.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import requests

from bench.stack import Stack, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.sandbox.amazon.limits import USAGE_PLANS
from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions

TITLE = "A backfill"
# A page in nine seconds: what is done with it is small beside the wait, as it is at Amazon.
PACE = 20
DAYS = 30
PAGE_ORDERS = 100
# One in so many of the past orders is still to ship: more than a shop has that ships within days.
STILL_TO_SHIP = 10
# What Amazon allows at once is spent before anything is waited for.
RATE, BURST = USAGE_PLANS["searchOrders"]
LIVE_EVERY_SECONDS = 1.5
PATIENCE_SECONDS = 600.0
_LAUNCH = """mutation($days: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["order_events"]}], partitionNames: $days}) {
    __typename ... on LaunchBackfillSuccess { backfillId } } }"""
_UNFINISHED = "select count(*) from pipeline.search_windows where purpose = 'backfill' and finished_at is null"
_WINDOWS = "select count(*) from pipeline.search_windows where purpose = 'backfill'"


def run(workload: Workload) -> list[Row]:
    amazon = AmazonOptions(listing_delay_seconds=0)
    with (
        Sandbox(time_scale=PACE, amazon=amazon, floor=FloorOptions(automatic=False)) as sandbox,
        # Not by reports, which cost hardly a call. The past orders are ours to ship.
        running_stack(sandbox, ORDERS_HISTORY_SOURCE="search", ORDERS_START_AT=_start().isoformat()) as stack,
    ):
        days, past = _past_orders(sandbox, workload.backfilled_orders)
        # The first order starts the run that takes the others.
        _live(sandbox, 1)
        without = _live(sandbox, workload.live_orders)
        before = _searches(sandbox)
        _launch(stack, days)
        pages, beside = _watch(sandbox, stack, workload.live_orders)
        after = _live(sandbox, workload.live_orders)
        searches = _searches(sandbox) - before
        fetched = sum(order.order_id in sandbox.warehouse.orders for order in past)
        notify(f"past orders still to ship: {fetched} of {len(past)} are at the warehouse")
        notify(f"live orders: {_shown(without)} without it, {_shown(beside)} beside it, {_shown(after)} after it")
    least = -(-workload.backfilled_orders // PAGE_ORDERS)
    waited = pages[BURST:]
    used, allowed = len(waited) - 1, (waited[-1] - waited[0]) * RATE * PACE if len(waited) > 1 else 0.0
    name = f"searches for {workload.backfilled_orders:,} orders of {DAYS} days, of full pages"
    return [
        row(name, searches, least, "<= 1.05"),
        row("pages read while it waits for quota, of what Amazon allows", used, allowed, ">= 0.95"),
        row(
            "a live order's seconds to the warehouse beside it, of those without",
            statistics.median(beside), statistics.median([*without, *after]), "<= 1.2",
        ),
    ]  # fmt: skip


def _past_orders(sandbox: Sandbox, orders: int) -> tuple[Sequence[str], Sequence[Order]]:
    """Orders of the days before yesterday, as many each day; the days, and the orders that are still to ship."""
    last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    to_ship = list[Order]()
    for number in range(orders):
        is_open = number % STILL_TO_SHIP == 0
        order = sandbox.add_order(status="UNSHIPPED" if is_open else "SHIPPED", notify=False)
        order.last_updated = last - timedelta(days=DAYS) * ((number + 0.5) / orders)
        order.created = order.last_updated - timedelta(hours=1)
        if is_open:
            to_ship.append(order)
    return [(last - timedelta(days=ago)).date().isoformat() for ago in range(DAYS, 0, -1)], to_ship


def _start() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS + 2)


def _launch(stack: Stack, days: Sequence[str]) -> None:
    body = {"query": _LAUNCH, "variables": {"days": days}}
    answer = requests.post(f"{stack.url}/graphql", json=body, timeout=60)
    assert answer.json()["data"]["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer.text


def _watch(sandbox: Sandbox, stack: Stack, orders: int) -> tuple[list[float], list[float]]:
    """Until the backfill is at its end: when each page was asked for, and the seconds of each live order beside it.

    The live orders begin once the backfill waits for its quota.
    """
    pages, beside = list[float](), list[float]()
    before, waiting = _searches(sandbox), dict[str, float]()
    deadline, sent_at, looked = time.monotonic() + PATIENCE_SECONDS, 0.0, 0.0
    while True:
        now = time.monotonic()
        pages += [now] * (_searches(sandbox) - before - len(pages))
        if len(pages) > BURST and len(beside) + len(waiting) < orders and now - sent_at >= LIVE_EVERY_SECONDS:
            sent_at = now
            waiting[sandbox.add_order(status="UNSHIPPED").order_id] = now
        for order_id in [one for one in waiting if one in sandbox.warehouse.orders]:
            beside.append(now - waiting.pop(order_id))
        if now - looked >= 1.0:
            looked = now
            if stack.orders(_WINDOWS) > 0 and stack.orders(_UNFINISHED) == 0 and not waiting:
                return pages, beside
        if now > deadline:
            raise TimeoutError(f"{len(pages)} pages were read after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.01)


def _live(sandbox: Sandbox, orders: int) -> list[float]:
    """The seconds of so many orders from their message until the warehouse has them, one after the other."""
    taken = list[float]()
    for _ in range(orders):
        began = time.monotonic()
        order_id = sandbox.add_order(status="UNSHIPPED").order_id
        while order_id not in sandbox.warehouse.orders:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TimeoutError(f"order {order_id} is not at the warehouse")
            time.sleep(0.01)
        taken.append(time.monotonic() - began)
        time.sleep(max(0.0, LIVE_EVERY_SECONDS - taken[-1]))
    return taken


def _searches(sandbox: Sandbox) -> int:
    return sandbox.amazon.ledger.requests["searchOrders"]


def _shown(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} s of {len(times)}"
