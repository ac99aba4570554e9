"""Destroy the key-encryption keys that open shredded records in old backups, or raise an alert that says why not.

A key that cannot be rotated stops neither shredding nor checks: the shreds stay pending, with an alert.
"""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.rotation import complete_shreds, pending_shreds
from orders_pipeline.work.progress import Notify, silent

ALERT = "shreds.unsettled"


@dataclass(frozen=True, slots=True)
class ShredCompletion:
    """How many shredded records were put beyond reach, and how many an old backup could still bring back."""

    completed_shreds: int
    pending: int


def complete_or_alert(database: Database, vault: Vault, *, account_id: str, notify: Notify = silent) -> ShredCompletion:
    """Destroy the keys that could restore shredded records from a backup. An alert is open while one is left."""
    completed_shreds, why = 0, "a key-encryption key is not ours to destroy, or still in use"
    try:
        rotation = complete_shreds(database, vault.keys, vault.audit, notify=notify)
        completed_shreds = rotation.shreds_completed if rotation else 0
    except VaultError as error:
        why = str(error)
    pending = pending_shreds(database).records
    with database.transaction(account_id) as tx:
        if not pending:
            close_alert(tx, key=ALERT)
        else:
            raise_alert(
                tx,
                key=ALERT,
                severity="error",
                message=f"{pending} shredded records could still be brought back by an old backup: {why}",
                what_to_do="Mend it, then run the job rotate_keys; `orders-pipeline keys list` shows the keys in use.",
            )
    return ShredCompletion(completed_shreds, pending)
