"""How long from a message on the queue until the warehouse has accepted its order, by the real daemon.

The reference is Dagster itself: from a message until a run has materialized an asset that does nothing, asked for by a
sensor like ours, on the same SQS server, under the same `dagster.yaml`, measured in turns with ours.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from bench import latency_floor
from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.database.connect import DAGSTER_DATABASE
from orders_pipeline.database.embedded import EmbeddedPostgres, find_embedded
from orders_pipeline.database.migrate import ensure_database_exists
from orders_pipeline.demo import running_pipeline
from orders_pipeline.operations.processes import stop_tree
from orders_pipeline.operations.serve import choose_port
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import project_root

TITLE = "Latency"
# Somebody who waits this long for one order waits for something that is broken.
PATIENCE_SECONDS = 120.0
# So often is looked whether it has come: the measurement's own error.
LOOK_EVERY_SECONDS = 0.01
# Slower than the quota allows: one `getOrder` in two seconds.
STEADY_EVERY_SECONDS = 3.0
# Twice what getOrder allows at once.
CROWD = 60
RUNS = "select count(*) from runs where status in ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"


def run(workload: Workload) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with ExitStack() as stack:
            sandbox = stack.enter_context(Sandbox(floor=FloorOptions(automatic=False)))
            stack.enter_context(running_pipeline(folder, sandbox.environment(), choose_port(None)))
            server = find_embedded(folder)
            assert server is not None
            floor = stack.enter_context(_floor(folder, sandbox, server))
            dagster = create_engine(server.url(DAGSTER_DATABASE))
            stack.callback(dagster.dispose)
            return _measure(workload, sandbox, floor, dagster)
    finally:
        shutil.rmtree(folder)


def _measure(workload: Workload, sandbox: Sandbox, floor: Callable[[], float], dagster: Engine) -> list[Row]:
    # What is loaded and logged in at first use is not what is measured.
    floor()
    _accepted(sandbox)
    first, floors = list[float](), list[float]()
    for _ in range(workload.quiet_messages):
        floors.append(floor())
        await_(lambda: _count(dagster, RUNS) == 0, "the shop to be quiet")
        first.append(_accepted(sandbox))
    crowds = list[float]()
    for _ in range(workload.crowds):
        await_(lambda: _count(dagster, RUNS) == 0, "the shop to be quiet")
        crowds.append(_first_of_a_crowd(sandbox))
    notify(f"first of {CROWD} at once: {shown(crowds)}")
    notify(f"first message of a quiet shop: {shown(first)}; the floor: {shown(floors)}")
    await_(lambda: _count(dagster, RUNS) == 0, "the shop to be quiet")
    events, runs = _count(dagster, "select count(*) from event_logs"), _count(dagster, "select count(*) from runs")
    # The run that the first one starts is not steady yet; it counts as one of the runs.
    _accepted(sandbox)
    steady = _steady(sandbox, workload.steady_messages)
    events, runs = (
        _count(dagster, "select count(*) from event_logs") - events,
        _count(dagster, "select count(*) from runs") - runs,
    )
    notify(f"a message every {STEADY_EVERY_SECONDS:.0f} s: {shown(steady)}")
    name = "message to accepted, of the bare Dagster floor"
    return [
        row(f"{name}: first of a quiet shop, p50", share(first, 50), share(floors, 50), "<= 1.3"),
        row(f"{name}: first of a quiet shop, p95", share(first, 95), share(floors, 95), "<= 1.3"),
        row(f"{name}: first of {CROWD} at once", share(crowds, 50), share(floors, 50), "<= 2"),
        row(f"{name}: steady, p50", share(steady, 50), share(floors, 50), "<= 0.4"),
        row(f"{name}: steady, p95", share(steady, 95), share(floors, 95), "<= 0.8"),
        row("steady: Dagster's event rows, an order", events, len(steady) + 1, "falling"),
        row("steady: runs, an order", runs, len(steady) + 1, "falling"),
    ]


def _accepted(sandbox: Sandbox) -> float:
    """The seconds until the warehouse has accepted a new order."""
    began = time.monotonic()
    order_id = sandbox.add_order(status="UNSHIPPED").order_id
    await_(lambda: _is_accepted(sandbox, order_id), f"order {order_id}")
    return time.monotonic() - began


def _first_of_a_crowd(sandbox: Sandbox) -> float:
    """The seconds until the warehouse has accepted one of many orders that came at once; all of them are waited for."""
    began = time.monotonic()
    order_ids = [sandbox.add_order(status="UNSHIPPED").order_id for _ in range(CROWD)]
    await_(lambda: any(_is_accepted(sandbox, one) for one in order_ids), "one of many orders")
    first = time.monotonic() - began
    await_(lambda: all(_is_accepted(sandbox, one) for one in order_ids), "all of many orders")
    return first


def _steady(sandbox: Sandbox, messages: int) -> list[float]:
    """The seconds of each of so many orders, one every three seconds, whatever became of those before."""
    began, waiting, taken = time.monotonic(), dict[str, float](), list[float]()
    sent = 0
    while len(taken) < messages:
        now = time.monotonic()
        if sent < messages and now - began >= sent * STEADY_EVERY_SECONDS:
            waiting[sandbox.add_order(status="UNSHIPPED").order_id] = now
            sent += 1
        for order_id in [one for one in waiting if _is_accepted(sandbox, one)]:
            taken.append(now - waiting.pop(order_id))
        if now - began > messages * STEADY_EVERY_SECONDS + PATIENCE_SECONDS:
            raise TimeoutError(f"{len(waiting)} orders of a steady shop are not at the warehouse")
        time.sleep(LOOK_EVERY_SECONDS)
    return taken


def _is_accepted(sandbox: Sandbox, order_id: str) -> bool:
    known = sandbox.warehouse.orders.get(order_id)
    return known is not None and known.status == "accepted"


@contextmanager
def _floor(folder: Path, sandbox: Sandbox, server: EmbeddedPostgres) -> Generator[Callable[[], float]]:
    """Dagster with the trivial asset; what is yielded measures it once."""
    home = folder / "floor"
    home.mkdir()
    shutil.copyfile(project_root() / "dagster.yaml", home / "dagster.yaml")
    ensure_database_exists(server.url("floor"))
    client = sandbox.queue.client()
    queue_url, done = client.create_queue(QueueName="floor")["QueueUrl"], home / "done"
    environment = {
        **os.environ,
        **sandbox.environment(),
        "ORDERS_ENV_FILE": os.devnull,
        "ORDERS_DATA_DIR": str(folder),
        "DAGSTER_POSTGRES_URL": server.url("floor"),
        "DAGSTER_HOME": str(home),
        latency_floor.QUEUE_URL: queue_url,
        latency_floor.DONE: str(done),
    }
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", latency_floor.__name__]

    def measure() -> float:
        done.unlink(missing_ok=True)
        began = time.monotonic()
        client.send_message(QueueUrl=queue_url, MessageBody="-")
        await_(done.exists, "the floor")
        return time.monotonic() - began

    with (home / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=project_root(), start_new_session=True
        )
    try:
        yield measure
    finally:
        stop_tree(daemon.pid)


def await_(ready: Callable[[], bool], what: str) -> None:
    """Wait until it is so. Raises TimeoutError naming `what`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(LOOK_EVERY_SECONDS)


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def share(times: Sequence[float], percent: int) -> float:
    """The time within which so many per cent of the samples were done: the nearest sample, none is made up."""
    return sorted(times)[min(len(times) - 1, max(0, -(-len(times) * percent // 100) - 1))]


def shown(times: Sequence[float]) -> str:
    """The samples for a person."""
    return f"median {statistics.median(times):.1f} s of {', '.join(f'{one:.1f}' for one in times)}"
