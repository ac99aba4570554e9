"""Bring the schema up to date, or refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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


class MigrationOutOfOrder(Exception):
    """The half of an upgrade that was asked for cannot be applied now; nothing was changed."""


class Phase(StrEnum):
    """When a revision is applied; its module says so as `phase`. A release's AFTER revisions follow all its others."""

    BEFORE = "before"  # before the new code starts: it only adds, and the old code can live with it
    STOPPED = "stopped"  # while no process runs: the old code cannot live with it, nor the new code without it
    AFTER = "after"  # once no process of the old code runs: it takes away what only that used


@dataclass(frozen=True, slots=True)
class MissingRevisions:
    """What a database lacks, oldest first: what this code needs, and what may wait until the old code is gone."""

    needed: Sequence[str]
    after: Sequence[str]


def upgrade(database: Database, only: Phase | None = None) -> str:
    """Apply the revisions that are missing, all or one half; return the revision that the database is at.

    `only` is Phase.BEFORE (while the old code runs) or Phase.AFTER (once it is gone).

    Raises DatabaseNewerThanCode, without touching anything, if the database holds a revision unknown to this code;
    MigrationOutOfOrder if the half cannot be applied now; MigrationBlocked, and nothing is changed, if a session of
    somebody's own holds a table for too long.
    """
    phases = revision_phases()
    with database.begin() as connection:
        current = current_revision(connection)
    target = target_revision(phases, current, only)
    if current == target:
        # No lock, and no right to write: the login of a deployment may have been given neither.
        return target
    if current is None:
        _make_version_table(database)
    try:
        with database.begin() as connection:
            connection.execute(text("set local lock_timeout = 0"))
            connection.execute(text("set local statement_timeout = 0"))
            # Who holds it migrates; the others wait, and find nothing left to do. Who may only read cannot take it.
            connection.execute(text("lock table alembic_version in share row exclusive mode"))
            connection.execute(text("select set_config('lock_timeout', :patience, true)"), {"patience": TABLE_PATIENCE})
            # Decided anew: another process may have upgraded it meanwhile.
            target = target_revision(phases, current_revision(connection), only)
            configuration = _configuration()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, target)
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise MigrationBlocked(_who_blocks(database)) from error
        raise
    return target


def target_revision(phases: Mapping[str, Phase], current: str | None, only: Phase | None) -> str:
    """The revision to upgrade to; `phases` has each revision's, oldest first, and `current` is None when empty.

    Raises DatabaseNewerThanCode and MigrationOutOfOrder, as `upgrade` does.
    """
    missing = _missing(phases, current)
    head = [*phases][-1]
    if only is None:
        return head
    if only is Phase.AFTER:
        if missing.needed:
            raise MigrationOutOfOrder(
                f"The database is at revision {current or 'none'}, and this release needs {missing.needed[-1]}. Run "
                "`orders-pipeline migrate --only before` first; nothing was changed."
            )
        return head
    # Nothing runs on an empty database that could be disturbed.
    disturbing = [revision for revision in missing.needed if current and phases[revision] is not Phase.BEFORE]
    if disturbing:
        raise MigrationOutOfOrder(
            f"The earlier release cannot run with revision {', '.join(disturbing)}, nor this one without. Stop every "
            'process of the pipeline, then run `orders-pipeline migrate` (docs/runbook.md, "Upgrades"); nothing was '
            "changed."
        )
    return missing.needed[-1] if missing.needed else current or head


def revision_phases() -> dict[str, Phase]:
    """Every revision of this code, oldest first."""
    revisions = [*ScriptDirectory.from_config(_configuration()).walk_revisions()]
    return {one.revision: Phase(one.module.phase) for one in reversed(revisions)}


def missing_revisions(connection: Connection) -> MissingRevisions:
    """Which revisions of this code the database lacks. Raises DatabaseNewerThanCode."""
    return _missing(revision_phases(), current_revision(connection))


def _who_blocks(database: Database) -> str:
    with database.begin() as connection:
        sessions = connection.execute(
            text("""
                select distinct l.pid, a.usename from pg_locks l join pg_stat_activity a using (pid)
                where l.locktype = 'relation' and l.granted and a.datname = current_database()
                and l.pid <> pg_backend_pid() order by l.pid limit 5
            """)
        ).all()
    named = ", ".join(f"{pid} ({login})" for pid, login in sessions) or "none any more"
    return (
        f"The database could not be upgraded: a session held a table for {TABLE_PATIENCE}. Nothing was changed. "
        f"Sessions that hold tables now: {named}. End them (select pg_terminate_backend(<number>)) and start again."
    )


def _make_version_table(database: Database) -> None:
    """Alembic's own table, as Alembic makes it, committed at once: others can wait only for what is there."""
    try:
        with database.begin() as connection:
            connection.execute(
                text("""
                    create table if not exists alembic_version (version_num varchar(32) not null,
                    constraint alembic_version_pkc primary key (version_num))
                """)
            )
    except (IntegrityError, ProgrammingError) as error:
        # Two who make it at once collide in PostgreSQL's catalog, in spite of "if not exists".
        if not isinstance(error.orig, (UniqueViolation, DuplicateTable, DuplicateObject)):
            raise


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


def _missing(phases: Mapping[str, Phase], current: str | None) -> MissingRevisions:
    if current is not None and current not in phases:
        raise DatabaseNewerThanCode(
            f"The database is at revision {current}, which this release of orders_pipeline does not know: it was "
            "upgraded by a newer one. Install that release (or restore a backup from before); nothing was changed."
        )
    revisions = [*phases]
    missing = revisions if current is None else revisions[revisions.index(current) + 1 :]
    # The code needs everything up to the newest revision that does not only tidy up.
    needed = max((place for place, one in enumerate(missing, 1) if phases[one] is not Phase.AFTER), default=0)
    return MissingRevisions(missing[:needed], missing[needed:])


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(files("orders_pipeline.database") / "migrations"))
    return configuration
