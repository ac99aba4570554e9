"""The alert about keys that cannot be used: of everybody who seals or opens buyers' data, so it is one alert."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.alerts.rows import close_alert, raise_alert
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.vault.errors import KeyProviderUnavailable

KEYS_ALERT = "vault.keys_unavailable"
# What needs the keys is tried again after this; no order counts it against itself.
KEYS_RETRY = timedelta(minutes=1)


def raise_keys_alert(tx: AccountTransaction, error: KeyProviderUnavailable) -> None:
    raise_alert(
        tx,
        key=KEYS_ALERT,
        severity="error",
        message=f"Buyers' data can neither be stored nor opened. {error}",
        what_to_do="Mend what it says. Until then no new order is pushed; holds, cancellations and confirmations go "
        "on, and what waits is tried again every minute.",
    )


def close_keys_alert(tx: AccountTransaction) -> None:
    close_alert(tx, key=KEYS_ALERT)
