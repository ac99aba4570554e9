"""Databases that are copies of another: what is the same for many tests is made once, and copied in some 30 ms."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from orders_pipeline.database.embedded import EmbeddedPostgres

# Copies by files: the write-ahead log would hold each page of each test's database once more.
COPY = "create database {name} template {template} strategy file_copy"


@contextmanager
def copied_database(postgres: EmbeddedPostgres, admin: Engine, template: str) -> Generator[str]:
    """The URL of a copy of `template`, to which nobody may be connected; dropped at the end, whoever is connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(COPY.format(name=name, template=template)))
    try:
        yield postgres.url(name)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))


def close_for_copies(admin: Engine, name: str) -> None:
    """Nobody is connected to this database from now on: it can be copied."""
    with admin.connect() as connection:
        connection.execute(text(f"alter database {name} allow_connections false"))
        connection.execute(
            text("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = :name"), {"name": name}
        )
