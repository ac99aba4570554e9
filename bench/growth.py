"""What a shop's age costs: a sync beside a million orders against one beside a hundredth, and what runs leave behind.

Both stores are worked on in turns, each by a process of its own, with Amazon and the warehouse in that process: what is
measured is our own work and the database's. What a run leaves in Dagster's event log is compared with a bare run's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from bench.compliance import peak_megabytes
from bench.filled_store import fill
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.database.embedded import EmbeddedPostgres, start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.dagster_history_rows import runs_of_the_last_day
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import Pipeline
from orders_pipeline_tests.world import World, open_world

TITLE = "Growth"
ORDERS_A_SYNC = 20
# A hundredth of a full-sized store is large enough for the planner to use its indexes; of a small one it is not.
FEW, MANY = "few", "many"
JOBS = ("sync_orders", "confirm_shipments", "sweep_orders", "refresh_reports", "shred_expired_pii")


class Costs(NamedTuple):
    """Of one round: seconds of the sync, of the way from package to verification, and of what sensors look at."""

    sync: float
    shipment: float
    look: float
    peak_megabytes: float


def run(workload: Workload) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as folder:
        server = start_embedded(Path(folder))
        try:
            return [*_syncs(server, Path(folder), workload), *_history(server, Path(folder))]
        finally:
            server.stop()


# --- syncs


def _syncs(server: EmbeddedPostgres, folder: Path, workload: Workload) -> list[Row]:
    orders = workload.stored_orders
    for name, number in ((FEW, orders // 100), (MANY, orders)):
        _filled(server.url(name), number)
    with _worker(server.url(FEW), folder / FEW) as few, _worker(server.url(MANY), folder / MANY) as many:
        # The first round loads and plans what the others find ready.
        rounds = [(_ask(few), _ask(many)) for _ in range(workload.sync_rounds + 1)][1:]
    small, large = [one for one, _ in rounds], [one for _, one in rounds]
    beside = f"beside {orders:,} orders, against 1/100"
    return [
        row(f"sync of {ORDERS_A_SYNC} orders, ms {beside}", _median(large, 0), _median(small, 0), "<= 1.3"),
        row(f"their packages told and verified, ms {beside}", _median(large, 1), _median(small, 1), "<= 1.3"),
        row(f"a look of the sensors, ms {beside}", _median(large, 2), _median(small, 2), "<= 1.3"),
        row(f"peak MB of a sync {beside}", large[-1].peak_megabytes, small[-1].peak_megabytes, "<= 1.2"),
    ]


def _median(rounds: Sequence[Costs], place: int) -> float:
    return statistics.median(costs[place] for costs in rounds) * 1000


def _filled(url: str, orders: int) -> None:
    ensure_database_exists(url)
    database = Database(url)
    upgrade(database)
    fill(database, account_id=SELLER, orders=orders, notify=notify)
    database.close()


@contextmanager
def _worker(url: str, folder: Path) -> Generator[subprocess.Popen[str]]:
    folder.mkdir()
    command = [sys.executable, "-m", "bench.growth", url, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        yield process


def _ask(worker: subprocess.Popen[str]) -> Costs:
    """One round of this worker, while the other one waits."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return Costs(*json.loads(worker.stdout.readline()))


def _work(url: str, folder: str) -> None:
    database = Database(url)
    world = open_world(database, Path(folder))
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(_round(world)) + "\n")
        sys.stdout.flush()


def _round(world: World) -> Costs:
    order_ids = [world.order(hear=False) for _ in range(ORDERS_A_SYNC)]
    world.hear()
    started = time.perf_counter()
    world.sync()
    synced = time.perf_counter()
    for order_id in order_ids:
        assert world.state(order_id) == "accepted"
        world.ship(order_id)
    shipped = time.perf_counter()
    world.poll()
    world.confirm()
    world.sql("update pipeline.jobs set due_at = clock_timestamp() where queue = 'verify'")
    world.verify()
    verified = time.perf_counter()
    # What Amazon's lists do not show yet is verified in a later round.
    assert {world.one(_PACKAGES, order_id).state for order_id in order_ids} <= {"accepted", "confirmed"}
    looked = time.perf_counter()
    with world.database.transaction(SELLER) as tx:
        pending_work(tx)
    for who in (NOBODY, SELLER):
        assert not evaluate(world.database, who, ALERTS).failed
    return Costs(synced - started, verified - shipped, time.perf_counter() - looked, peak_megabytes())


_PACKAGES = "pipeline.shipment_confirmations"


# --- history


@dg.asset
def nothing() -> None:
    """What Dagster itself writes of a run."""


def _history(server: EmbeddedPostgres, folder: Path) -> list[Row]:
    """Of each job, run once after an order has come, been pushed and been shipped."""
    for name in ("orders", "dagster"):
        ensure_database_exists(server.url(name))
    orders, home = Database(server.url("orders")), folder / "home"
    upgrade(orders)
    home.mkdir()
    storage = {"postgres": {"postgres_url": server.url("dagster")}}
    with (
        # Dagster tells each event of a run in this process.
        redirect_stderr(StringIO()),
        Sandbox() as sandbox,
        _environment(sandbox, {"ORDERS_DATABASE_URL": server.url("orders"), "ORDERS_DATA_DIR": str(folder / "data")}),
        dg.instance_for_test(overrides={"storage": storage}, temp_dir=str(home)) as instance,
    ):
        pipeline = Pipeline(instance)
        sandbox.add_order()
        pipeline.tick("drain_notifications_sensor")
        for job in JOBS[1:]:
            pipeline.run(job)
        dg.materialize([nothing], instance=instance)
        dagster = Database(server.url("dagster"))
        with dagster.begin() as connection:
            written = {one.job: one for one in runs_of_the_last_day(connection, 100)}
        dagster.close()
    orders.close()
    bare = written.pop("__ephemeral_asset_job__")
    rows = [row(f"event rows of a run of {job}, a bare run's", one.events / one.runs, bare.events, "falling")
            for job, one in sorted(written.items())]  # fmt: skip
    return rows + [
        row(
            f"kB in the event log of a run of {job}, a bare run's",
            one.bytes / one.runs / 1e3,
            bare.bytes / 1e3,
            "falling",
        )
        for job, one in sorted(written.items())
    ]


@contextmanager
def _environment(sandbox: Sandbox, more: dict[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update({**sandbox.environment(), "ORDERS_ENV_FILE": os.devnull, **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    _work(*sys.argv[1:])
