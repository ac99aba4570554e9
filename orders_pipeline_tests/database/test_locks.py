"""The pipeline's locks: nobody who may only read can take one and so stop everybody."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from orders_pipeline.audit import rows as audit
from orders_pipeline.channels.amazon.auth.rows import lock_token
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.database.metadata import SCHEMAS
from orders_pipeline.database.migrate import upgrade
from orders_pipeline.orders.erasures import insert_erasure, may_be_stored
from orders_pipeline.privacy.access.roles import READER
from orders_pipeline.shipments.event_rows import lock_shipment_events
from orders_pipeline.vault import rows as vault
from orders_pipeline_tests.conftest import SELLER

ENTRY = {
    "actor": "job:test", "action": "test", "seller_id": SELLER, "order_id": None, "purpose": "test", "outcome": "done",
    "detail": {},
}  # fmt: skip
# Everything that waits for a lock that another session of the pipeline may hold.
WAITS: dict[str, Callable[[Connection], object]] = {
    "append to the audit log": lambda connection: audit.append(connection, ENTRY),
    "wait for who appends": audit.wait_for_writers,
    "wrap a key": vault.hold_keys,
    "destroy a key": vault.hold_keys_alone,
    "make the fingerprint key": vault.hold_fingerprint_key,
    "ask to forget an order": lambda connection: insert_erasure(AccountTransaction(connection, SELLER), "111-1"),
    "store an order's details": lambda connection: may_be_stored(AccountTransaction(connection, SELLER), "111-1"),
    "obtain a token": lambda connection: lock_token(AccountTransaction(connection, SELLER), "application", "access"),
    "apply shipment events": lambda connection: lock_shipment_events(AccountTransaction(connection, SELLER)),
}
# What earlier releases locked by number; any session may hold a number.
NUMBERS = (
    *(f"{number}" for number in range(7_206_512_448, 7_206_512_453)),
    f"hashtextextended('amazon_token\napplication\n{SELLER}\naccess', 0)",
    f"hashtextextended('apply_shipments:{SELLER}', 0)",
)
MODES = (
    "access share", "row share", "row exclusive", "share update exclusive", "share", "share row exclusive", "exclusive",
    "access exclusive",
)  # fmt: skip


def _take_all_that_may_be_taken(reader: Connection) -> list[str]:
    """Lock each number and each table in every mode that this login is let; the modes stronger than reading."""
    for number in NUMBERS:
        reader.execute(text(f"select pg_advisory_lock({number})"))
    tables = reader.execute(
        text(
            "select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind in ('r', 'p') and (n.nspname = any(:schemas) or c.relname = 'alembic_version')"
        ),
        {"schemas": list(SCHEMAS)},
    ).scalars()
    stronger: list[str] = []
    for table in list(tables):
        for statement in (
            *(f"lock table {table} in {mode} mode nowait" for mode in MODES),
            f"select from {table} for key share nowait",
        ):
            savepoint = reader.begin_nested()
            try:
                reader.execute(text(statement))
            except ProgrammingError:
                savepoint.rollback()
            else:
                if "access share" not in statement:
                    stronger.append(statement)
    return stronger


@pytest.fixture
def reader(database_url: str, postgres_admin: Engine) -> Iterator[Connection]:
    """A session of an analyst: a login that is a member of the reader's role, and of nothing else."""
    login = f"analyst_{uuid.uuid4().hex[:8]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create role {login} login in role {READER}"))
    engine = create_engine(database_url.replace("//postgres:@", f"//{login}:@"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop role {login}"))


@pytest.mark.parametrize("waits", WAITS)
def test_a_session_that_may_only_read_stops_nobody(reader: Connection, database: Database, waits: str):
    assert _take_all_that_may_be_taken(reader) == []
    with database.begin() as connection:
        # Longer than any lock here is waited for.
        connection.execute(text("set local statement_timeout = '2s'"))
        WAITS[waits](connection)


def test_a_session_that_may_only_read_does_not_stop_a_start(reader: Connection, database: Database):
    _take_all_that_may_be_taken(reader)
    assert upgrade(database)
