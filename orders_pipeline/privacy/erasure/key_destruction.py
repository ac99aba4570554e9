"""Destroy the key-encryption keys that open shredded records in old backups, or note why not: that is an alert.

A key that cannot be rotated stops neither shredding nor checks: the shreds stay pending.
"""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.key_rows import note_shreds_pending
from orders_pipeline.vault.rotation import complete_shreds, pending_shreds
from orders_pipeline.work.progress import Notify, silent


@dataclass(frozen=True, slots=True)
class ShredCompletion:
    """How many shredded records were put beyond reach, and how many an old backup could still bring back."""

    completed_shreds: int
    pending: int


def complete_pending_shreds(database: Database, vault: Vault, *, notify: Notify = silent) -> ShredCompletion:
    """Destroy the keys that could restore shredded records from a backup; what keeps one from it is noted."""
    completed_shreds, why = 0, "a key-encryption key is not ours to destroy, or still in use"
    try:
        rotation = complete_shreds(database, vault.keys, vault.audit, notify=notify)
        completed_shreds = rotation.shreds_completed if rotation else 0
    except VaultError as error:
        why = str(error)
    with database.begin() as connection:
        note_shreds_pending(connection, why)
    return ShredCompletion(completed_shreds, pending_shreds(database).records)
