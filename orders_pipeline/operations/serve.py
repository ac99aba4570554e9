"""`orders-pipeline up`: start what is missing, run Dagster in the foreground, stop all that was started.

In a deployment the ordinary Dagster processes run instead, and `prepare_store` is all they need.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from orders_pipeline.audit.log import AuditLog, acting_as
from orders_pipeline.database.connect import DAGSTER_DATABASE, ORDERS_DATABASE, beside
from orders_pipeline.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import Phase, ensure_database_exists, upgrade
from orders_pipeline.operations.processes import DagsterProcesses, ProcessEnded, WebOptions
from orders_pipeline.privacy.access.role_changes import note_role_changes
from orders_pipeline.secret_files import close_data_folder
from orders_pipeline.settings import Settings, project_root

DEFAULT_PORT = 3000


class InstanceFileMissing(Exception):
    """DAGSTER_HOME has no dagster.yaml, and there is none to copy."""


def prepare_store(settings: Settings, only: Phase | None = None) -> EmbeddedPostgres | None:
    """Have both databases there, and the schema up to date, or `only` that half of it.

    Returns the embedded server if this call started it. Raises EmbeddedPostgresError, DataFolderRefused,
    DatabaseNewerThanCode, MigrationOutOfOrder, MigrationBlocked, or SQLAlchemy's OperationalError for a server that is
    away.
    """
    settings.require_usable()
    server: EmbeddedPostgres | None = None
    if settings.database_url is None:
        server = start_embedded(settings.data_dir)
        orders_url, dagster_url = server.url(ORDERS_DATABASE), server.url(DAGSTER_DATABASE)
    else:
        if settings.data_dir.is_dir():
            # Keys, sessions and copies of the audit log may be in it, wherever the database is.
            close_data_folder(settings.data_dir)
        orders_url = settings.database_url.get_secret_value()
        dagster_url = beside(orders_url)
    try:
        ensure_database_exists(orders_url)
        if settings.dagster_postgres_url is None:
            ensure_database_exists(dagster_url)
        database = Database(orders_url)
        try:
            upgrade(database, only)
            with acting_as("job:migrate"):
                note_role_changes(database, AuditLog(database))
        finally:
            database.close()
    except BaseException:
        # Ctrl-C as well: a server that was started here must not outlive us. Raised on as it came.
        if server is not None and server.started_here:
            server.stop()
        raise
    return server if server is not None and server.started_here else None


def serve(settings: Settings, web: WebOptions, *, notify: Callable[[str], None]) -> int:
    """Run Dagster in the foreground until a part of it ends or SIGTERM or SIGINT comes; 0 when asked to stop."""
    home = dagster_home()
    # Before anything is started: a signal from here on is remembered, and stops all of it.
    stop = _StopRequest()
    for warning in settings.warnings:
        notify(f"Warning: {warning}")
    for account in settings.wrong_accounts:
        for sentence in account.sentences:
            notify(f"Not served: {sentence}")
    started = prepare_store(settings)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "ORDERS_DATA_DIR": str(settings.data_dir),
        # More runs a tick than Dagster's five: alerts follow failures without lagging behind.
        "DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT": "25",
    }
    try:
        with DagsterProcesses(environment, web, stop.asked, notify) as processes:
            address = f"[{web.address}]" if ":" in web.address else web.address
            notify(f"Dagster UI: http://{address}:{web.port}  (data in {settings.data_dir})")
            while not stop.asked.wait(1):
                if ended := processes.ended():
                    notify(ended)
                    return 1
                if started is not None:
                    _bring_back(settings, notify)
            return 0
    except ProcessEnded as error:
        if stop.asked.is_set():
            return 0
        notify(str(error))
        return 1
    finally:
        if started is not None:
            started.stop()


def dagster_home() -> Path:
    """DAGSTER_HOME where it is set, else the repository; made, and given this repository's dagster.yaml, if missing."""
    named = os.environ.get("DAGSTER_HOME")
    home = Path(named).expanduser().resolve() if named else project_root()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        source = project_root() / "dagster.yaml"
        if not source.exists():
            raise InstanceFileMissing(
                f"{home} has no dagster.yaml: copy the one of the orders_pipeline repository there, or run in it."
            )
        shutil.copyfile(source, home / "dagster.yaml")
    return home


def _bring_back(settings: Settings, notify: Callable[[str], None]) -> None:
    """Start the embedded server again if it was killed or cannot be reached: who started it is who keeps it up."""
    try:
        if start_embedded(settings.data_dir).started_here:
            notify("The embedded PostgreSQL had stopped, and is up again.")
    except EmbeddedPostgresError as error:
        notify(str(error))  # tried again in a second


def choose_port(wanted: int | None) -> int:
    """The port asked for, or PORT, or 3000; a free one where none was asked for and 3000 is taken."""
    if wanted is None and os.environ.get("PORT"):
        wanted = int(os.environ["PORT"])
    if wanted is not None:
        return wanted
    for candidate in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


class _StopRequest:
    """Remembers SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: object) -> None:
        self.asked.set()
