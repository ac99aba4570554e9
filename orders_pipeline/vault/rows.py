"""Queries of the vault: sealed records, and the wrapped keys apart from them.

A record keeps its key_reference for life; sealing it anew replaces the wrapped key in place, so there is never a key
of an earlier content. Each seal has a number that no other ever had, and `pipeline.seals` remembers the newest of each
record, apart from the vault: what was put back from a backup, or written past the pipeline, is not the newest, and does
not open. Locks are taken in one order: the seal's row, the record's, its key's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.database.locks import Lock, hold, hold_shared

# How long who destroys a key-encryption key may queue for its lock; whoever wraps queues behind it.
DESTROY_PATIENCE = "2s"

RecordId = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A sealed record as it lies there. `key_id` and `wrapped_key` are None if its key is gone."""

    account_id: str
    kind: str
    subject_id: str
    version: int
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    key_id: str | None
    wrapped_key: bytes | None = field(repr=False)
    number: int
    is_newest: bool = True  # its seal is the newest that was made of it


def hold_keys(connection: Connection) -> None:
    """Until this transaction ends no key-encryption key is destroyed. Before wrapping what this transaction stores."""
    hold_shared(connection, Lock.KEYS)


def hold_keys_alone(connection: Connection) -> None:
    """Until this transaction ends nobody stores what they wrap. OperationalError if others don't finish in time."""
    connection.execute(text("select set_config('lock_timeout', :patience, true)"), {"patience": DESTROY_PATIENCE})
    hold(connection, Lock.KEYS)


def hold_fingerprint_key(connection: Connection) -> None:
    """One process at a time makes the fingerprint key."""
    hold(connection, Lock.FINGERPRINT)


def next_seal(connection: Connection, record: RecordId, version: int) -> int:
    """The number of the seal that is about to be made of this record: from now on the only one that opens."""
    return connection.execute(
        text("""
            insert into pipeline.seals (account_id, kind, subject_id, aad_version)
            values (:account_id, :kind, :subject_id, :version) on conflict (account_id, kind, subject_id)
            do update set seal_number = default, aad_version = excluded.aad_version returning seal_number
        """),
        {"account_id": record[0], "kind": record[1], "subject_id": record[2], "version": version},
    ).scalar_one()


def put_record(connection: Connection, record: StoredRecord, expires_at: datetime | None) -> None:
    """Store, or replace the content, the nonce and the wrapped key of the record that is there."""
    reference = connection.execute(
        text("""
            insert into vault.records as r
            (account_id, kind, subject_id, key_reference, aad_version, seal_number, nonce, ciphertext, expires_at)
            values (:account_id, :kind, :subject_id, :reference, :version, :number, :nonce, :ciphertext, :expires_at)
            on conflict (account_id, kind, subject_id) do update set aad_version = excluded.aad_version,
            seal_number = excluded.seal_number,
            nonce = excluded.nonce, ciphertext = excluded.ciphertext, expires_at = excluded.expires_at,
            stored_at = clock_timestamp() returning r.key_reference
        """),
        {
            "account_id": record.account_id, "kind": record.kind, "subject_id": record.subject_id, "reference": uuid4(),
            "version": record.version, "number": record.number, "nonce": record.nonce, "ciphertext": record.ciphertext,
            "expires_at": expires_at,
        },
    ).scalar_one()  # fmt: skip
    connection.execute(
        text("""
            insert into vault_keys.data_keys (key_reference, account_id, key_id, wrapped_key)
            values (:reference, :account_id, :key_id, :wrapped_key) on conflict (key_reference) do update set
            key_id = excluded.key_id, wrapped_key = excluded.wrapped_key, created_at = clock_timestamp()
        """),
        {
            "reference": reference, "account_id": record.account_id, "key_id": record.key_id,
            "wrapped_key": record.wrapped_key,
        },
    )  # fmt: skip


def put_value_hashes(tx: AccountTransaction, kind: str, subject_id: str, hashes: Sequence[str]) -> None:
    """Keyed hashes of words of a record's content, in place of those that are there."""
    tx.execute(
        text("""
            update vault.records set value_hashes = :hashes
            where account_id = :account_id and kind = :kind and subject_id = :subject_id
        """),
        {"account_id": tx.account_id, "kind": kind, "subject_id": subject_id, "hashes": list(hashes)},
    )


def value_hashes(tx: AccountTransaction, kind: str, subject_ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """The keyed hashes of words of these records' contents, by subject; of those that are there."""
    rows = tx.execute(
        text("""
            select subject_id, value_hashes from vault.records
            where account_id = :account_id and kind = :kind and subject_id = any(:subjects)
        """),
        {"account_id": tx.account_id, "kind": kind, "subjects": list(subject_ids)},
    )
    return {row[0]: frozenset(row[1]) for row in rows}


_RECORD = """
        select r.account_id, r.kind, r.subject_id, r.aad_version, r.nonce, r.ciphertext, k.key_id, k.wrapped_key,
        r.seal_number, coalesce(s.seal_number = r.seal_number and s.aad_version = r.aad_version, false)
        from vault.records r left join vault_keys.data_keys k using (key_reference)
        left join pipeline.seals s on s.account_id = r.account_id and s.kind = r.kind and s.subject_id = r.subject_id
    """


def records(tx: AccountTransaction, kind: str, subject_ids: Sequence[str]) -> dict[str, StoredRecord]:
    """Those of the records asked for that are there, by subject."""
    rows = tx.execute(
        text(_RECORD + "where r.account_id = :account_id and r.kind = :kind and r.subject_id = any(:subjects)"),
        {"account_id": tx.account_id, "kind": kind, "subjects": list(subject_ids)},
    )
    return {record.subject_id: record for record in _stored(rows)}


def records_after(connection: Connection, after: RecordId | None, limit: int) -> list[StoredRecord]:
    """The next records in the order of their ids: a page of a pass over all of them."""
    account_id, kind, subject_id = after or ("", "", "")
    rows = connection.execute(
        text(
            _RECORD + "where (r.account_id, r.kind, r.subject_id) > (:account_id, :kind, :subject_id) "
            "order by r.account_id, r.kind, r.subject_id limit :limit"
        ),
        {"account_id": account_id, "kind": kind, "subject_id": subject_id, "limit": limit},
    )
    return list(_stored(rows))


def records_to_reseal(
    connection: Connection, version: int, after: RecordId | None, limit: int
) -> tuple[list[StoredRecord], RecordId | None]:
    """The next records of an older format, their seals locked (what somebody else holds is left out), and where the
    page after them begins; None: there is none."""
    account_id, kind, subject_id = after or ("", "", "")
    ids = connection.execute(
        text("""
            select account_id, kind, subject_id from pipeline.seals where aad_version < :version
            and (account_id, kind, subject_id) > (:account_id, :kind, :subject_id)
            order by account_id, kind, subject_id limit :limit for update skip locked
        """),
        {"version": version, "account_id": account_id, "kind": kind, "subject_id": subject_id, "limit": limit},
    ).all()
    rows = connection.execute(
        text(
            _RECORD + "where (r.account_id, r.kind, r.subject_id) in (select * from unnest(cast(:sellers as text[]), "  # noqa: S608
            "cast(:kinds as text[]), cast(:subjects as text[]))) order by r.account_id, r.kind, r.subject_id"
        ),
        {"sellers": [row[0] for row in ids], "kinds": [row[1] for row in ids], "subjects": [row[2] for row in ids]},
    )
    last = (ids[-1].account_id, ids[-1].kind, ids[-1].subject_id) if ids else None
    return list(_stored(rows)), last


def has_older_records(connection: Connection, version: int) -> bool:
    """Whether any record is of a format before this one."""
    return connection.execute(
        text("select exists (select from pipeline.seals where aad_version < :version)"), {"version": version}
    ).scalar_one()


def may_reseal(connection: Connection) -> bool:
    """Whether this login may write a record's content."""
    return connection.execute(
        text(
            "select has_table_privilege('vault.records', 'UPDATE') and has_table_privilege('pipeline.seals', 'UPDATE')"
        )
    ).scalar_one()


def put_resealed(connection: Connection, record: StoredRecord) -> None:
    """The same content under a new seal: neither when it was stored changes, nor when it goes."""
    connection.execute(
        text("""
            with resealed as (update vault.records set aad_version = :version, seal_number = :number, nonce = :nonce,
            ciphertext = :ciphertext where account_id = :account_id and kind = :kind and subject_id = :subject_id
            returning key_reference) update vault_keys.data_keys k set key_id = :key_id, wrapped_key = :wrapped_key
            from resealed r where k.key_reference = r.key_reference
        """),
        {
            "version": record.version, "number": record.number, "nonce": record.nonce, "ciphertext": record.ciphertext,
            "account_id": record.account_id, "kind": record.kind, "subject_id": record.subject_id,
            "key_id": record.key_id, "wrapped_key": record.wrapped_key,
        },
    )  # fmt: skip


def delete_records(tx: AccountTransaction, kind: str, subject_ids: Sequence[str]) -> list[str]:
    """Delete ciphertexts and wrapped keys, and note that old backups still hold them; the subjects that were there."""
    tx.execute(
        text("""
            delete from pipeline.seals where (account_id, kind, subject_id) in (select account_id, kind, subject_id
            from pipeline.seals where account_id = :account_id and kind = :kind and subject_id = any(:subjects)
            order by subject_id for update)
        """),
        {"account_id": tx.account_id, "kind": kind, "subjects": list(subject_ids)},
    )
    gone, key_ids = tx.execute(
        text("""
            with gone as (delete from vault.records where account_id = :account_id and kind = :kind
            and subject_id = any(:subjects) returning subject_id, key_reference),
            keys as (delete from vault_keys.data_keys k using gone where k.key_reference = gone.key_reference
            returning k.key_id)
            select (select array_agg(subject_id order by subject_id) from gone),
            (select array_agg(distinct key_id) from keys)
        """),
        {"account_id": tx.account_id, "kind": kind, "subjects": list(subject_ids)},
    ).one()
    if gone:
        tx.execute(
            text("insert into vault_keys.pending_shreds (records, key_ids) values (:records, :key_ids)"),
            {"records": len(gone), "key_ids": key_ids or []},
        )
    return list(gone or [])


def note_refusal(tx: AccountTransaction, kind: str, subject_id: str, reason: str) -> None:
    """Remember that this record was not opened, and why. `reason` is our own words."""
    tx.execute(
        text("""
            insert into pipeline.refused_records (account_id, kind, subject_id, reason)
            values (:account_id, :kind, :subject_id, :reason) on conflict (account_id, kind, subject_id)
            do update set reason = excluded.reason, refused_at = clock_timestamp()
        """),
        {"account_id": tx.account_id, "kind": kind, "subject_id": subject_id, "reason": reason},
    )


def delete_refusals(connection: Connection, *, but: Sequence[RecordId]) -> None:
    """Forget every refusal but those of these records."""
    connection.execute(
        text("""
            delete from pipeline.refused_records
            where (account_id, kind, subject_id) not in
            (select * from unnest(cast(:sellers as text[]), cast(:kinds as text[]), cast(:subjects as text[])))
        """),
        {"sellers": [one[0] for one in but], "kinds": [one[1] for one in but], "subjects": [one[2] for one in but]},
    )


def _stored(rows: Iterable[Any]) -> Iterator[StoredRecord]:
    for row in rows:
        yield StoredRecord(
            row[0],
            row[1],
            row[2],
            row[3],
            bytes(row[4]),
            bytes(row[5]),
            row[6],
            None if row[7] is None else bytes(row[7]),
            row[8],
            row[9],
        )
