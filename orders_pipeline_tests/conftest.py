"""Fixtures that every test may use: a real PostgreSQL, one server a session, one fresh database a test.

A template database is migrated once; each test gets a copy of it, which costs some 30 ms. So it is with Dagster's own
tables. The server lies in memory where there is room, and never waits for a disk: its data end with the session, and
what must outlive a crash is tested on servers of its own (test_embedded, chaos).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, text

from orders_pipeline.database.embedded import EmbeddedPostgres, start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline_tests.copied_database import COPY, copied_database
from warehouses.tryton.installation import TrytonNotInstalled
from warehouses.tryton.server import TrytonServer, running_tryton

# A busy machine draws examples slowly; that says nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

SELLER = "A3TH9S8BH6GOGM"
MARKETPLACE = "ATVPDKIKX0DER"

# Linux's folder in memory. A worker's server needs some 300 MB there; a container has often 64 MB in all.
_MEMORY, _MEMORY_NEEDED_BYTES = Path("/dev/shm"), 4 * 1024**3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long early, the longest first, and quick ones between them.

    A long one that is begun when the others end is waited for by all workers. Whole deployments side by side cost each
    other processor time: all of their daemons tick for as long as one of them takes.
    """
    files: dict[Path, list[pytest.Item]] = {}
    seconds: Counter[Path] = Counter()
    for item in items:
        files.setdefault(item.path, []).append(item)
        if (mark := item.get_closest_marker("slow")) is not None:
            seconds[item.path] += mark.args[0]
    quick = [path for path in files if path not in seconds]
    # The last quarter has quick ones alone, so that the workers end together.
    between = len(quick) * 3 // 4 // len(seconds) if seconds else 0
    order: list[Path] = []
    for path, _ in seconds.most_common():
        order += [path, *quick[:between]]
        del quick[:between]
    items[:] = [item for path in (*order, *quick) for item in files[path]]


def folder_for_servers() -> str | None:
    is_usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    return str(_MEMORY) if is_usable and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED_BYTES else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this session's own, with a migrated database named `template`; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="orders-test-", dir=folder_for_servers()) as folder:
        server = start_embedded(Path(folder))
        try:
            _wait_for_no_disk(server)
            url = server.url("template")
            ensure_database_exists(url)
            template = Database(url)
            upgrade(template)
            template.close()
            yield server
        finally:
            server.stop()


def _wait_for_no_disk(server: EmbeddedPostgres) -> None:
    engine = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '128MB'"):
            connection.execute(text(f"alter system set {setting}"))
        connection.execute(text("select pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_admin(postgres: EmbeddedPostgres) -> Iterator[Engine]:
    engine = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    """The URL of a fresh, migrated database; dropped after the test."""
    with copied_database(postgres, postgres_admin, "template") as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    """A real Tryton with a prepared database, one for all tests of a process: they use orders of their own."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_tryton(tmp_path_factory.mktemp("tryton")))
        except TrytonNotInstalled as error:
            if "CI" in os.environ:
                raise
            pytest.skip(f"Tryton cannot be installed here: {error}")
        yield server


@pytest.fixture(scope="session")
def dagster_template(postgres: EmbeddedPostgres, postgres_admin: Engine) -> str:
    """The name of a database with Dagster's own tables, as it makes them at its first start."""
    name = "template_dagster"
    with postgres_admin.connect() as connection:
        connection.execute(text(COPY.format(name=name, template="template0")))
    with dg.instance_for_test(overrides=_storage(postgres.url(name))) as first:
        first.get_runs_count()
    return name


@pytest.fixture
def dagster_url(postgres: EmbeddedPostgres, postgres_admin: Engine, dagster_template: str) -> Iterator[str]:
    """The URL of a database with Dagster's tables and nothing in them; dropped after the test."""
    with copied_database(postgres, postgres_admin, dagster_template) as url:
        yield url


@pytest.fixture
def instance(dagster_url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with its storage in PostgreSQL, as in a deployment; DAGSTER_HOME is `home`."""
    (tmp_path / "home").mkdir()
    with dg.instance_for_test(overrides=_storage(dagster_url), temp_dir=str(tmp_path / "home")) as running:
        yield running


def _storage(url: str) -> dict[str, Any]:
    return {"storage": {"postgres": {"postgres_url": url}}}
