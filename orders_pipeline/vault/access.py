"""Storing, revealing and shredding a buyer's data. `Vault.reveal` is the one door by which plaintext leaves.

How shredding becomes final. `shred` deletes the ciphertext and its wrapped key, at once. A dump taken before still
holds both (and for a while the server's own log, and a replica), so the key-encryption key that opens them must go as
well. `rotation.complete_shreds` does it: a new key-encryption key, every living record's key re-wrapped under it, all
older ones destroyed. From then on nothing that the server holds opens the record, whichever dump it came from.

The price: a settlement re-wraps what lives (some ten thousand records a second with a keyring; with AWS KMS one call
each), so it is one job a night and one after each request to erase, not a part of each shred; `pending_shreds` tells
what still waits. A dump from before a settlement restores no buyers' data: orders still to be shipped are read from
Amazon again. A copy of the keyring file kept elsewhere undoes all of this: keep such copies no longer than the data.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from threading import Lock

from sqlalchemy import Connection

from orders_pipeline.audit.log import AuditEntry, AuditLog, current_actor
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.vault import rows as queries
from orders_pipeline.vault.envelope import NUMBERED, SealedRecord, open_sealed, record_context, seal
from orders_pipeline.vault.errors import VaultError, VaultIntegrityError, VaultKeyMissing, VaultRecordMissing
from orders_pipeline.vault.identifying_words import BuyerMask, IdentifyingValues, hashes_of
from orders_pipeline.vault.key_rows import KeyUse, key_uses
from orders_pipeline.vault.keys import KeyProvider
from orders_pipeline.vault.rows import RecordId, StoredRecord

# The kinds whose subject is an order; others name their subject in the audit entry's detail.
ORDER_KINDS = frozenset({"shipping_details"})

_DATABASE_IS_OLDER = (
    "Was the database restored from a backup? Then restore the keyring that was kept with it; or, if there is none, "
    "run `orders-pipeline keys replace-lost`: what still ships is read from Amazon anew."
)
# A shred holds the audit chain's lock until its transaction ends; this many take about half a second.
SHRED_BATCH = 5_000

# The fingerprint key belongs to the deployment, not to a seller.
_FINGERPRINT: RecordId = ("*", "fingerprint_key", "content")
_FINGERPRINT_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class VerifiedBatch:
    """What a page of a pass over all records showed. `last` is where the next one begins; None: there is no next."""

    checked: int
    under_older_key: int
    older_format: int
    refused: tuple[RecordId, ...]
    last: RecordId | None


def open_record(keys: KeyProvider, record: StoredRecord) -> bytes:
    """The plaintext of a record as it lies there, for who has accounted for it. Raises VaultError."""
    if record.key_id is None or record.wrapped_key is None:
        raise VaultKeyMissing("A record's own key is gone, and so is what it held.")
    sealed = SealedRecord(
        record.key_id, record.wrapped_key, record.nonce, record.ciphertext, record.version, record.number
    )
    context = record_context(account_id=record.account_id, kind=record.kind, subject_id=record.subject_id)
    plaintext = open_sealed(keys, sealed, context)
    if not record.is_newest:
        raise VaultIntegrityError(
            "A sealed record is not the newest that was stored here: an older one was put back in its place, or it was "
            "written past the pipeline."
        )
    return plaintext


class Vault:
    """The sealed records of one database. Thread-safe."""

    def __init__(self, database: Database, keys: KeyProvider, audit: AuditLog) -> None:
        self._database = database
        self._keys = keys
        self._audit = audit
        self._fingerprint_key: bytes | None = None
        self._guard = Lock()

    @property
    def keys(self) -> KeyProvider:
        return self._keys

    @property
    def audit(self) -> AuditLog:
        return self._audit

    def store(
        self,
        tx: AccountTransaction,
        *,
        kind: str,
        subject_id: str,
        plaintext: bytes,
        expires_at: datetime | None,
        values: IdentifyingValues | None = None,
    ) -> None:
        """Seal and store in the caller's transaction; replaces what is there, with its key.

        `values`: what of it is to be recognised in the texts of others; kept as keyed hashes (`buyer_mask`).
        """
        queries.hold_keys(tx.connection)
        context = record_context(account_id=tx.account_id, kind=kind, subject_id=subject_id)
        number = queries.next_seal(tx.connection, (tx.account_id, kind, subject_id), NUMBERED)
        sealed = seal(self._keys, plaintext, context, number=number)
        stored = StoredRecord(
            tx.account_id,
            kind,
            subject_id,
            sealed.version,
            sealed.nonce,
            sealed.ciphertext,
            sealed.key_id,
            sealed.wrapped_key,
            sealed.number,
        )
        queries.put_record(tx.connection, stored, expires_at)
        if values is not None:
            self.put_value_hashes(tx, kind=kind, subject_id=subject_id, values=values)

    def put_value_hashes(
        self, tx: AccountTransaction, *, kind: str, subject_id: str, values: IdentifyingValues
    ) -> None:
        """Keep keyed hashes of a record's values, in place of those that are there. Call `prepare` before."""
        hashes = hashes_of(values, partial(self._value_hash, tx.account_id, subject_id))
        queries.put_value_hashes(tx, kind, subject_id, hashes)

    def buyer_mask(self, *, account_id: str, kind: str, subject_ids: Sequence[str]) -> BuyerMask:
        """What masks the values of these records in the texts of others. Opens no record, and shows none.

        Not within a transaction. Where the fingerprint key cannot be opened, all that could be a name is masked.
        """
        try:
            self.prepare()
        except VaultError:
            return BuyerMask({}, None)
        with self._database.transaction(account_id) as tx:
            held = queries.value_hashes(tx, kind, subject_ids)
        return BuyerMask(held, partial(self._value_hash, account_id))

    def _value_hash(self, account_id: str, subject_id: str, words: str) -> str:
        """Another hash of the same words for each subject: equal names are not seen to be equal."""
        return self.fingerprint(f"{account_id}\n{subject_id}\n{words}".encode())[:32]

    def reveal(self, *, account_id: str, kind: str, subject_id: str, purpose: str, actor: str | None = None) -> bytes:
        """The plaintext, after the audit entry that says who reads it and why has been committed.

        Raises VaultRecordMissing, VaultIntegrityError, VaultKeyMissing: each is in the audit log as well.
        """
        ((_, revealed),) = self.reveal_many(
            account_id=account_id, kind=kind, subject_ids=[subject_id], purpose=purpose, actor=actor
        )
        if isinstance(revealed, VaultError):
            raise revealed
        return revealed

    def reveal_many(
        self,
        *,
        account_id: str,
        kind: str,
        subject_ids: Sequence[str],
        purpose: str,
        actor: str | None = None,
        action: str = "reveal",
    ) -> Iterator[tuple[str, bytes | VaultError]]:
        """Each plaintext, or why there is none, in the order asked for; their audit entries are committed first.

        `action` names the reading in the audit log, where it is not for a package or a person.
        """
        reading = AuditEntry(
            action=action, account_id=account_id, purpose=purpose, outcome="allowed", actor=actor or current_actor(),
            detail={"kind": kind},
        )  # fmt: skip
        found = self._read_audited(reading, kind, subject_ids)
        return self._open_each(reading, kind, subject_ids, found)

    def shred(
        self, tx: AccountTransaction, *, kind: str, subject_id: str, reason: str, actor: str | None = None
    ) -> bool:
        """Delete the record and its key, and write the audit entry; whether it was there. Last in the transaction."""
        return bool(self.shred_many(tx, kind=kind, subject_ids=[subject_id], reason=reason, actor=actor))

    def shred_many(
        self, tx: AccountTransaction, *, kind: str, subject_ids: Sequence[str], reason: str, actor: str | None = None
    ) -> list[str]:
        """Shred a set at once; those that were there. At most SHRED_BATCH in a transaction, and last in it."""
        gone = queries.delete_records(tx, kind, subject_ids)
        entry = self._entry("shred", tx.account_id, kind, reason, "done", actor)
        self._audit.record_for_each(tx.connection, entry, gone, are_orders=kind in ORDER_KINDS)
        return gone

    def key_uses(self, connection: Connection) -> dict[str, KeyUse]:
        """How many records and tokens each key-encryption key wraps."""
        return key_uses(connection)

    def count(self) -> int:
        """How many records there are, of all sellers and kinds."""
        with self._database.begin() as connection:
            return sum(use.records for use in key_uses(connection).values())

    def verify_batch(
        self, after: RecordId | None, limit: int = 1_000, *, purpose: str = "compliance check"
    ) -> VerifiedBatch:
        """Try that the next records open, and let nothing of them out. The pass's first page writes its audit entry."""
        current = self._keys.current_key_id()
        with self._database.begin() as connection:
            page = queries.records_after(connection, after, limit)
            if after is None:
                self._audit.record(
                    connection, action="verify_vault", account_id="*", purpose=purpose, outcome="allowed"
                )
        refused: list[RecordId] = []
        for record in page:
            opened = self._open_again_if_rewrapped(record)
            if isinstance(opened, VaultIntegrityError | VaultKeyMissing):
                refused.append((record.account_id, record.kind, record.subject_id))
                with self._database.transaction(record.account_id) as tx:
                    queries.note_refusal(tx, record.kind, record.subject_id, str(opened))
        older = sum(record.key_id != current for record in page)
        last = page[-1] if len(page) == limit else None
        older_format = sum(record.version < NUMBERED for record in page)
        return VerifiedBatch(
            len(page),
            older,
            older_format,
            tuple(refused),
            (last.account_id, last.kind, last.subject_id) if last else None,
        )

    def fingerprint(self, content: bytes) -> str:
        """A keyed hash of the content: tells "the same again" without keeping it, and without the key tells nothing.

        Stable over rotations. The key is made at first use: call `prepare` at start, outside any transaction.
        """
        return hmac.new(self._load_fingerprint_key(), content, hashlib.sha256).hexdigest()

    def prepare(self) -> None:
        """Make what is made at first use: the key-encryption key and the fingerprint key."""
        self._load_fingerprint_key()

    def opens_fingerprint_key(self) -> bool:
        """Whether the keys of the day this database was last sealed under are there. Raises KeyProviderUnavailable."""
        try:
            self.prepare()
        except VaultKeyMissing:
            return False
        return True

    def replace_fingerprint_key(self, *, reason: str, actor: str | None = None) -> None:
        """After a restore whose keys are gone: a new fingerprint key. Every content then looks changed, once."""
        with self._guard, self._database.begin() as connection:
            queries.hold_fingerprint_key(connection)
            self._fingerprint_key = self._make_fingerprint_key(connection, reason, actor)

    def _load_fingerprint_key(self) -> bytes:
        with self._guard:
            if self._fingerprint_key is None:
                account_id, kind, subject_id = _FINGERPRINT
                with self._database.transaction(account_id) as tx:
                    found = queries.records(tx, kind, [subject_id]).get(subject_id)
                    if found is None:
                        queries.hold_fingerprint_key(tx.connection)
                        found = queries.records(tx, kind, [subject_id]).get(subject_id)
                    if found is None:
                        self._fingerprint_key = self._make_fingerprint_key(tx.connection, "first use", None)
                if self._fingerprint_key is None and found is not None:
                    opened = self._open_again_if_rewrapped(found)
                    if isinstance(opened, VaultKeyMissing):
                        raise VaultKeyMissing(f"{opened} {_DATABASE_IS_OLDER}") from opened
                    if not isinstance(opened, bytes):
                        raise opened or VaultRecordMissing("The fingerprint key is gone: replace_fingerprint_key.")
                    self._fingerprint_key = opened
            assert self._fingerprint_key is not None
            return self._fingerprint_key

    def _make_fingerprint_key(self, connection: Connection, reason: str, actor: str | None) -> bytes:
        key = os.urandom(_FINGERPRINT_KEY_BYTES)
        account_id, kind, subject_id = _FINGERPRINT
        self.store(
            AccountTransaction(connection, account_id), kind=kind, subject_id=subject_id, plaintext=key, expires_at=None
        )
        self._audit.record(
            connection, action="make_fingerprint_key", account_id=account_id, purpose=reason, outcome="done",
            actor=actor, detail={"key_id": self._keys.current_key_id()},
        )  # fmt: skip
        return key

    def _read_audited(self, reading: AuditEntry, kind: str, subject_ids: Sequence[str]) -> dict[str, StoredRecord]:
        with self._database.transaction(reading.account_id) as tx:
            found = queries.records(tx, kind, subject_ids)
            there = [subject for subject in subject_ids if subject in found]
            absent = [subject for subject in subject_ids if subject not in found]
            for outcome, subjects in (("allowed", there), ("missing", absent)):
                entry = replace(reading, outcome=outcome)
                self._audit.record_for_each(tx.connection, entry, subjects, are_orders=kind in ORDER_KINDS)
        return found

    def _open_each(
        self, reading: AuditEntry, kind: str, subject_ids: Sequence[str], found: dict[str, StoredRecord]
    ) -> Iterator[tuple[str, bytes | VaultError]]:
        for subject_id in subject_ids:
            record = found.get(subject_id)
            opened = None if record is None else self._open_again_if_rewrapped(record)
            if opened is None:
                opened = VaultRecordMissing(
                    f"No {kind} of {subject_id} for seller {reading.account_id}: never stored, or shredded."
                )
            elif isinstance(opened, VaultError):
                outcome = "refused_integrity" if isinstance(opened, VaultIntegrityError) else "refused_key_missing"
                with self._database.transaction(reading.account_id) as tx:
                    queries.note_refusal(tx, kind, subject_id, str(opened))
                    entry = replace(reading, outcome=outcome)
                    self._audit.record_for_each(tx.connection, entry, [subject_id], are_orders=kind in ORDER_KINDS)
            yield subject_id, opened

    def forget_refusals(self, *, but: Sequence[RecordId]) -> None:
        """After a pass over all records: what was refused once and is sound, or gone, is refused no more."""
        with self._database.begin() as connection:
            queries.delete_refusals(connection, but=but)

    def _open_again_if_rewrapped(self, record: StoredRecord) -> bytes | VaultIntegrityError | VaultKeyMissing | None:
        """The plaintext, or why not; None if it was shredded meanwhile."""
        try:
            return self._open(record)
        except (VaultKeyMissing, VaultIntegrityError):
            # Between the reading and here a rotation may have re-wrapped it, or an update sealed it anew: once more.
            with self._database.transaction(record.account_id) as tx:
                again = queries.records(tx, record.kind, [record.subject_id])
        if record.subject_id not in again:
            return None
        try:
            return self._open(again[record.subject_id])
        except (VaultKeyMissing, VaultIntegrityError) as error:
            return error

    def _open(self, record: StoredRecord) -> bytes:
        return open_record(self._keys, record)

    def _entry(
        self, action: str, account_id: str, kind: str, purpose: str, outcome: str, actor: str | None
    ) -> AuditEntry:
        return AuditEntry(
            action=action, account_id=account_id, purpose=purpose, outcome=outcome, actor=actor, detail={"kind": kind}
        )
