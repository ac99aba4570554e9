"""What every table shares: the schemas, the naming of constraints, and columns whose times the database sets.

Each domain declares its tables in a `tables.py` of its own.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    text,
)

SCHEMAS = ("pipeline", "vault", "vault_keys", "audit")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NOW = text("clock_timestamp()")


def time_column(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def time_now_column(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=NOW)


def count_column(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


LOCK_TABLES = [
    Table(name, metadata, schema=schema)
    for schema, name in (
        ("pipeline", "erasures_lock"),
        ("vault_keys", "keys_lock"),
        ("vault_keys", "fingerprint_lock"),
        ("audit", "chain_lock"),
    )
]
