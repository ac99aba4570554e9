"""The connection to PostgreSQL: one engine a process, transactions by `with`."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg2 import Error as DriverError
from psycopg2 import errorcodes
from sqlalchemy import Connection, Engine, ExceptionContext, Row, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

# A row whose columns the query names; SQLAlchemy types them by position, which a table with many does not need.
AnyRow = Row[*tuple[Any, ...]]

# A statement that waits longer than this has met a lock that nobody will give back in time; fail and let a retry come.
STATEMENT_TIMEOUT_MILLISECONDS = 30_000
LOCK_TIMEOUT_MILLISECONDS = 10_000
# A process that froze within a transaction holds its locks, the audit chain's among them, against everybody.
IDLE_TIMEOUT_MILLISECONDS = 120_000
# A connection that lay in the pool for so long may have been cut meanwhile: by a restart, or by a firewall.
PING_AFTER_SECONDS = 1.0
_USED_AT = "used_at"
# A query for what the schema of another release has.
_OF_ANOTHER_SCHEMA = (errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_COLUMN, errorcodes.INVALID_SCHEMA_NAME)


class AccountTransaction:
    """One transaction for one account: every query reads and writes this account's rows alone.

    Take `connection` only for what belongs to no account: a lock, the clock, a savepoint.
    """

    def __init__(self, connection: Connection, account_id: str) -> None:
        self.connection = connection
        self.account_id = account_id
        self.execute = connection.execute


class Database:
    """PostgreSQL through SQLAlchemy Core. Thread-safe; each transaction has a connection of its own."""

    def __init__(self, url: str, *, pool_size: int = 5, patience_seconds: int | None = None) -> None:
        """`patience_seconds`: for who would rather have no answer than wait, to connect or for a silent server."""
        impatient = {"tcp_user_timeout": patience_seconds * 1000} if patience_seconds else {}
        self._engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            # An exception must never carry what was being written.
            hide_parameters=True,
            connect_args={
                "application_name": "orders_pipeline",
                "connect_timeout": patience_seconds or 10,
                **impatient,
                "options": (
                    f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MILLISECONDS} "
                    f"-c lock_timeout={LOCK_TIMEOUT_MILLISECONDS} "
                    f"-c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MILLISECONDS}"
                ),
                # A machine that vanished: the server drops its locks within a minute, not within two hours.
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )
        event.listen(self._engine, "handle_error", _explain_missing_schema)
        event.listen(self._engine, "checkin", _note_use)
        event.listen(self._engine, "checkout", self._look_whether_it_lives)

    @property
    def engine(self) -> Engine:
        return self._engine

    @contextmanager
    def transaction(self, account_id: str) -> Generator[AccountTransaction]:
        """One transaction of this account: committed when the block ends, rolled back when it raises."""
        with self._engine.begin() as connection:
            yield AccountTransaction(connection, account_id)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """One transaction that belongs to no account, or to all: keys, the audit chain, clocks, migrations."""
        with self._engine.begin() as connection:
            yield connection

    def now(self) -> datetime:
        """The database's clock, aware, UTC: the one that decides between processes."""
        with self.begin() as connection:
            return database_now(connection)

    def close(self) -> None:
        self._engine.dispose()

    def _look_whether_it_lives(self, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        """As `pool_pre_ping`, but not of a connection that answered a moment ago: that is one round trip in ten."""
        if time.monotonic() - record.info.get(_USED_AT, math.inf) < PING_AFTER_SECONDS:
            return
        try:
            alive = self._engine.dialect.do_ping(connection)
        except DriverError:
            alive = False
        if not alive:
            # The pool closes what it holds, and opens another connection.
            raise InvalidatePoolError


def database_now(connection: Connection) -> datetime:
    """The database's clock at this statement (not at the start of the transaction), aware, UTC.

    A query that looks for what is older or younger than some age says `statement_timestamp()`: no index is used for a
    comparison with `clock_timestamp()`, which may be another one for each row.
    """
    return connection.execute(text("select clock_timestamp()")).scalar_one()


def limits_not_in_force(connection: Connection) -> list[str]:
    """The names of the limits that this session should have and has not: a pooler may have dropped them."""
    return list(
        connection.execute(
            text("select name from pg_settings where name = any(:names) and setting = '0' order by name"),
            {"names": ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]},
        ).scalars()
    )


def _note_use(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _explain_missing_schema(context: ExceptionContext) -> None:
    """Dagster's processes do not compare revisions when they start: the query that fails says what to run."""
    error = context.sqlalchemy_exception
    if error is not None and getattr(context.original_exception, "pgcode", None) in _OF_ANOTHER_SCHEMA:
        error.add_note("The schema is not the one that this release needs: `orders-pipeline doctor` says what to run.")
