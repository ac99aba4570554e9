"""How much a benchmark does: `FULL` gives figures to compare, `SMALL` shows in seconds that all of it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """One size of every benchmark."""

    # Limits: seconds of hammering, seconds a measured rate lasts, processes side by side.
    hammer_seconds: float
    take_seconds: float
    processes: int
    # The vault: records sealed and opened a round, orders shredded and audited.
    records: int
    shredded_orders: int
    # The compliance checks: orders in the larger store; the smaller one has a hundredth.
    checked_orders: int
    # A peak: orders that come at once. A mixed day: orders, and the seconds over which they come.
    peak_orders: int
    day_orders: int
    day_seconds: float
    # Messages on the queue that are drained a round.
    drained_messages: int
    # Pushes to a Tryton a round.
    tryton_pushes: int
    # Latency: first messages of a quiet shop, each after a floor's; crowds; messages of a steady one, one in three
    # seconds.
    quiet_messages: int
    crowds: int
    steady_messages: int
    # A busy day: its hours. A backfill: orders of a month, and live orders before, beside and after it.
    sustained_hours: float
    backfilled_orders: int
    live_orders: int
    # Growth: orders in the larger store, a hundredth in the smaller one; rounds of each.
    stored_orders: int
    sync_rounds: int
    # The order board: open orders on the larger one, a hundredth on the smaller one; looks at each.
    board_orders: int
    board_rounds: int
    # Accounts of one deployment, beside one alone, and the orders of each measurement, one in two seconds.
    accounts: int
    account_orders: int


FULL = Workload(
    hammer_seconds=10.0,
    take_seconds=3.0,
    processes=4,
    records=50_000,
    shredded_orders=100_000,
    checked_orders=1_000_000,
    peak_orders=1_000,
    day_orders=160,
    day_seconds=60.0,
    drained_messages=400,
    tryton_pushes=80,
    quiet_messages=10,
    crowds=3,
    steady_messages=60,
    sustained_hours=8.0,
    backfilled_orders=4_000,
    live_orders=20,
    stored_orders=1_000_000,
    sync_rounds=15,
    board_orders=10_000,
    board_rounds=9,
    accounts=50,
    account_orders=150,
)
SMALL = Workload(
    hammer_seconds=1.0,
    take_seconds=0.1,
    processes=2,
    records=50,
    shredded_orders=400,
    checked_orders=400,
    peak_orders=10,
    day_orders=20,
    day_seconds=8.0,
    drained_messages=100,
    tryton_pushes=4,
    quiet_messages=1,
    crowds=1,
    steady_messages=2,
    sustained_hours=0.2,
    backfilled_orders=2_600,
    live_orders=2,
    stored_orders=400,
    sync_rounds=1,
    board_orders=100,
    board_rounds=1,
    accounts=3,
    account_orders=3,
)
WORKLOADS = {"full": FULL, "small": SMALL}
