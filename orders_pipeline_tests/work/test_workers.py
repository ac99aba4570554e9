"""Which errors are everybody's (the database is away, or busy) and which are one item's alone."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2 import errorcodes, errors
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from orders_pipeline.database.engine import Database
from orders_pipeline.work.workers import is_infrastructure_error


@pytest.mark.parametrize(
    ("sqlstate", "everybodys"),
    [
        # The database is away, full, busy, or not the one that we may use.
        (errorcodes.CONNECTION_FAILURE, True),
        (errorcodes.INVALID_PASSWORD, True),
        (errorcodes.INVALID_CATALOG_NAME, True),
        (errorcodes.TOO_MANY_CONNECTIONS, True),
        (errorcodes.DISK_FULL, True),
        (errorcodes.LOCK_NOT_AVAILABLE, True),
        (errorcodes.DEADLOCK_DETECTED, True),
        (errorcodes.QUERY_CANCELED, True),
        (errorcodes.ADMIN_SHUTDOWN, True),
        (errorcodes.CANNOT_CONNECT_NOW, True),
        (errorcodes.IO_ERROR, True),
        (errorcodes.READ_ONLY_SQL_TRANSACTION, True),
        (errorcodes.INSUFFICIENT_PRIVILEGE, True),
        (errorcodes.UNDEFINED_TABLE, True),
        (errorcodes.UNDEFINED_COLUMN, True),
        # What was to be written is at fault, and with it one order, package or message.
        (errorcodes.PROGRAM_LIMIT_EXCEEDED, False),
        (errorcodes.STATEMENT_TOO_COMPLEX, False),
        (errorcodes.TOO_MANY_ARGUMENTS, False),
        (errorcodes.STRING_DATA_RIGHT_TRUNCATION, False),
        (errorcodes.NUMERIC_VALUE_OUT_OF_RANGE, False),
        (errorcodes.UNTRANSLATABLE_CHARACTER, False),
        (errorcodes.CHARACTER_NOT_IN_REPERTOIRE, False),
        (errorcodes.INVALID_TEXT_REPRESENTATION, False),
        (errorcodes.CHECK_VIOLATION, False),
        (errorcodes.NOT_NULL_VIOLATION, False),
        (errorcodes.UNIQUE_VIOLATION, False),
        (errorcodes.FOREIGN_KEY_VIOLATION, False),
        (errorcodes.RAISE_EXCEPTION, False),
        (errorcodes.SYNTAX_ERROR, False),
    ],
)
def test_the_sqlstate_decides_whether_an_error_is_everybodys(database: Database, sqlstate: str, everybodys: bool):
    """Raised by the server itself, so that the classes are the driver's own."""
    raise_it = f"do $$ begin raise exception using errcode = '{sqlstate}'; end $$"
    with pytest.raises(DBAPIError) as raised, database.engine.connect() as connection:
        connection.exec_driver_sql(raise_it)
    assert is_infrastructure_error(raised.value) is everybodys


def test_a_connection_that_is_lost_or_not_to_be_had_is_everybodys():
    assert is_infrastructure_error(
        OperationalError("select", {}, psycopg2.OperationalError("could not connect to server"))
    )
    assert is_infrastructure_error(InterfaceError("select", {}, psycopg2.InterfaceError("connection already closed")))
    lost = DBAPIError("select", {}, psycopg2.DatabaseError("no message from the libpq"), connection_invalidated=True)
    assert is_infrastructure_error(lost)
    assert is_infrastructure_error(NoConnectionInTime("QueuePool limit of size 5 overflow 5 reached"))


def test_what_the_driver_or_this_program_refuses_is_one_items():
    assert not is_infrastructure_error(DBAPIError("select", {}, errors.DataError("no state")))
    for error in (ValueError("A string literal cannot contain NUL (0x00) characters."), KeyError("x")):
        assert not is_infrastructure_error(error)
    with pytest.raises(UnicodeEncodeError) as surrogate:
        "\ud800".encode()
    assert not is_infrastructure_error(surrogate.value)
