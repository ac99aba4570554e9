"""`orders-pipeline up` as a real process against a sandbox, for the tests of the web port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from sqlalchemy import create_engine, text

from orders_pipeline.database.connect import ORDERS_DATABASE
from orders_pipeline.database.embedded import find_embedded
from orders_pipeline.operations.processes import stop_tree
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.free_port import free_port

COMMAND = [sys.executable, "-m", "orders_pipeline.cli"]
PATIENCE_SECONDS = 120.0
SELECTOR = '{repositoryLocationName:"orders_pipeline",repositoryName:"__repository__",%s}'


class Up:
    """A running deployment: its UI's address, its environment and its data."""

    def __init__(self, process: subprocess.Popen[bytes], environment: dict[str, str], url: str, folder: Path) -> None:
        self.process = process
        self.environment = environment
        self.url = url
        self.folder = folder

    @property
    def log(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")

    def workspace(self) -> str:
        """The workspace file of its processes, for one more that looks at the same code server."""
        for child in psutil.Process(self.process.pid).children():
            words = child.cmdline()
            if "web" in words:
                return words[words.index("-w") + 1]
        raise AssertionError("no process of the UI")

    def query(self, statement: str) -> list[Any]:
        server = find_embedded(self.folder / "data")
        assert server is not None
        engine = create_engine(server.url(ORDERS_DATABASE), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(statement)).all())
        finally:
            engine.dispose()


@contextmanager
def running_up(sandbox: Sandbox, folder: Path, **settings: str) -> Generator[Up]:
    """Up, with its UI answering; everything is stopped at the end."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")},
        **sandbox.environment(),
        "ORDERS_ENV_FILE": os.devnull,
        "DAGSTER_HOME": str(folder / "home"),
        "ORDERS_DATA_DIR": str(folder / "data"),
        **settings,
    }
    environment.pop("DAGSTER_POSTGRES_URL", None)
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, "up", "--port", str(port)], env=environment, stdout=log, stderr=log)
    up = Up(process, environment, f"http://127.0.0.1:{port}", folder)
    try:
        wait_until(lambda: answers(up.url), up)
        yield up
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                stop_tree(process.pid)


@contextmanager
def second_ui(up: Up, *options: str, port: int | None = None, **settings: str) -> Generator[str]:
    """One more UI of the same deployment, as `orders-pipeline web` serves it; its address."""
    port = port or free_port()
    command = [*COMMAND, "web", "--port", str(port), "-w", up.workspace(), *options]
    with (up.folder / f"web-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**up.environment, **settings}, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), up, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_tree(process.pid)


def answers(url: str) -> bool:
    """Whether the UI is there, be it with "log in first"."""
    try:
        return requests.get(f"{url}/server_info", timeout=5).status_code in (200, 401)
    except requests.ConnectionError:
        return False


def wait_until(ready: Callable[[], Any], up: Up, process: subprocess.Popen[bytes] | None = None) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := ready()):
        assert (process or up.process).poll() is None, up.log
        assert time.monotonic() < deadline, up.log
        time.sleep(0.2)
    return found


def ask(url: str, document: str, **variables: Any) -> dict[str, Any]:
    """A program's own GraphQL request."""
    answer = requests.post(f"{url}/graphql", json={"query": document, "variables": variables}, timeout=30)
    assert answer.ok, answer.text
    return answer.json()["data"]
