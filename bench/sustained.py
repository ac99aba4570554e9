"""A busy day: a thousand orders an hour for eight hours, each of which the warehouse ships.

That is more than `getOrder` allows where each order is read twice. It is played at many times Amazon's pace: an order,
a token and the list's lag come so much sooner. Our own waiting times stay what they are, so that the figures are, if
anything, too high.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stack import EVENT_ROWS, Stack, running_stack
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox

TITLE = "A busy day"
PACE = 40
ORDERS_AN_HOUR = 1_000
LIST_LAG_SECONDS = 120.0
LOOK_EVERY_SECONDS = 1.0
TELL_EVERY_SECONDS = 60.0
PATIENCE_SECONDS = 600.0
_UNVERIFIED = """
    select coalesce(extract(epoch from clock_timestamp() - min(reported_at)), 0)
    from pipeline.shipment_confirmations where state <> 'confirmed'
"""
_VERIFIED = "select count(*) from pipeline.shipment_confirmations where state = 'confirmed'"


@dataclass(frozen=True, slots=True)
class _Look:
    """At one moment: the age, in seconds, of the oldest order and package with which the pipeline is not done."""

    unpushed: float
    unverified: float


def run(workload: Workload) -> list[Row]:
    orders = int(workload.sustained_hours * ORDERS_AN_HOUR)
    amazon = AmazonOptions(listing_delay_seconds=LIST_LAG_SECONDS / PACE)
    with Sandbox(time_scale=PACE, amazon=amazon) as sandbox, running_stack(sandbox) as stack:
        # What is loaded and logged in at first use is not what is measured.
        sandbox.add_order(status="UNSHIPPED")
        _await_all(sandbox, stack)
        rows, used = stack.dagster(EVENT_ROWS), stack.processor_seconds()
        looks = _play(sandbox, stack, orders)
        _await_all(sandbox, stack)
        rows, used = stack.dagster(EVENT_ROWS) - rows, stack.processor_seconds() - used
        ledger = sandbox.amazon.ledger
        notify(f"{dict(ledger.requests)}, {sum(ledger.throttled.values())} times throttled")
    second, last = _quarter(looks, 1), _quarter(looks, 3)
    name = f"{ORDERS_AN_HOUR:,} orders an hour for {workload.sustained_hours:g} hours"
    return [
        row(f"{name}: oldest unpushed, s, the last quarter's of the second's", *_oldest(last, second, 0), "<= 1.2"),
        row(f"{name}: oldest unverified, s, the last quarter's of the second's", *_oldest(last, second, 1), "<= 1.2"),
        row("processor seconds for 1,000 of them, pushed and verified", used / orders * 1_000, 1.0, "falling"),
        row("Dagster's event rows for each of them", rows / orders, 1.0, "< 0.1"),
    ]


def _play(sandbox: Sandbox, stack: Stack, orders: int) -> Sequence[_Look]:
    """Add the orders, each at its time; what was seen meanwhile."""
    looks: list[_Look] = []
    added: dict[str, float] = {}
    every = 3_600 / ORDERS_AN_HOUR / PACE
    started, sent, told = time.monotonic(), 0, 0.0
    looked = started
    while sent < orders:
        now = time.monotonic()
        while sent < orders and started + sent * every <= now:
            added[sandbox.add_order(status="UNSHIPPED").order_id] = now
            sent += 1
        if now - looked >= LOOK_EVERY_SECONDS:
            looked = now
            looks.append(_look(sandbox, stack, added))
            if now - told >= TELL_EVERY_SECONDS:
                told = now
                notify(f"{sent:,} of {orders:,} orders; oldest unpushed {looks[-1].unpushed:.0f} s, "
                       f"unverified {looks[-1].unverified:.0f} s; {(orders - sent) * every:.0f} s to go")  # fmt: skip
        time.sleep(0.01)
    return looks


def _look(sandbox: Sandbox, stack: Stack, added: dict[str, float]) -> _Look:
    """`added`: when each order came that the warehouse is not known to have; those that it has are taken out."""
    for order_id in [one for one in added if one in sandbox.warehouse.orders]:
        del added[order_id]
    oldest = min(added.values(), default=time.monotonic())
    return _Look(time.monotonic() - oldest, stack.orders(_UNVERIFIED))


def _await_all(sandbox: Sandbox, stack: Stack) -> None:
    """Until the warehouse has shipped every order and Amazon shows every package."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _is_done(sandbox, stack):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not every order was pushed, shipped and verified after {PATIENCE_SECONDS:.0f} s")
        time.sleep(LOOK_EVERY_SECONDS)


def _is_done(sandbox: Sandbox, stack: Stack) -> bool:
    orders = sandbox.warehouse.orders
    if len(orders) < len(sandbox.amazon.orders) or not sandbox.floor.idle():
        return False
    return stack.orders(_VERIFIED) >= sum(len(one.packages) for one in list(orders.values()))


def _quarter(looks: Sequence[_Look], number: int) -> Sequence[_Look]:
    return looks[len(looks) * number // 4 : len(looks) * (number + 1) // 4]


def _oldest(ours: Sequence[_Look], reference: Sequence[_Look], what: int) -> tuple[float, float]:
    """The greatest age in each of the two."""
    ages = [[(one.unpushed, one.unverified)[what] for one in looks] for looks in (ours, reference)]
    return max(ages[0], default=0.0), max(ages[1], default=0.0)
