"""Fixtures that every test may use: a real PostgreSQL, one server a session, one fresh database a test.

A template database is migrated once; each test gets a copy of it, which costs some 30 ms.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, text

from orders_pipeline.database.embedded import EmbeddedPostgres, start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade

# A busy machine draws examples slowly; that says nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

SELLER = "A3TH9S8BH6GOGM"
MARKETPLACE = "ATVPDKIKX0DER"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this session's own, with a migrated database named `template`; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="orders-test-") as folder:
        server = start_embedded(Path(folder))
        try:
            url = server.url("template")
            ensure_database_exists(url)
            template = Database(url)
            upgrade(template)
            template.close()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_admin(postgres: EmbeddedPostgres) -> Iterator[Engine]:
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    """The URL of a fresh, migrated database; dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template"))
    yield postgres.url(name)
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def dagster_url(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    """The URL of an empty database for Dagster's own storage; dropped after the test."""
    name = f"test_dagster_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template0"))
    yield postgres.url(name)
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


@pytest.fixture
def instance(dagster_url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with its storage in PostgreSQL, as in a deployment; DAGSTER_HOME is `home`."""
    (tmp_path / "home").mkdir()
    storage = {"postgres": {"postgres_url": dagster_url}}
    with dg.instance_for_test(overrides={"storage": storage}, temp_dir=str(tmp_path / "home")) as running:
        yield running
