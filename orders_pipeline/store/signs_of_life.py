"""A sign of life of each run: a lock that PostgreSQL takes back the moment the run's process is gone.

Belongs here: giving the sign, and looking for one. Elsewhere: what follows when there is none (defs.runs). Dagster
cannot tell a run that works from one that was killed with its code server, or while PostgreSQL was away: both are
STARTED, and hold a slot of the run queue, until a time-out of minutes.

The lock is shared, so that a process may give its sign twice, and belongs to a transaction, so that a pooler between
(pgBouncer in transaction mode) keeps it as well. The transaction holds no snapshot and so keeps nothing from vacuum.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.store.database import Database

# After a restart of the server every sign is gone; those who live give it again within this.
RENEWED_EVERY = timedelta(seconds=3)
_KEY = "hashtextextended('orders_pipeline run ' || :run_id, 0)"


class SignOfLife:
    """Given from the moment it is made until `end`, or until the process dies. Raises what the database raises."""

    def __init__(self, database: Database, run_id: str, *, renewed_every: timedelta = RENEWED_EVERY) -> None:
        self._database, self._run_id, self._pause = database, run_id, renewed_every.total_seconds()
        self._ended = Event()
        self._connection = self._give()
        self._thread = Thread(target=self._renew, name="sign-of-life", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The sign is gone when this returns. Safe also when the connection is gone, or the sign ended, already."""
        self._ended.set()
        self._thread.join()
        if not self._connection.closed:
            # The server hears of a closed connection only a moment later; where it is away, so is the lock.
            with suppress(SQLAlchemyError):
                self._connection.rollback()
        self._drop()

    def _give(self) -> Connection:
        connection = self._database.engine.connect()
        connection.execute(text(f"select pg_advisory_xact_lock_shared({_KEY})"), {"run_id": self._run_id})
        return connection

    def _renew(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                if self._connection.closed:
                    self._connection = self._give()
                self._connection.execute(text("select 1"))
            except SQLAlchemyError:
                # The server is away. Whoever works finds that out by himself; here it is tried again.
                self._drop()

    def _drop(self) -> None:
        if not self._connection.closed:
            self._connection.invalidate()
            self._connection.close()


def is_silent(connection: Connection, run_id: str, *, patience: timedelta) -> bool:
    """Whether no process gives the sign of this run, although the server has been up for long enough to be given it."""
    query = f"select pg_try_advisory_xact_lock({_KEY}), clock_timestamp() - pg_postmaster_start_time()"
    free, up_for = connection.execute(text(query), {"run_id": run_id}).one()
    return free and up_for > patience
