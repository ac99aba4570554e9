"""The schema: brought up to date once, refused when it is newer than the code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from orders_pipeline.store.database import Database
from orders_pipeline.store.embedded import EmbeddedPostgres
from orders_pipeline.store.migrate import DatabaseNewerThanCode, ensure_database_exists, upgrade
from orders_pipeline.store.schema import SCHEMAS, metadata


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database: Database):
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
