"""Changing the key-encryption key: a new one, everything re-wrapped under it, the old ones destroyed.

Data keys are re-wrapped; a record is encrypted again once only, where its format is of before (reseal_older). Whoever
wraps a key holds the keys' lock (`hold_keys`, `vault/rows.py`) until the row is committed; a key is destroyed only with
that lock held alone, and with no row left under it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.audit.rows import destroyed_keys
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.vault import key_rows as key_queries
from orders_pipeline.vault import rows as queries
from orders_pipeline.vault.access import Vault, open_record
from orders_pipeline.vault.envelope import LASTING_PURPOSES, NUMBERED, record_context, seal, token_context
from orders_pipeline.vault.errors import KeyInUse, VaultError, VaultIntegrityError, VaultKeyMissing
from orders_pipeline.vault.key_rows import KeyUse, PendingShred, WrappedToken
from orders_pipeline.vault.keys import KeyProvider, WrappedKey
from orders_pipeline.vault.rows import RecordId, StoredRecord
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, identifying_values, shipping_details_from_bytes
from orders_pipeline.work.progress import Notify, Progress, silent

REWRAP_BATCH = 2_000
RESEAL_BATCH = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did. Not complete: `still_used` keys could not be destroyed, or are not ours to destroy."""

    key_id: str
    rewrapped: int
    destroyed: tuple[str, ...]
    still_used: tuple[str, ...]
    shreds_completed: int = 0

    @property
    def complete(self) -> bool:
        return not self.still_used


@dataclass(frozen=True, slots=True)
class PendingShreds:
    """Shredded records that an old dump, with a key that is still there, could bring back."""

    records: int
    since: datetime | None


def pending_shreds(database: Database) -> PendingShreds:
    """What the next settlement will put beyond reach."""
    with database.begin() as connection:
        shreds = key_queries.pending_shreds(connection)
    return PendingShreds(
        sum(shred.records for shred in shreds), min((shred.shredded_at for shred in shreds), default=None)
    )


def complete_shreds(
    database: Database, keys: KeyProvider, audit: AuditLog, *, actor: str | None = None, notify: Notify = silent
) -> Rotation | None:
    """Make every shred so far final, also for dumps taken before; None if there is none."""
    with database.begin() as connection:
        if not key_queries.pending_shreds(connection):
            return None
    return rotate_keys(database, keys, audit, purpose="complete shreds", actor=actor, notify=notify)


def rotate_keys(
    database: Database,
    keys: KeyProvider,
    audit: AuditLog,
    *,
    purpose: str,
    actor: str | None = None,
    notify: Notify = silent,
) -> Rotation:
    """A new key-encryption key, everything under it, all older ones destroyed. Run it again if it was interrupted.

    `notify` is given a sentence now and then: how far it is, and how long it will take.
    """
    with database.begin() as connection:
        # Read before the new key is made: a shred that comes later is completed by the next rotation.
        shreds = key_queries.pending_shreds(connection)
    audit.record(None, action="add_key", account_id="*", purpose=purpose, outcome="started", actor=actor)
    key_id = keys.add_key()
    audit.record(
        None, action="add_key", account_id="*", purpose=purpose, outcome="done", actor=actor, detail={"key_id": key_id}
    )
    rotation = finish_rotation(database, keys, audit, purpose=purpose, actor=actor, notify=notify)
    completed = _completed(database, keys, shreds, rotation)
    if completed:
        records = sum(shred.records for shred in completed)
        with database.begin() as connection:
            key_queries.delete_pending_shreds(connection, [shred.shred_id for shred in completed])
            audit.record(
                connection, action="complete_shreds", account_id="*", purpose=purpose, outcome="done", actor=actor,
                detail={"records": records, "key_id": rotation.key_id},
            )  # fmt: skip
        rotation = replace(rotation, shreds_completed=records)
    return rotation


def _completed(
    database: Database, keys: KeyProvider, shreds: Sequence[PendingShred], rotation: Rotation
) -> list[PendingShred]:
    """Those of the shreds that no key opens any more, also from an old dump."""
    if tuple(keys.key_ids()) != (rotation.key_id,):
        # An older dump has the same records under an older key, which something that does not open kept from going.
        return []
    # Not every key that is gone from here is destroyed: another keyring, or another KMS, may still have it.
    wrapped_by = {key_id for shred in shreds for key_id in shred.key_ids}
    with database.begin() as connection:
        destroyed = destroyed_keys(connection, sorted(wrapped_by))
    destroyed |= {key_id for key_id in wrapped_by if keys.is_destroyed(key_id)}
    # Shreds from before their keys were noted wait until nothing is under another key.
    return [shred for shred in shreds if destroyed.issuperset(shred.key_ids) and (shred.key_ids or rotation.complete)]


def finish_rotation(
    database: Database,
    keys: KeyProvider,
    audit: AuditLog,
    *,
    purpose: str,
    actor: str | None = None,
    notify: Notify = silent,
) -> Rotation:
    """Re-wrap what is under older keys and destroy those: also the rest of an interrupted rotation."""
    resealed = reseal_older(database, keys, audit, purpose=purpose, actor=actor)
    if resealed:
        notify(f"{resealed} records of an older format were sealed anew.")
    with database.begin() as connection:
        current = keys.current_key_id()
        older = [use for key_id, use in key_queries.key_uses(connection).items() if key_id != current]
    progress = Progress("data keys re-wrapped", sum(use.records + use.tokens for use in older), notify)
    rewrapped = 0
    while moved := rewrap_batch(database, keys, REWRAP_BATCH):
        rewrapped += moved
        progress.advance(moved)
    current, *older = keys.key_ids()
    destroyed: list[str] = []
    still_used: list[str] = []
    for key_id in older:
        try:
            retire_key(database, keys, audit, key_id, purpose=purpose, actor=actor)
            destroyed.append(key_id)
        except KeyInUse as error:
            log.warning("%s", error)
            still_used.append(key_id)
    with database.begin() as connection:
        # Keys that this provider does not have: what they wrap could not be re-wrapped.
        still_used += sorted(key_queries.key_uses(connection).keys() - {current, *still_used})
    return Rotation(current, rewrapped, tuple(destroyed), tuple(still_used))


def reseal_older(
    database: Database, keys: KeyProvider, audit: AuditLog, *, purpose: str, actor: str | None = None
) -> int:
    """Seal records of an older format anew, so that an older one put back is found; how many. Nothing leaves here.

    Shipping details also get the hashes of their words, which records from before migration 0007 lack. What does not
    open stays as it is. A login that may only re-wrap leaves them to the next one that may write.
    """
    with database.begin() as connection:
        if not queries.has_older_records(connection, NUMBERED) or not queries.may_reseal(connection):
            return 0
    vault = Vault(database, keys, audit)
    try:
        vault.prepare()
    except VaultError as error:
        log.warning("Records of an older format were not sealed anew: the fingerprint key does not open (%s)", error)
        return 0
    resealed = 0
    after: RecordId | None = None
    while True:
        with database.begin() as connection:
            queries.hold_keys(connection)
            page, after = queries.records_to_reseal(connection, NUMBERED, after, RESEAL_BATCH)
            done = 0
            for record in page:
                owner = (record.account_id, record.kind, record.subject_id)
                try:
                    plaintext = open_record(keys, record)
                except (VaultIntegrityError, VaultKeyMissing) as error:
                    log.warning("The record %s %s was not sealed anew: %s", record.kind, record.subject_id, error)
                    continue
                context = record_context(account_id=record.account_id, kind=record.kind, subject_id=record.subject_id)
                number = queries.next_seal(connection, owner, NUMBERED)
                sealed = seal(keys, plaintext, context, number=number)
                queries.put_resealed(
                    connection,
                    StoredRecord(
                        *owner, sealed.version, sealed.nonce, sealed.ciphertext, sealed.key_id, sealed.wrapped_key,
                        sealed.number,
                    ),
                )  # fmt: skip
                if record.kind == SHIPPING_DETAILS:
                    _hash_words(vault, AccountTransaction(connection, record.account_id), record.subject_id, plaintext)
                done += 1
            if done:
                audit.record(
                    connection, action="reseal", account_id="*", purpose=purpose, outcome="done", actor=actor,
                    detail={"records": done},
                )  # fmt: skip
        resealed += done
        if after is None:
            return resealed


def _hash_words(vault: Vault, tx: AccountTransaction, subject_id: str, plaintext: bytes) -> None:
    try:
        values = identifying_values(shipping_details_from_bytes(plaintext))
    except (ValueError, TypeError, AttributeError):
        log.warning("The words of %s were not hashed: its details are not as we store them", subject_id)
        return
    vault.put_value_hashes(tx, kind=SHIPPING_DETAILS, subject_id=subject_id, values=values)


def rewrap_batch(database: Database, keys: KeyProvider, limit: int = REWRAP_BATCH) -> int:
    """Bring up to `limit` wrapped keys under the current key; how many. 0: none is left, or none that opens.

    Several processes may do this at once, beside the pipeline. What does not open stays as it is, and keeps its
    key-encryption key from being destroyed, so that it can be looked into.
    """
    moved = 0
    after: UUID | None = None
    while moved < limit:
        with database.begin() as connection:
            queries.hold_keys(connection)
            current = keys.current_key_id()
            page = key_queries.keys_to_rewrap(connection, current, after, limit - moved)
            if not page:
                break
            done: list[tuple[UUID, str, bytes]] = []
            ownerless = [row.key_reference for row in page if row.owner is None]
            for row in page:
                if row.owner is None:
                    continue
                account_id, kind, subject_id = row.owner
                context = record_context(account_id=account_id, kind=kind, subject_id=subject_id)
                try:
                    wrapped = keys.rewrap(WrappedKey(row.key_id, row.wrapped_key), context)
                except (VaultIntegrityError, VaultKeyMissing) as error:
                    log.warning("The key of %s %s was not re-wrapped: %s", kind, subject_id, error)
                    continue
                done.append((row.key_reference, wrapped.key_id, wrapped.blob))
            key_queries.put_rewrapped(connection, done)
            key_queries.delete_keys(connection, ownerless)
        moved += len(done) + len(ownerless)
        after = page[-1].key_reference
    return moved + _rewrap_tokens(database, keys, limit)


def replace_lost_keyring(database: Database, vault: Vault) -> str:
    """A new keyring where the old one is lost for good. Raises KeyInUse while it is there and opens what it has to.

    A keyring that is there stays, where what it has destroyed would be needed: it is younger than the database, which
    was restored from a backup. One that never had those keys is another database's, and refused.
    Records that nobody can open stay, counted by the check `every_record_opens`, until their time; Amazon's tokens go,
    refresh tokens among them: their accounts are authorized anew.
    """
    keys, audit = vault.keys, vault.audit
    with database.begin() as connection:
        lost = {*key_queries.key_uses(connection)}
        lost |= {key_id for shred in key_queries.pending_shreds(connection) for key_id in shred.key_ids}
    audit.record(
        None, action="replace_keyring", account_id="*", purpose="replacement of a lost keyring", outcome="started"
    )
    try:
        key_id = keys.replace_lost(sorted(lost))
    except KeyInUse:
        if not any(map(keys.is_destroyed, lost)) or vault.opens_fingerprint_key():
            raise
        key_id = keys.current_key_id()
    vault.replace_fingerprint_key(reason="replacement of a lost keyring")
    while _rewrap_tokens(database, keys, REWRAP_BATCH, keys_are_lost=True):
        pass
    audit.record(
        None, action="replace_keyring", account_id="*", purpose="replacement of a lost keyring", outcome="done",
        detail={"key_id": key_id},
    )  # fmt: skip
    return key_id


def retire_key(
    database: Database, keys: KeyProvider, audit: AuditLog, key_id: str, *, purpose: str, actor: str | None = None
) -> None:
    """Destroy a key-encryption key, for good. Raises KeyInUse while anything is wrapped by it, or being wrapped."""
    try:
        with database.begin() as connection:
            queries.hold_keys_alone(connection)
            use = key_queries.key_uses(connection).get(key_id, KeyUse())
            if use.records or use.tokens:
                raise KeyInUse(
                    f"The key-encryption key {key_id} still wraps {use.records} records and {use.tokens} tokens: "
                    "rotate again; records that cannot be opened are named in the log and by the vault check."
                )
            if key_id == keys.current_key_id():
                raise KeyInUse(f"The key-encryption key {key_id} is the current one: rotate first.")
            # Two entries, because this cannot be undone: the first is committed before anything is destroyed.
            _account_destruction(audit, key_id, "started", purpose, actor)
            keys.destroy_key(key_id)
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise KeyInUse(
                f"The key-encryption key {key_id} was not destroyed: others are storing records; again later."
            ) from error
        raise
    _account_destruction(audit, key_id, "done", purpose, actor)


def _account_destruction(audit: AuditLog, key_id: str, outcome: str, purpose: str, actor: str | None) -> None:
    audit.record(
        None,
        action="destroy_key",
        account_id="*",
        purpose=purpose,
        outcome=outcome,
        actor=actor,
        detail={"key_id": key_id},
    )


def _rewrap_tokens(database: Database, keys: KeyProvider, limit: int, *, keys_are_lost: bool = False) -> int:
    """Bring tokens under the current key; how many were moved, or dropped.

    An access token that does not open is dropped: Amazon gives another. A refresh token or a client secret stays as it
    is, and keeps its key, as a record does; where the keys are lost for good it goes too.
    """
    moved, after = 0, ("", "", "")
    while moved < limit:
        with database.begin() as connection:
            queries.hold_keys(connection)
            tokens = key_queries.tokens_to_rewrap(connection, keys.current_key_id(), after, limit - moved)
            if not tokens:
                break
            for token in tokens:
                moved += _rewrap_token(connection, keys, token, keys_are_lost=keys_are_lost)
        after = (tokens[-1].application_id, tokens[-1].account_id, tokens[-1].purpose)
    return moved


def _rewrap_token(connection: Connection, keys: KeyProvider, token: WrappedToken, *, keys_are_lost: bool) -> bool:
    context = token_context(application_id=token.application_id, account_id=token.account_id, purpose=token.purpose)
    try:
        wrapped = keys.rewrap(WrappedKey(token.key_id, token.wrapped_key), context)
    except (VaultIntegrityError, VaultKeyMissing) as error:
        if token.purpose.startswith(LASTING_PURPOSES) and not keys_are_lost:
            log.warning("The key of %s of %s was not re-wrapped: %s", token.purpose, token.account_id, error)
            return False
        key_queries.delete_token(connection, token)
        return True
    key_queries.put_rewrapped_token(connection, replace(token, key_id=wrapped.key_id, wrapped_key=wrapped.blob))
    return True
