"""Calls to Amazon over an order's life: new, shipped, confirmed and verified, on a mixed day.

The same day, by its seed, is played twice: to the whole deployment, and to the v0 tutorials' script. Counted is all
that Amazon was asked, for each order that left the warehouse.

Amazon's pace is forty times the real one; how long the pipeline waits for company before it reads a page is not
shortened, so that more orders share a page than on a day of 240 orders an hour. The busy day (`sustained`) shows a
day's own pages.
"""

from __future__ import annotations

import time
from datetime import timedelta

from bench.loops import Script, Tutorial
from bench.stack import EVENT_ROWS, HISTORY_BYTES, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, Sandbox

TITLE = "Calls to Amazon"
PACE = 40
PATIENCE_SECONDS = 300.0


def run(workload: Workload) -> list[Row]:
    ours, events, history = _ours(workload)
    tutorial = _tutorial(workload)
    return [
        row("calls for each order that left, of the v0 tutorials' script", ours, tutorial, "<= 0.167"),
        row("Dagster's event rows for each order that left", events, 1.0, "< 0.1 a peak; stated here"),
        row("bytes of Dagster's history for each order that left", history, 1.0, "stated"),
    ]


def _day(workload: Workload) -> Sandbox:
    day = DayOptions(orders=workload.day_orders, duration_seconds=workload.day_seconds)
    return Sandbox(time_scale=PACE, day=day)


def _ours(workload: Workload) -> tuple[float, float, float]:
    """Calls, event rows of Dagster's and bytes of its history, each for one order that left the warehouse."""
    with _day(workload) as sandbox, running_stack(sandbox) as stack:
        rows = stack.dagster(EVENT_ROWS)
        size = stack.dagster(HISTORY_BYTES)
        _start(sandbox)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _is_over(sandbox):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the day was not over after {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.5)
        left = _left(sandbox)
        notify(f"{left} orders left: {dict(sandbox.amazon.ledger.requests)}")
        return (
            sum(sandbox.amazon.ledger.requests.values()) / left,
            (stack.dagster(EVENT_ROWS) - rows) / left,
            (stack.dagster(HISTORY_BYTES) - size) / left,
        )


def _start(sandbox: Sandbox) -> None:
    """Start the day; whatever the hour, none of its orders is so late that each is worth a call."""
    sandbox.day.start()
    for planned in list(sandbox.day.planned.values()):
        first, last = planned.order.ship_by
        planned.order.ship_by = (first, last + timedelta(days=1))


def _is_over(sandbox: Sandbox) -> bool:
    return sandbox.day.finished() and all(one.ok for one in sandbox.judge.verdicts(sandbox.day.planned))


def _tutorial(workload: Workload) -> float:
    """The script does not bring every order to its right end; the day is over when it finds nothing more to do."""
    with _day(workload) as sandbox:
        script = Script(sandbox.environment(), PACE)
        tutorial = Tutorial(script, MARKETPLACE_ID)
        _start(sandbox)
        deadline, quiet = time.monotonic() + PATIENCE_SECONDS, 0
        while quiet < 2 and time.monotonic() < deadline:
            time.sleep(60 / PACE)
            since = iso(sandbox.clock.now() - timedelta(minutes=10))
            done = tutorial.poll(since) + tutorial.confirm()
            quiet = quiet + 1 if sandbox.day.finished() and not done else 0
        left = _left(sandbox)
        notify(f"{left} orders left: {dict(sandbox.amazon.ledger.requests)}")
        calls = sum(sandbox.amazon.ledger.requests.values())
        script.close()
    return calls / left


def _left(sandbox: Sandbox) -> int:
    """How many orders the warehouse shipped at least one package of."""
    return sum(1 for order in sandbox.warehouse.orders.values() if order.packages)
