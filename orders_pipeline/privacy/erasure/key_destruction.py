"""Destroy the key-encryption keys that open shredded records in old backups, or note why not: that is an alert.

A key that cannot be rotated stops neither shredding nor checks: the shreds stay pending.
"""

from __future__ import annotations

from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.key_rows import note_shreds_pending
from orders_pipeline.vault.rotation import complete_shreds
from orders_pipeline.work.progress import Notify, silent


def complete_pending_shreds(database: Database, vault: Vault, *, notify: Notify = silent) -> int:
    """Destroy the keys that could restore shredded records from a backup; what keeps one from it is noted.

    How many shredded records no old backup can bring back any more.
    """
    completed_shreds, why = 0, "a key-encryption key is not ours to destroy, or still in use"
    try:
        rotation = complete_shreds(database, vault.keys, vault.audit, notify=notify)
        completed_shreds = rotation.shreds_completed if rotation else 0
    except VaultError as error:
        why = str(error)
    with database.begin() as connection:
        note_shreds_pending(connection, why)
    return completed_shreds
