"""The embedded PostgreSQL: a real server in the data folder, for one machine.

A deployment that sets ORDERS_DATABASE_URL never comes here.

The server listens on a UNIX socket only, and lets in one user of this machine: who started it (embedded_access).
Who starts it owns it and stops it: other processes get its URL, not a handle.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from orders_pipeline.database.embedded_access import check_socket_folder, socket_folder_of, write_access_rules
from orders_pipeline.database.embedded_identity import drop_stale_pid_file, read_pid_file, server_of, signal_server
from orders_pipeline.database.embedded_process import EmbeddedPostgresError, create_server, start_server
from orders_pipeline.secret_files import DataFolderRefused, close_data_folder

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
        """SQLAlchemy URL of one database of this server.

        Raises EmbeddedPostgresError if others could have put a server of theirs in its place.
        """
        check_socket_folder(self.data_folder, self.socket_folder)
        return f"postgresql+psycopg2://postgres:@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def stop(self) -> None:
        """Stop the server and wait until it has written everything. Raises EmbeddedPostgresError if it does not end."""
        running = _running(self.data_folder)
        # PostgreSQL's "fast": sessions are ended, what they committed is written.
        if running is None or not signal_server(self.data_folder, running.pid, signal.SIGINT):
            return
        deadline = time.monotonic() + STOP_PATIENCE_SECONDS
        while server_of(self.data_folder, running.pid) is not None:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"The embedded PostgreSQL (process {running.pid}) does not end: look why.")
            time.sleep(0.02)


def postgres_folder(data_dir: Path) -> Path:
    """Where the embedded server of this data folder lives."""
    return data_dir / "postgres"


def find_embedded(data_dir: Path) -> EmbeddedPostgres | None:
    """The embedded server of this data folder, if it is running; never starts it. Raises EmbeddedPostgresError."""
    return _running(postgres_folder(data_dir))


def start_embedded(data_dir: Path) -> EmbeddedPostgres:
    """Start the embedded server, or find it running; create it on first use. Raises EmbeddedPostgresError."""
    folder = postgres_folder(data_dir)
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        # Before anything in it is believed, the pid file first.
        close_data_folder(data_dir)
    except DataFolderRefused as error:
        raise EmbeddedPostgresError(str(error)) from error
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The data folder {data_dir} cannot be made ({error.strerror}): set ORDERS_DATA_DIR to a folder that can."
        ) from error
    running = _running(folder)
    if running is not None:
        _close(folder)
        if write_access_rules(folder):
            # Started by an earlier release, which let every user of this machine in.
            signal_server(folder, running.pid, signal.SIGHUP)
        if running.socket_folder.exists():
            check_socket_folder(folder, running.socket_folder)
            return running
        # Whoever tidies temporary files took its socket: nobody reaches it any more.
        running.stop()
    try:
        started = _start(folder)
    except (subprocess.SubprocessError, ServerStopped, OSError) as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL in {folder} did not start ({type(error).__name__}): read {folder / 'log'}, or "
            "set ORDERS_DATABASE_URL to a server of your own."
        ) from error
    return started


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
    _close(folder)
    with _alone_in(folder):
        write_access_rules(folder)
        running = _running(folder)
        if running is not None:
            return running
        drop_stale_pid_file(folder)
        start_server(folder, socket_folder_of(folder), patience_seconds=START_PATIENCE_SECONDS)
        running = _running(folder)
        if running is None:
            raise ServerStopped("the server stopped as soon as it had started")
        return EmbeddedPostgres(folder, running.socket_folder, running.pid, started_here=True)


def _close(folder: Path) -> None:
    if folder.stat().st_mode & 0o077:
        # PostgreSQL would refuse it, and rightly.
        folder.chmod(0o700)


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """While no other process of ours starts the server of this folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
        named = read_pid_file(folder)
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"{folder} may not be read by this user: run as the user who runs `orders-pipeline up`."
        ) from error
    # Line 5 is the socket's folder, line 8 the state (PostgreSQL's own format).
    if named is None or len(named[1]) < 8 or not named[1][7].startswith("ready"):
        return None
    pid, lines = named
    if server_of(folder, pid) is None:
        return None
    # Under root the server knows its folder only by a number that its own process has for it.
    socket_folder = folder if lines[4].startswith("/proc/self/fd/") else Path(lines[4])
    return EmbeddedPostgres(folder, socket_folder, pid, started_here=False)
