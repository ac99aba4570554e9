"""`make chaos`: a day of orders while the daemon, the code server, run workers and PostgreSQL are killed at random.

Nothing here helps the pipeline: once the kills stop, it must settle by itself.

The same seed kills the same kinds of process in the same order at the same planned times; what exactly it hits depends
on the machine. Amazon and the warehouse take their time to answer, so that kills hit open calls whose effect is done
and whose answer never came.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.connect import DAGSTER_DATABASE, ORDERS_DATABASE
from orders_pipeline.database.embedded import EmbeddedPostgresError, find_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline_tests.chaos.installation import Installation, InstallationFailed, tryton_folder_of
from warehouses.tryton.server import prepare

TARGETS = ("run_worker", "code_server", "daemon", "postgres")
# With a Tryton as the warehouse its server is killed too: both sides of a push.
TARGETS_WITH_TRYTON = (*TARGETS, "tryton")
# How long a kill waits for its victim: a run that has begun its work, a server that is just coming back.
VICTIM_PATIENCE_SECONDS = 60.0
# How long, before that, half of the kills of a worker wait for the worst moment.
WORST_MOMENT_PATIENCE_SECONDS = 15.0
# After the effect, before the answer: what a kill in between leaves is a push whose outcome is not known.
SLOW_ANSWERS = (("amazon", "getOrder", 0.1), ("amazon", "confirmShipment", 0.3), ("warehouse", "put_order", 0.4))

_console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL. `where` is what was under way: job and asset of the run that it hit, or of those running then."""

    at: float
    wall: float
    target: str
    where: str


@dataclass(slots=True)
class Outcome:
    """What the ledgers say at the end; right if `wrong` is empty."""

    orders: int
    kills: list[Kill]
    wrong: list[str]
    settled_seconds: float | None
    wall_seconds: float
    ledger: dict[str, Any]
    starts: dict[str, int]
    runs: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    next_success: dict[int, float] = field(default_factory=dict[int, float])


def play(
    folder: Path,
    *,
    orders: int,
    kills: int,
    duration_seconds: float,
    seed: int,
    patience_seconds: float,
    wms: str = "rest",
    notify: Callable[[str], None] = print,
) -> Outcome:
    """Play the day, kill, let it settle, judge. `patience_seconds` count from the last kill."""
    if wms == "tryton":
        prepare(notify)
    began = time.monotonic()
    with Installation(folder, wms=wms, orders=orders, duration_seconds=duration_seconds, seed=seed) as installation:
        for server, operation, seconds in SLOW_ANSWERS:
            body = {"kind": "slow_after", "server": server, "operation": operation, "times": None, "seconds": seconds}
            installation.tell_sandbox("faults", body)
        notify(f"up after {time.monotonic() - began:.0f} s; {orders} orders over {duration_seconds:.0f} s")
        installation.tell_sandbox("day/start")
        targets = TARGETS_WITH_TRYTON if wms == "tryton" else TARGETS
        done = _kill_at_random(installation, targets, kills, duration_seconds, random.Random(seed), notify)
        last = time.monotonic()
        settled = _await_end(installation, patience_seconds, notify)
        outcome = Outcome(
            orders=orders,
            kills=done,
            wrong=_judge(installation, orders),
            settled_seconds=time.monotonic() - last if settled else None,
            wall_seconds=time.monotonic() - began,
            ledger=installation.ask_sandbox("ledger"),
            starts={
                "code_server": installation.code_server.starts,
                "daemon": installation.daemon.starts,
                "postgres": installation.postgres.starts,
            },
        )
        _look_at_runs(installation, outcome)
        return outcome


def _kill_at_random(
    installation: Installation,
    kinds: Sequence[str],
    kills: int,
    duration_seconds: float,
    chance: random.Random,
    notify: Callable[[str], None],
) -> list[Kill]:
    started = time.monotonic()
    targets: list[str] = []
    while len(targets) < kills:
        targets += chance.sample(kinds, len(kinds))
    moments = sorted(chance.uniform(0.1, 1.0) * duration_seconds for _ in range(kills))
    done: list[Kill] = []
    for moment, target in zip(moments, targets, strict=False):
        time.sleep(max(moment - (time.monotonic() - started), 0.0))
        kill = _kill(installation, target, chance, started)
        done.append(kill)
        notify(f"{kill.at:6.1f} s  killed {kill.target}: {kill.where}")
    return done


def _kill(installation: Installation, target: str, chance: random.Random, started: float) -> Kill:
    """Kill one; a run worker that does not come is replaced by the code server, which would have started it."""
    if target == "run_worker":
        # Half of them at the worst moment: the call is open, its effect is done, and nobody has heard so.
        worst, pause = chance.random() < 0.5, chance.uniform(0.0, 0.8)
        where = _until(lambda: _kill_run_worker(installation, None), WORST_MOMENT_PATIENCE_SECONDS) if worst else None
        where = where or _until(lambda: _kill_run_worker(installation, pause), VICTIM_PATIENCE_SECONDS)
        if where is not None:
            return Kill(time.monotonic() - started, time.time(), target, where)
        target = "code_server"
    kill_it = {
        "code_server": installation.code_server.kill,
        "daemon": installation.daemon.kill,
        "postgres": installation.postgres.kill,
        "tryton": installation.kill_tryton,
    }[target]

    def kill() -> str | None:
        under_way = _under_way(installation)
        return None if kill_it() is None else under_way

    where = _until(kill, VICTIM_PATIENCE_SECONDS)
    if where is None:
        raise InstallationFailed(f"{target} did not come back within {VICTIM_PATIENCE_SECONDS:.0f} s")
    return Kill(time.monotonic() - started, time.time(), target, where)


def _until(attempt: Callable[[], str | None], patience_seconds: float) -> str | None:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if (result := attempt()) is not None:
            return result
        time.sleep(0.02)
    return None


def _kill_run_worker(installation: Installation, pause: float | None) -> str | None:
    """The newest worker that has begun its run, after the pause or (None) while it has a call open; None if none is."""
    open_calls = _open_calls(installation) if pause is None else {}
    if pause is None and not open_calls:
        return None
    for worker in reversed(installation.run_workers()):
        # Dagster's own event of the process: the one place where pid and run meet.
        found = _rows(
            installation,
            DAGSTER_DATABASE,
            "select e.run_id, r.pipeline_name from event_logs e join runs r using (run_id) "
            "where e.event like %(marker)s and r.status = 'STARTED' order by e.id desc limit 1",
            marker=f"%Started process for run (pid: {worker.pid})%",
        )
        if not found or (pause is None and found[0][1] not in open_calls):
            continue
        time.sleep(pause or 0.0)
        if worker.is_running():
            worker.kill()
            return _where(installation, *found[0]) + open_calls.get(found[0][1], "")
    return None


def _open_calls(installation: Installation) -> dict[str, str]:
    """By job: what it is just telling somebody. Older ones were left by an earlier kill."""
    rows = _rows(
        installation,
        ORDERS_DATABASE,
        "select 'sync_orders', count(*), 'pushes' from pipeline.fulfillment_orders "
        "where state = 'pushing' and changed_at > clock_timestamp() - interval '0.4 s' union all "
        "select 'confirm_shipments', count(*), 'confirmations' from pipeline.shipment_confirmations "
        "where state = 'sending' and changed_at > clock_timestamp() - interval '0.3 s'",
    )
    return {job: f", {count} {what} open" for job, count, what in rows if count}


def _under_way(installation: Installation) -> str:
    runs = _rows(
        installation,
        DAGSTER_DATABASE,
        "select run_id, pipeline_name from runs where status in ('STARTING', 'STARTED')",
    )
    return ", ".join(_where(installation, *run) for run in runs) or "between runs"


def _where(installation: Installation, run_id: str, job: str) -> str:
    newest = _rows(
        installation,
        DAGSTER_DATABASE,
        "select step_key, dagster_event_type from event_logs where run_id = %(run_id)s and step_key is not null "
        "order by id desc limit 1",
        run_id=run_id,
    )
    if not newest:
        return f"{job} (starting)"
    step, event = newest[0]
    return f"{job}, after {step}" if event == "STEP_SUCCESS" else f"{job}, in {step}"


def _rows(installation: Installation, database: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    try:
        return installation.query(database, statement, **values)
    except (SQLAlchemyError, EmbeddedPostgresError):
        return []  # PostgreSQL is away: somebody killed it


def _await_end(installation: Installation, patience_seconds: float, notify: Callable[[str], None]) -> bool:
    deadline, told = time.monotonic() + patience_seconds, 0.0
    while time.monotonic() < deadline:
        # An event that is still on the queue may still change something.
        if installation.ask_sandbox("day")["done"] and installation.ask_sandbox("ledger")["queue"]["depth"] == 0:
            return True
        if time.monotonic() - told > 10:
            told = time.monotonic()
            totals = installation.ask_sandbox("verdicts")["totals"]
            notify(f"          {totals['ok']} of {totals['orders']} orders are where they belong")
        time.sleep(0.5)
    return False


def _judge(installation: Installation, orders: int) -> list[str]:
    """By Amazon's and the warehouse's own books; the pipeline is asked for its audit chain only."""
    verdicts, ledger = installation.ask_sandbox("verdicts"), installation.ask_sandbox("ledger")
    wrong = [f"{one['order_id']} {one['scenario']}: {one['why']}" for one in verdicts["verdicts"] if not one["ok"]]
    if verdicts["totals"]["orders"] != orders:
        wrong.append(f"{verdicts['totals']['orders']} orders were played, not {orders}")
    if twice := ledger["warehouse"]["pushed_with_two_contents"]:
        wrong.append(f"pushed with two contents: {twice}")
    # After an unknown outcome both are looked for first: a repetition that happens to do no harm is wrong all the same.
    if again := ledger["warehouse"]["calls"].get("put_order", {}).get("same"):
        wrong.append(f"{again} pushes told the warehouse what it had")
    if again := ledger["amazon"]["confirmations"].get("repeated"):
        wrong.append(f"{again} confirmations told Amazon what it had")
    if ledger["queue"]["depth"]:
        wrong.append(f"{ledger['queue']['depth']} messages are still on the queue")
    server = find_embedded(installation.folder)
    if server is None:
        return [*wrong, "PostgreSQL is away"]
    database = Database(server.url(ORDERS_DATABASE))
    try:
        chain = AuditLog(database).verify()
    finally:
        database.close()
    return wrong if chain.ok else [*wrong, f"the audit chain is broken: {chain}"]


def _look_at_runs(installation: Installation, outcome: Outcome) -> None:
    rows = _rows(installation, DAGSTER_DATABASE, "select pipeline_name, status, start_time, end_time from runs")
    outcome.runs.update((job, status) for job, status, _, _ in rows)
    succeeded = [(start, end) for _, status, start, end in rows if status == "SUCCESS" and start and end]
    for index, kill in enumerate(outcome.kills):
        later = [end - kill.wall for start, end in succeeded if start > kill.wall]
        if later:
            outcome.next_success[index] = min(later)


def report(outcome: Outcome) -> None:
    table = Table("at", "killed", "while", "next run done after", title="Kills")
    for index, kill in enumerate(outcome.kills):
        after = outcome.next_success.get(index)
        table.add_row(f"{kill.at:.0f} s", kill.target, kill.where, "-" if after is None else f"{after:.0f} s")
    _console.print(table)
    runs = Table("job", "status", "runs", title="Dagster's runs")
    for (job, status), count in sorted(outcome.runs.items()):
        runs.add_row(job, status, str(count))
    _console.print(runs)
    calls = outcome.ledger["warehouse"]["calls"].get("put_order", {})
    _console.print(f"pushes {calls}, confirmations {outcome.ledger['amazon']['confirmations']}")
    settled = "never" if outcome.settled_seconds is None else f"{outcome.settled_seconds:.0f} s after the last kill"
    by_target = Counter(kill.target for kill in outcome.kills)
    _console.print(f"{len(outcome.kills)} kills {dict(by_target)}; starts {outcome.starts}")
    _console.print(f"settled {settled}; {outcome.wall_seconds:.0f} s in all")
    for line in outcome.wrong[:30]:
        _console.print(f"[red]{line}[/]")


@click.command()
@click.option("--orders", default=300, show_default=True)
@click.option("--kills", default=30, show_default=True)
@click.option("--duration", default=240.0, show_default=True, help="Seconds over which orders arrive and kills fall.")
@click.option("--seed", default=1, show_default=True)
@click.option("--patience", default=300.0, show_default=True, help="Seconds to settle after the last kill.")
@click.option("--wms", type=click.Choice(("rest", "tryton")), default="rest", show_default=True, help="The warehouse.")
@click.option("--keep", is_flag=True, help="Keep the folder with the logs; it is kept anyway if something is wrong.")
def main(orders: int, kills: int, duration: float, seed: int, patience: float, wms: str, keep: bool) -> None:
    """A day of orders under SIGKILL; exit code 0 only if every order ends where it belongs."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = play(
        folder,
        orders=orders,
        kills=kills,
        duration_seconds=duration,
        seed=seed,
        patience_seconds=patience,
        wms=wms,
        notify=_console.print,
    )
    report(outcome)
    if keep or outcome.wrong:
        _console.print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
        shutil.rmtree(tryton_folder_of(folder), ignore_errors=True)
    if outcome.wrong:
        _console.print("[bold red]Not every order is where it belongs.[/]")
        sys.exit(1)
    _console.print("[bold green]Every order is where it belongs.[/]")


if __name__ == "__main__":
    main()
