"""The schema: brought up to date once, refused when it is newer than the code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

import orders_pipeline
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.database import migrate
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.database.metadata import SCHEMAS, metadata
from orders_pipeline.database.migrate import DatabaseNewerThanCode, MigrationBlocked, ensure_database_exists, upgrade
from orders_pipeline.privacy.checks.checks import audit_log_is_kept


def _declare_all_tables() -> None:
    """Each domain declares its own: import them all."""
    package = Path(orders_pipeline.__file__).parent
    for file in sorted(package.rglob("tables.py")):
        if file.parent.name != "defs":
            import_module(".".join(file.relative_to(package.parent).with_suffix("").parts))


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database: Database):
    _declare_all_tables()

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "schema" or name in SCHEMAS

    with database.transaction() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_schemas": True, "include_name": ours, "compare_type": True}
        )
        differences = [
            difference for difference in compare_metadata(context, metadata) if "alembic_version" not in str(difference)
        ]
    assert differences == []


def test_a_database_that_is_newer_than_the_code_is_refused_and_left_alone(database: Database):
    with database.transaction() as connection:
        connection.execute(text("update alembic_version set version_num = 'from_the_future'"))
    with pytest.raises(DatabaseNewerThanCode, match="from_the_future"):
        upgrade(database)
    with database.transaction() as connection:
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


def test_a_session_that_reads_and_does_not_end_holds_a_migration_up_for_a_while_and_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(migrate, "TABLE_PATIENCE", "100ms")
    with database.transaction() as connection:
        connection.execute(text("update alembic_version set version_num = '0002'"))

    def alter(configuration: Config, _: str) -> None:
        configuration.attributes["connection"].execute(text("alter table pipeline.orders add column new int"))

    monkeypatch.setattr(command, "upgrade", alter)
    with database.transaction() as reading:
        session = reading.execute(text("select pg_backend_pid(), count(*) from pipeline.orders")).one()[0]
        with pytest.raises(MigrationBlocked, match=rf"{session} \(postgres\).*pg_terminate_backend"):
            upgrade(database)


def test_an_audit_log_that_was_begun_under_the_earlier_lock_goes_on_unbroken(database: Database):
    audit = AuditLog(database)
    entry = AuditEntry(action="test", seller_id="A1", purpose="test", outcome="done")
    with database.transaction() as connection:
        audit.record_for_each(connection, entry, ["111-1", "111-2"])
        configuration = migrate._configuration()  # pyright: ignore[reportPrivateUsage]
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0002")
        audit.record_for_each(connection, entry, ["111-3"])
    upgrade(database)
    with database.transaction() as connection:
        audit.record_for_each(connection, entry, ["111-4"])
    assert (audit.verify().ok, audit.verify().entries) == (True, 4)
    assert audit_log_is_kept(database).passed
