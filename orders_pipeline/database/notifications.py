"""Hear of new work the moment it is committed, by PostgreSQL's LISTEN and NOTIFY.

A notification says that there is work, never what: who misses one finds the work in the tables. So a pooler that
forbids LISTEN, or takes it and never tells (pgBouncer in transaction mode), costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from types import TracebackType
from typing import Any

from psycopg2 import Error as DriverError
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy import Connection, text

from orders_pipeline.database.engine import Database

# One for all accounts: a listener serves them all.
CHANNEL = "orders_pipeline_work"

_logger = logging.getLogger(__name__)


def notify(connection: Connection, account_id: str, topic: str) -> None:
    """Tell those who listen, at the commit, that this account has work of this topic. Carries no buyer's data."""
    connection.execute(
        text("select pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": f"{account_id} {topic}"}
    )


class Listener:
    """What was notified, on a connection of its own, outside the pool. `wake` may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._connection = _listen(database)

    @property
    def hears(self) -> bool:
        """Whether the server took LISTEN, and has not closed the connection since."""
        return self._connection is not None

    def wait(self, seconds: float) -> set[tuple[str, str]]:
        """The (account, topic) pairs that were notified; none after so many seconds, or once `wake` was called."""
        connection = self._connection
        sockets = [self._woken] if connection is None else [self._woken, connection]
        ready, _, _ = select.select(sockets, [], [], max(seconds, 0.0))
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
        if connection is None or connection not in ready:
            return set()
        try:
            connection.poll()
        except DriverError as error:
            _logger.warning("PostgreSQL tells of no new work any more: it is looked for. %s", type(error).__name__)
            self._connection = None
            connection.close()
            return set()
        heard = {_pair(one.payload) for one in connection.notifies}
        connection.notifies.clear()
        return heard

    def wake(self) -> None:
        """Have `wait` return now."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b".")

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
        self._woken.close()
        self._waker.close()


def _listen(database: Database) -> Any | None:
    """A connection of the driver's that listens; None where the server, or a pooler before it, refuses to."""
    taken = database.engine.raw_connection()
    connection: Any = taken.driver_connection
    # It is closed by who listens, and never given back: nobody else is to find its notifications.
    taken.detach()
    try:
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(f"listen {CHANNEL}")
    except DriverError as error:
        _logger.warning("PostgreSQL does not tell of new work: it is looked for. %s", type(error).__name__)
        connection.close()
        return None
    return connection


def _pair(payload: str) -> tuple[str, str]:
    account_id, _, topic = payload.partition(" ")
    return account_id, topic
