"""`make demo` and `make dev`: the sandbox and the real Dagster, side by side, on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import requests
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import create_engine, text

from orders_pipeline.database.connect import DAGSTER_DATABASE, ORDERS_DATABASE
from orders_pipeline.database.embedded import find_embedded, postgres_folder, start_embedded
from orders_pipeline.http.sessions import open_session
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.processes import stop_tree
from orders_pipeline.operations.serve import choose_port
from orders_pipeline.settings import project_root

# With it Amazon's getOrder limit of one call in two seconds allows some twenty a second (sandbox: refill rates only).
DEMO_TIME_SCALE = 40
START_PATIENCE_SECONDS = 90

# Beside the package, and no part of it: what starts a Tryton (GPL) as a process of its own.
CHECKOUT = Path(__file__).resolve().parents[1]
TRYTON = (sys.executable, "-m", "warehouses.tryton")

_console = Console(highlight=False)


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened and where to look."""


@click.command()
@click.option("--orders", default=160, show_default=True, help="Orders of the day.")
@click.option("--duration", default=60.0, show_default=True, help="Seconds over which they arrive.")
@click.option("--seed", default=1, show_default=True, help="The same seed plays the same day.")
@click.option("--stay", is_flag=True, help="Stay up, with orders at a gentle rate, until Ctrl-C (make dev).")
@click.option(
    "--wms",
    type=click.Choice(("rest", "tryton")),
    default="rest",
    show_default=True,
    help="The warehouse: the sandbox's own, or a real Tryton with somebody who works in it (WMS=tryton).",
)
@click.option(
    "--accounts",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Sellers in several regions, served by one deployment, who share the day's orders (ACCOUNTS=2).",
)
@click.option("--port", type=int, help="Port of the Dagster UI (default: PORT, or 3000).")
@click.option("--patience", default=330.0, show_default=True, help="Seconds until an unfinished day has failed.")
def main(
    orders: int, duration: float, seed: int, stay: bool, wms: str, accounts: int, port: int | None, patience: float
) -> None:
    """Play a day of orders through the whole pipeline, against a local Amazon, SQS and warehouse."""
    folder = project_root() / ".orders_pipeline" / ("dev" if stay else "demo")
    try:
        with _only_one(folder), ExitStack() as stack:
            _fresh(folder)
            ui_port = choose_port(port)
            webhooks = f"http://127.0.0.1:{ui_port}/webhooks/warehouse"
            environment = stack.enter_context(
                _sandbox(folder, wms, orders, duration, seed, webhooks, accounts, endless=stay)
            )
            if stay:
                # Who looks at it is at this machine: an asset's page opens the lines that make it.
                environment["ORDERS_SOURCE_URL"] = "file"
            url = stack.enter_context(running_pipeline(folder, environment, ui_port))
            sandbox = environment["SANDBOX_URL"]
            tryton = f" · Tryton {environment['WMS_BASE_URL']}" if wms == "tryton" else ""
            _console.print(f"Dagster UI {url} · sandbox {sandbox}{tryton}")
            if stay:
                _stay(sandbox)
                return
            finished = _play(sandbox, patience)
            ok = _summary(folder, sandbox) and finished
    except DemoFailed as error:
        _console.print(f"[bold red]The demo failed:[/] {escape(escaped(str(error)))}")
        sys.exit(1)
    if not ok:
        _console.print(f"[bold red]Not every order is where it belongs.[/] Logs are in {folder}.")
        sys.exit(1)
    _console.print("[bold green]Every order is where it belongs.[/]")


@contextmanager
def _only_one(folder: Path) -> Generator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed("it runs in this checkout already; stop that one first") from None
        yield


def _fresh(folder: Path) -> None:
    """Each demo begins with an empty store; what the last one left could be looked at until now."""
    running = find_embedded(folder)
    if running is not None:
        start_embedded(folder).stop()
    if postgres_folder(folder).exists() or folder.exists():
        shutil.rmtree(folder)
    shutil.rmtree(_tryton_folder(folder), ignore_errors=True)
    folder.mkdir(parents=True)


@contextmanager
def _sandbox(
    folder: Path, wms: str, orders: int, duration: float, seed: int, webhook_url: str, accounts: int, *, endless: bool
) -> Generator[dict[str, str]]:
    ready = folder / "sandbox.json"
    command = [sys.executable, "-m", "orders_pipeline.sandbox"]
    if wms == "tryton":
        _prepare_tryton()
        command = [*TRYTON, "--folder", str(_tryton_folder(folder))]
    command += ["--ready-file", str(ready), "--no-autostart"]
    command += ["--orders", str(orders), "--duration", str(duration), "--seed", str(seed)]
    command += ["--time-scale", str(DEMO_TIME_SCALE), "--webhook-url", webhook_url, "--accounts", str(accounts)]
    command += ["--endless"] if endless else []
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with _process(command, folder / "sandbox.log", environment) as process:
        _await("the sandbox", ready.exists, process, folder / "sandbox.log")
        environment = json.loads(ready.read_text(encoding="utf-8"))
        # It holds tokens, and this is the data folder, which the leak check looks through.
        ready.unlink()
        yield environment


def _with_accounts(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Of several sellers, the file that names them, as a person would write it."""
    accounts = environment.get("SANDBOX_ACCOUNTS")
    if accounts is None:
        return environment
    file = folder / "accounts.yaml"
    file.write_text(accounts, encoding="utf-8")
    file.chmod(0o600)
    one = ("AMAZON_SELLER_ID", "AMAZON_MARKETPLACE_ID", "AMAZON_REGION", "AMAZON_SQS_QUEUE_URL")
    return {**environment, **dict.fromkeys((*one, "AMAZON_LWA_REFRESH_TOKEN"), ""), "AMAZON_ACCOUNTS_FILE": str(file)}


def _tryton_folder(folder: Path) -> Path:
    """Beside the data folder: buyers' addresses are in Tryton's database in clear, as in any warehouse's."""
    return folder.with_name(f"{folder.name}-tryton")


def _prepare_tryton() -> None:
    """What takes a minute the first time: install Tryton beside us, and prepare its database."""
    if not (CHECKOUT / "warehouses" / "tryton").is_dir():
        raise DemoFailed("Tryton is started from a checkout of the repository, and this is an installed package")
    done = subprocess.run([*TRYTON, "--prepare"], cwd=CHECKOUT, check=False)  # noqa: S603 - our own interpreter and modules
    if done.returncode != 0:
        raise DemoFailed("Tryton could not be installed; what pip or Tryton said is above")


@contextmanager
def running_pipeline(folder: Path, sandbox: Mapping[str, str], port: int) -> Generator[str]:
    """`orders-pipeline up` against this sandbox, with its data in this folder; its address. Raises DemoFailed."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copyfile(project_root() / "dagster.yaml", home / "dagster.yaml")
    # Nothing of a real deployment may reach the demo, whatever the shell or .env holds.
    environment = {
        **os.environ,
        **dict.fromkeys(("ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL", "ORDERS_KMS_KEY_ID"), ""),
        "AMAZON_ACCOUNTS_FILE": "",
        **dict.fromkeys(("ORDERS_KEYRING_FILE", "ORDERS_SECRETS_ARN", "ORDERS_AUDIT_EXPORT", "SLACK_WEBHOOK_URL"), ""),
        **dict.fromkeys(("ORDERS_WEB_LISTEN", "ORDERS_WEB_USERS_FILE", "ORDERS_WEB_PROXY_HEADER"), ""),
        **dict.fromkeys(("ORDERS_WEB_HOSTNAMES", "ORDERS_WEB_REPORT_TOKEN", "ORDERS_WEB_REPORT_TOKEN_FILE"), ""),
        **dict.fromkeys(("WMS_WEBHOOK_SECRET", "WMS_WEBHOOK_SECRET_FILE"), ""),
        **dict.fromkeys(("SLACK_WEBHOOK_URL_FILE", "ORDERS_SMTP_HOST", "ORDERS_ALERTS_FROM", "ORDERS_ALERTS_TO"), ""),
        **dict.fromkeys(("ORDERS_ALERTS_FILE", "ORDERS_HEARTBEAT_URL", "ORDERS_HEARTBEAT_URL_FILE"), ""),
        "ORDERS_ENV_FILE": os.devnull,
        **_with_accounts(folder, sandbox),
        "ORDERS_DATA_DIR": str(folder),
        "DAGSTER_HOME": str(home),
        **({"AMAZON_ORDERS_API": os.environ["AMAZON_ORDERS_API"]} if "AMAZON_ORDERS_API" in os.environ else {}),
    }
    command = [sys.executable, "-m", "orders_pipeline.cli", "up", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _process(command, folder / "dagster.log", environment) as process:
        _await("Dagster", lambda: _answers(f"{url}/server_info"), process, folder / "dagster.log")
        yield url


@contextmanager
def _process(command: list[str], log: Path, environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=project_root(),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                stop_tree(process.pid)


def _await(what: str, ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    with _console.status(f"starting {what} …"):
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoFailed(f"{what} ended with code {process.returncode}; see {log}")
            if ready():
                return
            time.sleep(0.2)
    raise DemoFailed(f"{what} was not up after {START_PATIENCE_SECONDS} s; see {log}")


def _answers(url: str) -> bool:
    try:
        with open_session() as session:
            return session.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def _play(sandbox: str, patience: float) -> bool:
    """Start the day and watch it; whether it came to its end in time."""
    _post(f"{sandbox}/sandbox/day/start")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + patience
    with Progress(*columns, console=_console) as progress:
        task = progress.add_task("orders where they belong", total=None)
        while time.monotonic() < deadline:
            verdicts = _get(f"{sandbox}/sandbox/verdicts")
            totals = verdicts["totals"]
            progress.update(task, total=totals["orders"], completed=totals["ok"])
            if _get(f"{sandbox}/sandbox/day")["done"]:
                return True
            time.sleep(1)
    return False


def _stay(sandbox: str) -> None:
    _post(f"{sandbox}/sandbox/day/start")
    _console.print("Orders arrive until you press Ctrl-C.")
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopped:
        time.sleep(0.5)
    _console.print("stopping …")


def _summary(folder: Path, sandbox: str) -> bool:
    verdicts = _get(f"{sandbox}/sandbox/verdicts")["verdicts"]
    ledgers = _get(f"{sandbox}/sandbox/ledger")
    ledger, webhooks = ledgers["amazon"], ledgers["warehouse"]["calls"].get("webhook", {})
    by_expectation = Table("expected", "orders", "where they belong", title="The day")
    for expectation, count in sorted(Counter(one["expectation"] for one in verdicts).items()):
        right = sum(one["ok"] for one in verdicts if one["expectation"] == expectation)
        by_expectation.add_row(expectation, str(count), str(right), style=None if right == count else "red")
    _console.print(by_expectation)
    if len(sellers := sorted({one["seller_id"] for one in verdicts})) > 1:
        by_seller = Table("seller", "orders", "where they belong", title="The accounts")
        for seller_id in sellers:
            theirs = [one["ok"] for one in verdicts if one["seller_id"] == seller_id]
            by_seller.add_row(seller_id, str(len(theirs)), str(sum(theirs)), style=None if all(theirs) else "red")
        _console.print(by_seller)
    calls = Table("operation", "calls", "429s", title="Amazon, as the sandbox counted")
    for operation, count in sorted(ledger["requests"].items()):
        calls.add_row(operation, str(count), str(ledger["throttled"].get(operation, 0)))
    for name in ("token_requests", "confirmations"):
        for kind, count in sorted(ledger[name].items()):
            calls.add_row(f"{name}: {kind}", str(count), "")
    for answer, count in sorted(webhooks.items()):
        calls.add_row(f"the warehouse's webhooks: {answer}", str(count), "")
    _console.print(calls)
    _console.print(_runs(folder))
    wrong = [one for one in verdicts if not one["ok"]]
    for one in wrong[:20]:
        line = escape(escaped(f"{one['scenario']}: expected {one['expectation']}; {one['why']}"))
        _console.print(f"[red]{one['order_id']}[/] {line}")
    return not wrong and len(verdicts) > 0


def _runs(folder: Path) -> Table:
    """What Dagster's own storage says: the day was driven by its daemon."""
    table = Table("job", "status", "runs", title="Dagster's runs")
    running = find_embedded(folder)
    if running is None:
        return table
    engine = create_engine(running.url(DAGSTER_DATABASE))
    with engine.connect() as connection:
        query = "select pipeline_name, status, count(*) from runs group by 1, 2 order by 1, 2"
        for job, status, count in connection.execute(text(query)):
            table.add_row(job, status, str(count))
    engine.dispose()
    engine = create_engine(running.url(ORDERS_DATABASE))
    with engine.connect() as connection:
        query = "select action, count(*) from audit.entries group by 1 order by 2 desc"
        for action, count in connection.execute(text(query)):
            table.add_row(f"audit: {action}", "", str(count))
    engine.dispose()
    return table


def _get(url: str) -> dict[str, Any]:
    with open_session() as session:
        return session.get(url, timeout=30).json()


def _post(url: str) -> None:
    with open_session() as session:
        session.post(url, timeout=30).raise_for_status()


if __name__ == "__main__":
    main()
