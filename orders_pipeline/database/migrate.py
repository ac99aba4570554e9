"""Bring the schema up to date, or refuse."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2.errors import DuplicateDatabase, DuplicateObject, DuplicateTable, LockNotAvailable, UniqueViolation
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from orders_pipeline.database.engine import Database

# A migration waits for sessions that read, and everybody else waits behind it: not for long.
TABLE_PATIENCE = "30s"


class MigrationBlocked(Exception):
    """Another session holds a table that a migration changes; nothing was changed."""


class DatabaseNewerThanCode(Exception):
    """The database was migrated by a newer release than this one."""


def upgrade(database: Database) -> str:
    """Apply every migration that is missing; return the revision that the database is at.

    Raises DatabaseNewerThanCode, without touching anything, if the database holds a revision unknown to this code;
    MigrationBlocked, and nothing is changed, if a session of somebody's own holds a table for too long.
    """
    script = ScriptDirectory.from_config(_configuration())
    head = script.get_current_head()
    assert head is not None
    with database.transaction() as connection:
        current = current_revision(connection)
    _refuse_unknown(script, current)
    if current == head:
        # No lock, and no right to write: the login of a deployment may have been given neither.
        return head
    if current is None:
        _make_version_table(database)
    try:
        with database.transaction() as connection:
            connection.execute(text("set local lock_timeout = 0"))
            connection.execute(text("set local statement_timeout = 0"))
            # Who holds it migrates; the others wait, and find nothing left to do. Who may only read cannot take it.
            connection.execute(text("lock table alembic_version in share row exclusive mode"))
            connection.execute(text("select set_config('lock_timeout', :patience, true)"), {"patience": TABLE_PATIENCE})
            _refuse_unknown(script, current_revision(connection))
            configuration = _configuration()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise MigrationBlocked(_who_blocks(database)) from error
        raise
    return head


def _who_blocks(database: Database) -> str:
    with database.transaction() as connection:
        sessions = connection.execute(
            text(
                "select distinct l.pid, a.usename from pg_locks l join pg_stat_activity a using (pid) "
                "where l.locktype = 'relation' and l.granted and a.datname = current_database() "
                "and l.pid <> pg_backend_pid() order by l.pid limit 5"
            )
        ).all()
    told = ", ".join(f"{pid} ({login})" for pid, login in sessions) or "none any more"
    return (
        f"The database could not be upgraded: a session held a table for {TABLE_PATIENCE}. Nothing was changed. "
        f"Sessions that hold tables now: {told}. End them (select pg_terminate_backend(<number>)) and start again."
    )


def _make_version_table(database: Database) -> None:
    """Alembic's own table, as Alembic makes it, committed at once: others can wait only for what is there."""
    try:
        with database.transaction() as connection:
            connection.execute(
                text(
                    "create table if not exists alembic_version (version_num varchar(32) not null, "
                    "constraint alembic_version_pkc primary key (version_num))"
                )
            )
    except (IntegrityError, ProgrammingError) as error:
        # Two who make it at once collide in PostgreSQL's catalog, in spite of "if not exists".
        if not isinstance(error.orig, (UniqueViolation, DuplicateTable, DuplicateObject)):
            raise


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
    configuration.set_main_option("script_location", str(files("orders_pipeline.database") / "migrations"))
    return configuration
