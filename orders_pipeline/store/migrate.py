"""Bring the schema up to date, or refuse.

Belongs here: applying the Alembic migrations at start, once even when several processes start at the same moment.
Elsewhere: the migrations themselves (migrations/versions), the tables (schema).
"""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2.errors import DuplicateDatabase
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from orders_pipeline.store.database import Database

# Any fixed number: whoever holds it migrates, the others wait and find nothing left to do.
MIGRATION_LOCK = 7_206_512_448


class DatabaseNewerThanCode(Exception):
    """The database was migrated by a newer release than this one."""


def upgrade(database: Database) -> str:
    """Apply every migration that is missing; return the revision that the database is at.

    Raises DatabaseNewerThanCode, without touching anything, if the database holds a revision unknown to this code.
    """
    script = ScriptDirectory.from_config(_configuration())
    with database.transaction() as connection:
        connection.execute(text("set local lock_timeout = 0"))
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        current = current_revision(connection)
        _refuse_unknown(script, current)
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
    head = script.get_current_head()
    assert head is not None
    return head


def pending_upgrade(connection: Connection) -> bool:
    """Whether migrations are missing. Raises DatabaseNewerThanCode."""
    script = ScriptDirectory.from_config(_configuration())
    current = current_revision(connection)
    _refuse_unknown(script, current)
    return current != script.get_current_head()


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def ensure_database_exists(url: str) -> None:
    """Create the database that the URL names unless it is there. Needs the right to do so only when it is not.

    Raises SQLAlchemy's DBAPIError for a server that is away, or that does not let us.
    """
    target = make_url(url)
    if _connects(target):
        return
    engine = create_engine(target.set(database="postgres"), isolation_level="AUTOCOMMIT", hide_parameters=True)
    try:
        with engine.connect() as connection:
            quoted = connection.dialect.identifier_preparer.quote(target.database or "")
            connection.execute(text(f"create database {quoted} encoding 'UTF8' template template0"))
    except ProgrammingError as error:
        # Another process was first.
        if not isinstance(error.orig, DuplicateDatabase):
            raise
    finally:
        engine.dispose()


def _connects(target: URL) -> bool:
    """Whether the database is there. Asked of the database itself: a tenant may see no other of its server."""
    engine = create_engine(target, hide_parameters=True)
    try:
        with engine.connect():
            return True
    except OperationalError as error:
        # The driver gives no code for a refused connection; the server's words are in English or in its own language,
        # but always quote the name.
        if f'"{target.database}"' not in str(error.orig):
            raise
        return False
    finally:
        engine.dispose()


def _refuse_unknown(script: ScriptDirectory, current: str | None) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise DatabaseNewerThanCode(
            f"The database is at revision {current}, which this release of orders_pipeline does not know: it was "
            "upgraded by a newer one. Install that release (or restore a backup from before); nothing was changed."
        )


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(files("orders_pipeline.store") / "migrations"))
    return configuration
