"""Locks that only the pipeline's own logins can take.

A PostgreSQL advisory lock is open to every session: who may only read could take the same number and stop everybody. A
lock here is a table or a row, and PostgreSQL lets a login lock it only with the right to write it. Each belongs to a
transaction: it ends with it, also when the process dies, and a pooler between (pgBouncer in transaction mode) keeps it.

A table's lock is shared by many or held alone, is fair (who comes later waits behind who waits), and writes nothing.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Connection, text


class Lock(StrEnum):
    """One empty table each."""

    # Shared: who stores details, from looking whether they are to be forgotten until the commit. Alone: a new request.
    ERASURES = "pipeline.erasures_lock"
    # Shared: who wraps a key, until its row is committed. Alone: who destroys a key-encryption key.
    KEYS = "vault_keys.keys_lock"
    # Alone: who makes the fingerprint key.
    FINGERPRINT = "vault_keys.fingerprint_lock"
    # Alone: who appends to the audit log; audit.chain() takes it.
    CHAIN = "audit.chain_lock"


def hold(connection: Connection, lock: Lock) -> None:
    """Hold it alone until the transaction ends. OperationalError after the connection's lock_timeout."""
    connection.execute(text(f"lock table {lock} in exclusive mode"))


def hold_shared(connection: Connection, lock: Lock) -> None:
    """Hold it beside others who share it, until the transaction ends. OperationalError as above."""
    # The weakest mode that waits for "exclusive", and which the right to insert is enough for.
    connection.execute(text(f"lock table {lock} in row exclusive mode"))


def hold_name(connection: Connection, name: str) -> None:
    """Hold a name alone until the transaction ends. For what there is one of for each seller, or each token."""
    found = text("select from pipeline.locks where name = :name for update")
    if connection.execute(found, {"name": name}).one_or_none() is None:
        connection.execute(text("insert into pipeline.locks values (:name) on conflict do nothing"), {"name": name})
        connection.execute(found, {"name": name})
