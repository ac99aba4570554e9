"""The embedded PostgreSQL: a real server in the data folder, for one machine.

A deployment that sets ORDERS_DATABASE_URL never comes here.

The server listens on a UNIX socket only, and lets in one user of this machine: who started it (embedded_access).
Who starts it owns it and stops it: other processes get its URL, not a handle.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from orders_pipeline.database.embedded_access import socket_folder_of, write_access_rules
from orders_pipeline.database.embedded_process import EmbeddedPostgresError, create_server, start_server

# After a SIGKILL the server replays its log before it answers; on a busy machine that took up to 20 s.
START_PATIENCE_SECONDS = 60
STOP_PATIENCE_SECONDS = 60

# Appended to postgresql.conf once. A failing statement is never written to the server's log: it could hold a value.
SERVER_CONFIGURATION = """
# orders_pipeline
log_min_error_statement = panic
log_error_verbosity = terse
max_connections = 200
"""


class ServerStopped(Exception):
    """The server ended while it started."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running embedded server. `started_here` tells whether this call started it, and so owns it."""

    data_folder: Path
    socket_folder: Path
    pid: int
    started_here: bool

    def url(self, database: str) -> str:
        """SQLAlchemy URL of one database of this server."""
        return f"postgresql+psycopg2://postgres:@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def stop(self) -> None:
        """Stop the server and wait until it has written everything. Raises EmbeddedPostgresError if it does not end."""
        running = _running(self.data_folder)
        if running is None:
            return
        # PostgreSQL's "fast": sessions are ended, what they committed is written.
        os.kill(running.pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_PATIENCE_SECONDS
        while _is_alive(running.pid):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"The embedded PostgreSQL (process {running.pid}) does not end: look why.")
            time.sleep(0.02)


def postgres_folder(data_dir: Path) -> Path:
    """Where the embedded server of this data folder lives."""
    return data_dir / "postgres"


def find_embedded(data_dir: Path) -> EmbeddedPostgres | None:
    """The embedded server of this data folder, if it is running; never starts it."""
    return _running(postgres_folder(data_dir))


def start_embedded(data_dir: Path) -> EmbeddedPostgres:
    """Start the embedded server, or find it running; create it on first use. Raises EmbeddedPostgresError."""
    folder = postgres_folder(data_dir)
    running = _running(folder)
    if running is not None:
        if write_access_rules(folder):
            # Started by an earlier release, which let every user of this machine in.
            os.kill(running.pid, signal.SIGHUP)
        return running
    try:
        _close_to_others(data_dir)
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The data folder {data_dir} cannot be made ({error.strerror}): set ORDERS_DATA_DIR to a folder that can."
        ) from error
    try:
        started = _start(folder)
    except (subprocess.SubprocessError, ServerStopped, OSError) as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL in {folder} did not start ({type(error).__name__}): read {folder / 'log'}, or "
            "set ORDERS_DATABASE_URL to a server of your own."
        ) from error
    return started


def _close_to_others(data_dir: Path) -> None:
    """The folder is its owner's alone, also one of an earlier release. The folders above it stay as they are."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    data_dir.mkdir(mode=0o700, exist_ok=True)
    status = data_dir.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        data_dir.chmod(0o700)


# Two processes may start it at the same moment: one of them is told to wait, and finds it running.
@retry(
    retry=retry_if_exception_type((subprocess.SubprocessError, ServerStopped)),
    stop=stop_after_delay(START_PATIENCE_SECONDS),
    wait=wait_fixed(1),
    reraise=True,
)
def _start(folder: Path) -> EmbeddedPostgres:
    if not (folder / "PG_VERSION").exists():
        _create(folder)
    if folder.stat().st_mode & 0o077:
        # PostgreSQL would refuse it, and rightly.
        folder.chmod(0o700)
    write_access_rules(folder)
    running = _running(folder)
    if running is not None:
        return running
    start_server(folder, socket_folder_of(folder), patience_seconds=START_PATIENCE_SECONDS)
    running = _running(folder)
    if running is None:
        raise ServerStopped("the server stopped as soon as it had started")
    return EmbeddedPostgres(folder, running.socket_folder, running.pid, started_here=True)


def _create(folder: Path) -> None:
    """Make a new server folder whole, or not at all: one that was half made when its process died would never start."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=folder.parent, ignore_cleanup_errors=True) as made:
        fresh = Path(made) / "postgres"
        create_server(fresh)
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(SERVER_CONFIGURATION)
        try:
            fresh.rename(folder)
        except OSError:
            # Another process was first; its folder is as good as ours.
            if not (folder / "PG_VERSION").exists():
                raise


def _running(folder: Path) -> EmbeddedPostgres | None:
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    # Line 1 is the pid, line 5 the socket's folder, line 8 the state (PostgreSQL's own format).
    if len(lines) < 8 or not lines[7].startswith("ready"):
        return None
    pid = int(lines[0])
    # Under root the server knows its folder only by a number that its own process has for it.
    socket_folder = folder if lines[4].startswith("/proc/self/fd/") else Path(lines[4])
    if not _is_alive(pid):
        return None
    return EmbeddedPostgres(folder, socket_folder, pid, started_here=False)


def _is_alive(pid: int) -> bool:
    # A pid may have been given to another process since a crash; only a postgres of this folder counts.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return "postgres" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
