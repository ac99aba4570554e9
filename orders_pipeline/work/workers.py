"""Which errors are one item's and which everybody's, and how one item's failure leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from psycopg2 import errorcodes
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

Item = TypeVar("Item")
Result = TypeVar("Result")

# Classes of SQLSTATE that every item would meet: the connection, the login, the database, deadlocks, a full disk or too
# many connections, an operator or a time-out, the server's own files. The driver's exception classes don't tell:
# OperationalError is raised for a lost connection, and for one value that is too long for an index as well.
_CLASSES_OF_ALL = frozenset(
    {
        errorcodes.CLASS_CONNECTION_EXCEPTION,
        errorcodes.CLASS_INVALID_AUTHORIZATION_SPECIFICATION,
        errorcodes.CLASS_INVALID_CATALOG_NAME,
        errorcodes.CLASS_TRANSACTION_ROLLBACK,
        errorcodes.CLASS_INSUFFICIENT_RESOURCES,
        errorcodes.CLASS_OPERATOR_INTERVENTION,
        errorcodes.CLASS_SYSTEM_ERROR,
    }
)
_STATES_OF_ALL = frozenset(
    {
        errorcodes.LOCK_NOT_AVAILABLE,
        # A standby that took over as one that may only be read; rights or migrations that are missing.
        errorcodes.READ_ONLY_SQL_TRANSACTION,
        errorcodes.INSUFFICIENT_PRIVILEGE,
        errorcodes.UNDEFINED_TABLE,
        errorcodes.UNDEFINED_COLUMN,
    }
)


def is_infrastructure_error(error: Exception) -> bool:
    """Whether every item would meet this error (the database is away, or busy), so that none is to blame for it.

    What is wrong with one value (too long, not to be encoded, against a constraint) is that item's alone.
    """
    if isinstance(error, NoConnectionInTime):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated or state is None:
        # Without a state the server said nothing: the connection is gone, or was never there.
        return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return state[:2] in _CLASSES_OF_ALL or state in _STATES_OF_ALL


def apart(connection: Connection, work: Callable[[], Result]) -> Result | Exception:
    """Do one item's part of a shared transaction; if it fails for that item alone, undo it and return the error.

    The transaction, and with it the other items, goes on. An error that concerns all is raised.
    """
    try:
        with connection.begin_nested():
            return work()
    except Exception as error:
        if is_infrastructure_error(error):
            raise
        return error


def error_location(error: Exception) -> str:
    """The class and source line of an unexpected error, without its text, which may contain personal data."""
    frames = extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
