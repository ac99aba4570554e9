"""The rate limits under pressure: are they kept, are they used, and what does a token cost?

Four processes hammer getOrder of one seller through the real client, for ten minutes of the sandbox's quota at sixty
times its pace: the bucket refills 30 tokens a second, for ten seconds. The sandbox's own bucket is the judge: it is
strict, in another process than the clients, and knows nothing of ours.

Then tokens a second on a bucket that never runs dry, against the bare round trip: `select 1` through the same pool.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy import text

from bench.table import Row, row
from bench.workload import Workload
from orders_pipeline.channels.amazon.client import open_amazon
from orders_pipeline.channels.amazon.errors import LimitNotBefore
from orders_pipeline.channels.amazon.quota.limits import Limits
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER, Operation
from orders_pipeline.channels.amazon.timing import Timing
from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.model.order import Priority
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.providers.keyring import LocalKeyring

TITLE = "Limits"
PACE = 60
ENDLESS = Operation("bench", "GET", "/bench", rate=1e7, burst=10_000_000)

Times = list[float]
_NOTHING = text("select 1")


def run(workload: Workload) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as folder:
        server = start_embedded(Path(folder))
        try:
            url = server.url("bench")
            ensure_database_exists(url)
            database = Database(url)
            upgrade(database)
            rows = [*_hammered(url, Path(folder), workload), *_takes(url, workload)]
            database.close()
        finally:
            server.stop()
    return rows


def _hammered(url: str, folder: Path, workload: Workload) -> list[Row]:
    with Sandbox(time_scale=PACE, floor=FloorOptions(automatic=False), subscribed=False) as sandbox:
        order_id = sandbox.add_order(notify=False).order_id
        keyring = folder / "keyring.json"
        LocalKeyring(keyring).current_key_id()
        context = multiprocessing.get_context("spawn")
        start = context.Barrier(workload.processes)
        answers: multiprocessing.Queue[Times] = context.Queue()
        processes = [
            context.Process(
                target=_hammer,
                args=(url, sandbox.environment(), str(keyring), order_id, workload.hammer_seconds, start, answers),
            )
            for _ in range(workload.processes)
        ]
        for process in processes:
            process.start()
        moments = sorted(moment for _ in processes for moment in answers.get(timeout=120))
        for process in processes:
            process.join()
        throttled = sandbox.amazon.ledger.throttled["getOrder"]
        requests = sandbox.amazon.ledger.requests["getOrder"]
    rate = GET_ORDER.rate * PACE
    span = moments[-1] - moments[0]
    bound = GET_ORDER.burst + rate * span
    return [
        row(f"{workload.processes} processes: calls, of the quota", len(moments), bound, ">= 0.95, <= 1"),
        row(
            f"{workload.processes} processes: most beyond the refill, of the burst",
            _excess(moments, rate),
            GET_ORDER.burst,
            "<= 1",
        ),
        row(f"{workload.processes} processes: 429s, of all calls", throttled, requests, "0"),
    ]


def _hammer(
    url: str,
    environment: dict[str, str],
    keyring: str,
    order_id: str,
    seconds: float,
    start: Barrier,
    answers: multiprocessing.Queue[Times],
) -> None:
    database = Database(url)
    client = open_amazon(load_settings(environment).require_amazon(), database, LocalKeyring(Path(keyring)))
    client.tokens.current(client.transport.deadline(10))
    start.wait()
    end = time.time() + seconds
    moments: Times = []
    while (left := end - time.time()) > 0:
        try:
            client.orders.get_order(order_id, deadline_seconds=left)
        except LimitNotBefore:
            break
        moments.append(time.time())
    answers.put(moments)
    client.close()
    database.close()


def _excess(moments: Times, rate: float) -> float:
    """The most calls in any window beyond what the refill gives in it: at most the bucket's size."""
    lowest, worst = float("inf"), 0.0
    for index, moment in enumerate(moments):
        level = index - rate * (moment - moments[0])
        lowest = min(lowest, level)
        worst = max(worst, level - lowest + 1)
    return worst


def _takes(url: str, workload: Workload) -> list[Row]:
    database = Database(url)
    limits = Limits(database, application_id="bench", seller_id="bench", region="na")
    deadline = Timing().deadline(3600)
    ours = _per_second(lambda: limits.acquire(ENDLESS, Priority.EVENT, deadline), workload.take_seconds)
    engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")

    def round_trip() -> None:
        with engine.connect() as connection:
            connection.execute(_NOTHING)

    reference = _per_second(round_trip, workload.take_seconds)
    rows = [row("takes a second, of bare round trips", ours, reference, ">= 0.25")]
    rows.append(row(f"takes a second of {workload.processes} processes, of one's", _crowd(url, workload), ours, ">= 1"))
    database.close()
    return rows


def _crowd(url: str, workload: Workload) -> float:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(workload.processes)
    answers: multiprocessing.Queue[float] = context.Queue()
    processes = [
        context.Process(target=_take_alone, args=(url, workload.take_seconds, start, answers))
        for _ in range(workload.processes)
    ]
    for process in processes:
        process.start()
    total = sum(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    return total


def _take_alone(url: str, seconds: float, start: Barrier, answers: multiprocessing.Queue[float]) -> None:
    database = Database(url)
    limits = Limits(database, application_id="bench", seller_id="bench", region="na")
    deadline = Timing().deadline(3600)
    limits.acquire(ENDLESS, Priority.EVENT, deadline)
    start.wait()
    answers.put(_per_second(lambda: limits.acquire(ENDLESS, Priority.EVENT, deadline), seconds))
    database.close()


def _per_second(action: Callable[[], object], seconds: float) -> float:
    for _ in range(50):
        action()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        action()
        done += 1
    return done / (time.perf_counter() - started)
