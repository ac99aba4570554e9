"""A whole deployment on this machine, each part a process that may be killed and comes back by itself.

The sandbox is the world outside: it is never killed, and its ledgers judge.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import requests
from sqlalchemy import create_engine

from orders_pipeline.database.connect import DAGSTER_DATABASE
from orders_pipeline.database.embedded import EmbeddedPostgresError, find_embedded, start_embedded
from orders_pipeline.operations.serve import prepare_store
from orders_pipeline.settings import load_settings, project_root

# What a service manager waits before it starts a process again (systemd's RestartSec).
RESTART_PAUSE_SECONDS = 1.0
START_PATIENCE_SECONDS = 90.0
# With it Amazon's getOrder limit of one call in two seconds allows some twenty a second (sandbox: refill rates only).
TIME_SCALE = 40


class InstallationFailed(Exception):
    """It did not come up; the message says what, and where its log is."""


class Installation:
    """Use as a context manager. `folder` holds all of it: data, logs, DAGSTER_HOME; give a short path."""

    def __init__(self, folder: Path, *, wms: str = "rest", orders: int, duration_seconds: float, seed: int) -> None:
        self.folder = folder
        self._wms = wms
        self._day = ["--orders", str(orders), "--duration", str(duration_seconds), "--seed", str(seed)]
        self._home = folder / "dagster_home"
        self._port = _free_port()
        self._environment: dict[str, str] = {}
        self._stopping = threading.Event()
        self._sandbox: subprocess.Popen[bytes] | None = None
        self.sandbox_url = ""
        self.postgres = SupervisedPostgres(folder, self._stopping)
        self.code_server = _Service("code_server", self._start_code_server, self._stopping)
        self.daemon = _Service("daemon", self._start_daemon, self._stopping)

    def __enter__(self) -> Installation:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def kill_tryton(self) -> int | None:
        """SIGKILL to the warehouse's server, which the sandbox starts again; the pid, or None if it was not running."""
        if self._sandbox is None:
            return None
        for process in psutil.Process(self._sandbox.pid).children(recursive=True):
            if any(word.endswith("/trytond") for word in _words(process)):
                _kill(process)
                psutil.wait_procs([process], timeout=10)
                return process.pid
        return None

    def run_workers(self) -> list[psutil.Process]:
        """The processes that execute runs, oldest first; also those whose code server was killed."""
        workers = [one for one in self._own_processes() if any("multiprocessing.spawn" in word for word in _words(one))]
        return sorted(workers, key=lambda worker: worker.create_time())

    def query(self, database: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows of one query, on a connection of its own. Raises what a database that is away raises."""
        server = find_embedded(self.folder)
        if server is None:
            raise EmbeddedPostgresError("not running")
        engine = create_engine(server.url(database), connect_args={"connect_timeout": 2})
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.exec_driver_sql(statement, values or None)]
        finally:
            engine.dispose()

    def ask_sandbox(self, path: str) -> dict[str, Any]:
        return requests.get(f"{self.sandbox_url}/sandbox/{path}", timeout=30).json()

    def tell_sandbox(self, path: str, body: dict[str, Any] | None = None) -> None:
        requests.post(f"{self.sandbox_url}/sandbox/{path}", json=body, timeout=30).raise_for_status()

    def _start(self) -> None:
        self._home.mkdir(parents=True)
        shutil.copyfile(project_root() / "dagster.yaml", self._home / "dagster.yaml")
        workspace = {"load_from": [{"grpc_server": {"host": "127.0.0.1", "port": self._port,
                                                    "location_name": "orders_pipeline"}}]}  # fmt: skip
        # JSON is YAML.
        (self.folder / "workspace.yaml").write_text(json.dumps(workspace), encoding="utf-8")
        settings_of_sandbox = self._start_sandbox()
        self.sandbox_url = settings_of_sandbox["SANDBOX_URL"]
        # Nothing of a real deployment may be reached, whatever the shell or .env holds.
        self._environment = {
            **os.environ,
            **dict.fromkeys(("ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL", "ORDERS_KMS_KEY_ID"), ""),
            **dict.fromkeys(("ORDERS_KEYRING_FILE", "ORDERS_SECRETS_ARN", "SLACK_WEBHOOK_URL"), ""),
            **dict.fromkeys(("ORDERS_SMTP_HOST", "ORDERS_ALERTS_FROM", "ORDERS_ALERTS_TO"), ""),
            **dict.fromkeys(("ORDERS_ALERTS_FILE", "ORDERS_HEARTBEAT_URL"), ""),
            "ORDERS_ENV_FILE": os.devnull,
            **settings_of_sandbox,
            "ORDERS_DATA_DIR": str(self.folder),
            "DAGSTER_HOME": str(self._home),
        }
        prepare_store(load_settings(self._environment))
        self.postgres.watch()
        self.code_server.watch()
        _await("the code server", self._code_server_listens, self.folder)
        self.daemon.watch()
        _await("the daemon", self._daemon_ticks, self.folder)

    def _stop(self) -> None:
        self._stopping.set()
        for service in (self.daemon, self.code_server):
            service.stop()
        left = self._own_processes()
        for process in left:
            _kill(process)
        psutil.wait_procs(left, timeout=10)
        self.postgres.join()
        server = find_embedded(self.folder)
        if server is not None:
            server.stop()
        if self._sandbox is not None:
            self._sandbox.terminate()
            try:
                self._sandbox.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._sandbox.kill()
                self._sandbox.wait()

    def _start_sandbox(self) -> dict[str, str]:
        ready = self.folder / "sandbox.json"
        module = ["warehouses.tryton", "--folder", str(tryton_folder_of(self.folder))]
        command = ["-m", *(module if self._wms == "tryton" else ["orders_pipeline.sandbox"])]
        command += ["--ready-file", str(ready), "--no-autostart", *self._day]
        self._sandbox = self._spawn("sandbox", [*command, "--time-scale", str(TIME_SCALE)], dict(os.environ))
        _await("the sandbox", ready.exists, self.folder)
        return json.loads(ready.read_text(encoding="utf-8"))

    def _start_code_server(self) -> subprocess.Popen[bytes]:
        command = ["-m", "dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(self._port)]
        command += ["-m", "orders_pipeline.definitions", "--location-name", "orders_pipeline"]
        return self._spawn("code_server", command, self._environment)

    def _start_daemon(self) -> subprocess.Popen[bytes]:
        # As ExecStartPre would: a daemon that finds no code server looks for it again only after a minute.
        while not self._stopping.is_set() and not self._code_server_listens():
            self._stopping.wait(0.2)
        command = ["-m", "dagster._daemon", "run", "-w", str(self.folder / "workspace.yaml")]
        return self._spawn("daemon", command, self._environment)

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=project_root(),
                start_new_session=True,
            )

    def _code_server_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _daemon_ticks(self) -> bool:
        return self.query(DAGSTER_DATABASE, "select count(*) from job_ticks")[0][0] > 0

    def _own_processes(self) -> list[psutil.Process]:
        """By DAGSTER_HOME, which nothing else has: a run worker outlives its code server, and is no child of ours."""
        mine = f"DAGSTER_HOME={self._home}"
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and mine in Path(f"/proc/{process.pid}/environ").read_text().split("\0"):
                    found.append(process)
            except (OSError, UnicodeDecodeError):
                continue
        return found


class _Service:
    """One process of ours, started again whenever it ends."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]], stopping: threading.Event) -> None:
        self._start, self._stopping = start, stopping
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"supervise-{name}", daemon=True)
        self.starts = 0

    def watch(self) -> None:
        self._thread.start()

    def kill(self) -> int | None:
        """SIGKILL; the pid, or None if it was not running."""
        process = self._process
        if process is None or process.poll() is not None:
            return None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return process.pid

    def stop(self) -> None:
        """Once `stopping` is set: also one that was just about to start again."""
        while self._thread.is_alive():
            self.kill()
            self._thread.join(timeout=0.2)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._process = self._start()
            self.starts += 1
            self._process.wait()
            self._stopping.wait(RESTART_PAUSE_SECONDS)


class SupervisedPostgres:
    """The embedded server, started again whenever its postmaster is gone."""

    def __init__(self, folder: Path, stopping: threading.Event) -> None:
        self._folder, self._stopping = folder, stopping
        self._thread = threading.Thread(target=self._run, name="supervise-postgres", daemon=True)
        self.starts = 0

    def watch(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout=90)

    def kill(self) -> int | None:
        """SIGKILL to the postmaster and all its children at once, as when the machine's memory is full."""
        server = find_embedded(self._folder)
        if server is None:
            return None
        try:
            postmaster = psutil.Process(server.pid)
            family = [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return None
        for process in family:
            _kill(process)
        psutil.wait_procs(family, timeout=20)
        return server.pid

    def _run(self) -> None:
        while not self._stopping.is_set():
            # One that does not start is tried again, as a service manager would.
            with suppress(EmbeddedPostgresError):
                server = start_embedded(self._folder)
                self.starts += 1
                while not self._stopping.is_set() and psutil.pid_exists(server.pid):
                    self._stopping.wait(0.2)
            self._stopping.wait(RESTART_PAUSE_SECONDS)


def tryton_folder_of(folder: Path) -> Path:
    """Beside the data folder, which the leak check looks through: a warehouse has addresses in clear."""
    return folder.with_name(f"{folder.name}-tryton")


def _await(what: str, ready: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + START_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.1)
    raise InstallationFailed(f"{what} was not up after {START_PATIENCE_SECONDS:.0f} s; see the logs in {folder}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
