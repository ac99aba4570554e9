"""A sign of life of each run: a lock that PostgreSQL takes back the moment the run's process is gone.

Belongs here: giving the sign, and looking for one. Elsewhere: what follows when there is none (defs.runs). Dagster
cannot tell a run that works from one that was killed with its code server, or while PostgreSQL was away: both are
STARTED.

The lock is shared, so that a process may give its sign twice, and belongs to a transaction, so that a pooler between
(pgBouncer in transaction mode) keeps it as well. The transaction holds no snapshot and so keeps nothing from vacuum.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from orders_pipeline.store.database import Database

_KEY = "hashtextextended('orders_pipeline run ' || :run_id, 0)"


class SignOfLife:
    """Given from the moment it is made until `end`, or until the process, the server or the connection dies."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._connection = database.engine.connect()
        self._connection.execute(text(f"select pg_advisory_xact_lock_shared({_KEY})"), {"run_id": run_id})

    def end(self) -> None:
        """Safe also when the connection is gone, or the sign ended, already."""
        if not self._connection.closed:
            self._connection.invalidate()
            self._connection.close()


def shows_life(connection: Connection, run_id: str) -> bool:
    """Whether any process gives the sign of this run."""
    query = text(f"select pg_try_advisory_xact_lock({_KEY})")
    return not connection.execute(query, {"run_id": run_id}).scalar_one()
