"""Make shreds final for old backups too, or say why it could not be done.

A key that cannot be rotated must stop neither the shredding nor the checks: the shreds wait, seen by everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.rotation import settle_shreds, unsettled_shreds
from orders_pipeline.work.progress import Tell, silent

ALERT = "shreds.unsettled"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How many shredded records were put beyond reach, and how many an old backup could still bring back."""

    settled: int
    unsettled: int


def settle_or_alert(database: Database, vault: Vault, *, account_id: str, tell: Tell = silent) -> Settlement:
    """Settle what can be settled; an alert is open while something cannot."""
    settled, why = 0, "a key-encryption key is not ours to destroy, or still in use"
    try:
        rotation = settle_shreds(database, vault.keys, vault.audit, tell=tell)
        settled = rotation.shreds_settled if rotation else 0
    except VaultError as error:
        why = str(error)
    unsettled = unsettled_shreds(database).records
    with database.transaction(account_id) as tx:
        if not unsettled:
            close_alert(tx, key=ALERT)
        else:
            raise_alert(
                tx,
                key=ALERT,
                severity="error",
                message=f"{unsettled} shredded records could still be brought back by an old backup: {why}",
                what_to_do="Mend it, then run the job rotate_keys; `orders-pipeline keys list` shows the keys in use.",
            )
    return Settlement(settled, unsettled)
