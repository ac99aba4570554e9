"""The processes of `orders-pipeline up`: Dagster's code server, its daemon, and the UI behind our guard.

`dagster dev` starts the same three, with the UI unguarded. As there, the code server is started again when it ends, and
the end of the daemon or of the UI ends everything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from orders_pipeline.settings import project_root

LOCATION = "orders_pipeline"
DEFINITIONS = "orders_pipeline.definitions"
# The daemon and the code server need up to ten seconds to end; then nobody is asked any more.
STOP_PATIENCE_SECONDS = 25
# Loading the definitions takes five seconds; on a machine that is all but stuck, a minute.
CODE_SERVER_PATIENCE_SECONDS = 120


class ProcessEnded(Exception):
    """A part of Dagster did not come up; the message says which."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Where the UI listens, and whether anybody may change anything there."""

    address: str
    port: int
    read_only: bool = False


class DagsterProcesses:
    """Use as a context manager: on its end all that was started is stopped, run workers included."""

    def __init__(
        self, environment: Mapping[str, str], web: WebOptions, stop: threading.Event, notify: Callable[[str], None]
    ) -> None:
        self._environment = dict(environment)
        self._web = web
        self._stop = stop
        self._notify = notify
        # Only we may enter it (0700): who reaches the code server's socket can start runs.
        self._folder = Path(tempfile.mkdtemp(prefix="orders-up-"))
        self._socket = self._folder / "code.sock"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> DagsterProcesses:
        try:
            self._start()
        except BaseException:
            # Ctrl-C as well: what was started must not outlive us. Raised on as it came.
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ended(self) -> str | None:
        """A sentence about a process that ended by itself; None while all run. A code server that
        ended is started again.
        """
        if self._running["code server"].poll() is not None:
            self._notify("The code server had stopped, and is started again.")
            self._start_code_server()
        for name in ("daemon", "UI"):
            if (code := self._running[name].poll()) is not None:
                return f"The {name} ended with exit code {code}: everything is stopped. Its words are above."
        return None

    def _start(self) -> None:
        workspace = self._folder / "workspace.yaml"
        server = {"socket": str(self._socket), "location_name": LOCATION}
        workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}), encoding="utf-8")  # JSON is YAML
        self._start_code_server()
        # A daemon that finds no code server looks for it again only after a minute.
        self._await_code_server()
        self._spawn("daemon", "dagster._daemon", "run", "-w", str(workspace))
        web = ["--host", self._web.address, "--port", str(self._web.port), "-w", str(workspace)]
        self._spawn("UI", "orders_pipeline.cli", "web", *web, *(["--read-only"] if self._web.read_only else []))

    def _start_code_server(self) -> None:
        # A socket that a killed server left could not be listened on.
        self._socket.unlink(missing_ok=True)
        command = ["code-server", "start", "--socket", str(self._socket), "-m", DEFINITIONS]
        self._spawn("code server", "dagster", *command, "--location-name", LOCATION, "--log-level", "warning")

    def _await_code_server(self) -> None:
        process = self._running["code server"]
        for _ in range(CODE_SERVER_PATIENCE_SECONDS * 10):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._socket)) == 0:
                    return
            if process.poll() is not None:
                raise ProcessEnded(f"The code server ended with exit code {process.returncode}. Its words are above.")
            if self._stop.wait(0.1):
                raise ProcessEnded("It was asked to stop before it was up.")
        raise ProcessEnded(f"The code server was not up after {CODE_SERVER_PATIENCE_SECONDS} s.")

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        self._running[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-m", module, *arguments],
            env=self._environment,
            cwd=project_root(),
            start_new_session=True,
        )

    def _end(self) -> None:
        stop_trees([process.pid for process in self._running.values()])
        shutil.rmtree(self._folder, ignore_errors=True)


def stop_tree(pid: int, patience_seconds: float = STOP_PATIENCE_SECONDS) -> None:
    """Stop a process and everything that it started, gently first. A tree, because runs have groups of their own."""
    stop_trees([pid], patience_seconds)


def stop_trees(pids: Sequence[int], patience_seconds: float = STOP_PATIENCE_SECONDS) -> None:
    """Stop several processes side by side, with everything that they started."""
    roots: list[psutil.Process] = []
    tree: list[psutil.Process] = []
    for pid in pids:
        try:
            root = psutil.Process(pid)
            tree += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        roots.append(root)
    for root in roots:
        _quietly(lambda root=root: root.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM))
        _quietly(lambda root=root: root.send_signal(signal.SIGTERM))
    psutil.wait_procs(roots, timeout=patience_seconds)
    alive = [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    for process in alive:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(alive, timeout=5)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=5)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return
