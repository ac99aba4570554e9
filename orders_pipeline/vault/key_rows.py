"""Queries of wrapped keys, apart from the records that they open: what each key-encryption key wraps, and shreds that
an old backup could still undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from orders_pipeline.vault.rows import RecordId


@dataclass(frozen=True, slots=True)
class WrappedRow:
    """A wrapped key with what it is bound to; `owner` is None for a key that opens nothing."""

    key_reference: UUID
    key_id: str
    wrapped_key: bytes = field(repr=False)
    owner: RecordId | None


@dataclass(frozen=True, slots=True)
class WrappedToken:
    """The wrapped key of one of Amazon's tokens."""

    application_id: str
    account_id: str
    purpose: str
    key_id: str
    wrapped_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How much one key-encryption key wraps."""

    records: int = 0
    tokens: int = 0


def key_uses(connection: Connection) -> dict[str, KeyUse]:
    """How much each key-encryption key wraps."""
    rows = connection.execute(
        text("""
            select key_id, sum(records)::bigint, sum(tokens)::bigint
            from (select key_id, count(*) as records, 0 as tokens from vault_keys.data_keys group by key_id
            union all select key_id, 0, count(*) from vault.amazon_tokens group by key_id) as uses
            group by key_id order by key_id
        """)
    )
    return {row[0]: KeyUse(row[1], row[2]) for row in rows}


def keys_to_rewrap(connection: Connection, current: str, after: UUID | None, limit: int) -> list[WrappedRow]:
    """Wrapped keys under another key than the current one, locked; those that somebody else holds are left out."""
    rows = connection.execute(
        text("""
            select k.key_reference, k.key_id, k.wrapped_key, r.account_id, r.kind, r.subject_id
            from vault_keys.data_keys k left join vault.records r using (key_reference)
            where k.key_id <> :current and k.key_reference > :after
            order by k.key_reference limit :limit for update of k skip locked
        """),
        {"current": current, "after": after or UUID(int=0), "limit": limit},
    )
    return [
        WrappedRow(row[0], row[1], bytes(row[2]), None if row[3] is None else (row[3], row[4], row[5])) for row in rows
    ]


def put_rewrapped(connection: Connection, rows: Sequence[tuple[UUID, str, bytes]]) -> None:
    """The new wrapping of each key: its reference, the key-encryption key, the blob."""
    if not rows:
        return
    connection.execute(
        text("""
            update vault_keys.data_keys k set key_id = g.key_id, wrapped_key = g.wrapped_key
            from unnest(cast(:references as uuid[]), cast(:key_ids as text[]), cast(:blobs as bytea[]))
            as g(key_reference, key_id, wrapped_key) where k.key_reference = g.key_reference
        """),
        {
            "references": [str(row[0]) for row in rows],
            "key_ids": [row[1] for row in rows],
            "blobs": [row[2] for row in rows],
        },
    )


def delete_keys(connection: Connection, references: Sequence[UUID]) -> None:
    """Delete wrapped keys that open nothing."""
    connection.execute(
        text("delete from vault_keys.data_keys where key_reference = any(cast(:references as uuid[]))"),
        {"references": [str(reference) for reference in references]},
    )


def tokens_to_rewrap(
    connection: Connection, current: str, after: tuple[str, str, str], limit: int
) -> list[WrappedToken]:
    """The next of Amazon's tokens under another key than the current one, locked, in the order of their names."""
    rows = connection.execute(
        text("""
            select application_id, account_id, purpose, key_id, wrapped_key from vault.amazon_tokens
            where key_id <> :current and (application_id, account_id, purpose) > (:application, :account, :purpose)
            order by application_id, account_id, purpose limit :limit for update skip locked
        """),
        {"current": current, "application": after[0], "account": after[1], "purpose": after[2], "limit": limit},
    )
    return [WrappedToken(row[0], row[1], row[2], row[3], bytes(row[4])) for row in rows]


def put_rewrapped_token(connection: Connection, token: WrappedToken) -> None:
    """The new wrapping of one token's key."""
    connection.execute(
        text("""
            update vault.amazon_tokens set key_id = :key_id, wrapped_key = :wrapped_key
            where application_id = :application_id and account_id = :account_id and purpose = :purpose
        """),
        {
            "application_id": token.application_id, "account_id": token.account_id, "purpose": token.purpose,
            "key_id": token.key_id, "wrapped_key": token.wrapped_key,
        },
    )  # fmt: skip


def delete_token(connection: Connection, token: WrappedToken) -> None:
    """Forget a token; Amazon gives another."""
    connection.execute(
        text("""
            delete from vault.amazon_tokens
            where application_id = :application_id and account_id = :account_id and purpose = :purpose
        """),
        {"application_id": token.application_id, "account_id": token.account_id, "purpose": token.purpose},
    )


@dataclass(frozen=True, slots=True)
class PendingShred:
    """A shred that an old backup could still undo, with one of the keys that opened its records."""

    shred_id: int
    records: int
    shredded_at: datetime
    key_ids: tuple[str, ...]


def pending_shreds(connection: Connection) -> list[PendingShred]:
    """Shreds that an old backup could still undo, oldest first."""
    rows = connection.execute(
        text("select shred_id, records, shredded_at, key_ids from vault_keys.pending_shreds order by shred_id")
    )
    return [PendingShred(row[0], row[1], row[2], tuple(row[3])) for row in rows]


def note_shreds_pending(connection: Connection, error: str | None) -> None:
    """Why the shreds that are pending could not be completed; None: nothing kept them from it."""
    connection.execute(text("update vault_keys.pending_shreds set last_error = :error"), {"error": error})


def holds_wrapped_keys(connection: Connection) -> bool:
    """Whether anything here is wrapped by a key-encryption key, and so would be lost with it."""
    return connection.execute(
        text("select exists (select from vault_keys.data_keys) or exists (select from vault.amazon_tokens)")
    ).scalar_one()


def delete_pending_shreds(connection: Connection, shred_ids: Sequence[int]) -> None:
    """These shreds are now beyond undoing."""
    connection.execute(
        text("delete from vault_keys.pending_shreds where shred_id = any(:ids)"), {"ids": list(shred_ids)}
    )
