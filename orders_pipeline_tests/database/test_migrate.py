"""The schema: brought up to date once, refused when it is newer than the code."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

import orders_pipeline
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database import migrate
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.database.metadata import SCHEMAS, metadata
from orders_pipeline.database.migrate import (
    DatabaseNewerThanCode,
    MigrationBlocked,
    MigrationOutOfOrder,
    Phase,
    ensure_database_exists,
    upgrade,
)
from orders_pipeline.privacy.checks.checks import audit_log_is_retained
from orders_pipeline_tests.database.schema_facts import Fact, schema_facts

CHAIN = migrate.revision_phases()


def _declare_all_tables() -> None:
    """Each domain declares its own: import them all."""
    package = Path(orders_pipeline.__file__).parent
    for file in sorted(package.rglob("tables.py")):
        if file.parent.name != "defs":
            import_module(".".join(file.relative_to(package.parent).with_suffix("").parts))


@pytest.fixture
def empty(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[Database]:
    name = f"test_empty_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template0"))
    database = Database(postgres.url(name))
    yield database
    database.close()
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


def _facts(database: Database) -> set[Fact]:
    with database.begin() as connection:
        return schema_facts(connection)


def _alembic(database: Database, revision: str) -> None:
    """Upgrade to one revision, whatever its phase."""
    with database.begin() as connection:
        configuration = migrate._configuration()  # pyright: ignore[reportPrivateUsage]
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)


def test_the_tables_in_code_are_the_sum_of_the_migrations(database: Database, empty: Database):
    _declare_all_tables()
    with empty.begin() as connection:
        for schema in SCHEMAS:
            connection.execute(text(f"create schema {schema}"))
        metadata.create_all(connection)
    # Functions and triggers stand in SQL alone: the code declares none.
    migrated = {fact for fact in _facts(database) if fact[0] not in ("trigger", "function")}
    declared = _facts(empty)
    assert declared - migrated == set(), "in code, and no migration makes it"
    assert migrated - declared == set(), "made by a migration, and not in code"
    assert {fact[0] for fact in declared} >= {"table", "column", "default", "comment", "index", "constraint"}


# --- two halves


def test_a_revision_that_runs_beside_the_old_code_only_adds(empty: Database):
    before: set[Fact] = set()
    for revision, phase in CHAIN.items():
        _alembic(empty, revision)
        after = _facts(empty)
        if phase is Phase.BEFORE:
            assert before - after == set(), f"{revision} takes away or changes what the old code may use"
            assert _demands(before, after) == set(), f"{revision} asks of the old code what it does not know"
        before = after


def _demands(before: set[Fact], after: set[Fact]) -> set[Fact]:
    """What is new of a table that was there, and would refuse a row as the old code writes it."""
    tables = {table for kind, table, _, _ in before if kind == "table"}
    defaults = {(table, name) for kind, table, name, _ in after if kind == "default"}
    return {
        (kind, table, name, words)
        for kind, table, name, words in after - before
        if table in tables
        and (
            kind in ("constraint", "trigger")
            or (kind == "index" and words.startswith("CREATE UNIQUE"))
            or (kind == "column" and words.endswith(" not null") and (table, name) not in defaults)
        )
    }


B, S, A = Phase.BEFORE, Phase.STOPPED, Phase.AFTER
TWO_HALVES = {"1": B, "2": B, "3": A}


@pytest.mark.parametrize(
    ("chain", "current", "only", "expected"),
    [
        (TWO_HALVES, "1", None, "3"),
        (TWO_HALVES, "1", B, "2"),
        (TWO_HALVES, "2", A, "3"),
        (TWO_HALVES, "1", A, r"at revision 1, and this release needs 2\. Run `orders-pipeline migrate --only before`"),
        (TWO_HALVES, None, A, "at revision none, and this release needs 2"),
        # Again, or by a second process: nothing is left to do, and nothing is taken back.
        (TWO_HALVES, "2", B, "2"),
        (TWO_HALVES, "3", B, "3"),
        (TWO_HALVES, "3", A, "3"),
        # What the old code cannot live with is not applied beside it, and says what to do instead.
        ({"1": B, "2": S, "3": B}, "1", B, "revision 2,.*Stop every process.*`orders-pipeline migrate`"),
        ({"1": B, "2": S, "3": B}, "1", None, "3"),
        ({"1": B, "2": S, "3": B}, "2", B, "3"),
        # Nothing runs on an empty database.
        ({"1": B, "2": S, "3": A}, None, B, "2"),
        # A release was skipped: its second half stands between.
        ({"1": B, "2": A, "3": B}, "1", B, "cannot run with revision 2"),
    ],
)  # fmt: skip
def test_each_half_goes_as_far_as_it_may(
    chain: dict[str, Phase], current: str | None, only: Phase | None, expected: str
):
    if expected in chain:
        assert migrate.target_revision(chain, current, only) == expected
    else:
        with pytest.raises(MigrationOutOfOrder, match=expected):
            migrate.target_revision(chain, current, only)


def test_both_halves_one_after_the_other_make_what_all_at_once_makes(database: Database, empty: Database):
    stopped = [revision for revision, phase in CHAIN.items() if phase is Phase.STOPPED]
    _alembic(empty, stopped[-1])
    upgrade(empty, Phase.BEFORE)
    with empty.begin() as connection:
        assert migrate.missing_revisions(connection).needed == [], "the new code can start"
    assert upgrade(empty, Phase.AFTER) == [*CHAIN][-1]
    assert _facts(empty) == _facts(database)


def test_the_half_before_is_refused_where_processes_must_be_stopped_and_changes_nothing(empty: Database):
    _alembic(empty, "0003")
    facts = _facts(empty)
    with pytest.raises(MigrationOutOfOrder, match="0004"):
        upgrade(empty, Phase.BEFORE)
    assert _facts(empty) == facts


def test_a_query_that_misses_its_table_or_column_says_what_to_run(empty: Database, database: Database):
    for one, query in ((empty, "select 1 from pipeline.orders"), (database, "select renamed from pipeline.orders")):
        with pytest.raises(ProgrammingError) as failed, one.begin() as connection:
            connection.execute(text(query))
        assert failed.value.__notes__ == [
            "The schema is not the one that this release needs: `orders-pipeline doctor` says what to run."
        ]


# --- refused, raced, blocked


def test_a_database_that_is_newer_than_the_code_is_refused_and_left_alone(database: Database):
    with database.begin() as connection:
        connection.execute(text("update alembic_version set version_num = 'from_the_future'"))
    with pytest.raises(DatabaseNewerThanCode, match="from_the_future"):
        upgrade(database)
    with database.begin() as connection:
        assert connection.execute(text("select version_num from alembic_version")).scalar_one() == "from_the_future"


def test_processes_that_start_at_the_same_moment_migrate_once(postgres: EmbeddedPostgres, postgres_admin: Engine):
    url = postgres.url("test_race")
    ensure_database_exists(url)
    try:
        databases = [Database(url) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            revisions = set(pool.map(upgrade, databases))
        assert len(revisions) == 1
        for database in databases:
            database.close()
    finally:
        with postgres_admin.connect() as connection:
            connection.execute(text("drop database test_race with (force)"))


def test_a_session_that_blocks_a_migration_is_named(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrate, "TABLE_PATIENCE", "100ms")
    with database.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0002'"))

    def alter(configuration: Config, _: str) -> None:
        configuration.attributes["connection"].execute(text("alter table pipeline.orders add column new int"))

    monkeypatch.setattr(command, "upgrade", alter)
    with database.begin() as reading:
        session = reading.execute(text("select pg_backend_pid(), count(*) from pipeline.orders")).one()[0]
        with pytest.raises(MigrationBlocked, match=rf"{session} \(postgres\).*pg_terminate_backend"):
            upgrade(database)


def test_an_audit_log_that_was_begun_under_the_earlier_lock_goes_on_unbroken(database: Database):
    audit = AuditLog(database)
    entry = AuditEntry(action="test", account_id="A1", purpose="test", outcome="done")
    with database.begin() as connection:
        audit.record_for_each(connection, entry, ["111-1", "111-2"])
        configuration = migrate._configuration()  # pyright: ignore[reportPrivateUsage]
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0002")
        audit.record_for_each(connection, entry, ["111-3"])
    upgrade(database)
    with database.begin() as connection:
        audit.record_for_each(connection, entry, ["111-4"])
    assert (audit.verify().ok, audit.verify().entries) == (True, 4)
    assert audit_log_is_retained(database).passed
