"""The alert about messages that were set aside: one for each kind of reason, until none of that kind came for days."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from orders_pipeline.alerts.rows import close_alert, open_alert_keys, raise_alert, redeliver_alert
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.orders.event_rows import parked_reasons, was_parked_since

# By kind of reason: whoever can write to the queue must not be able to open alerts without end.
ALERT = "message.parked:"
# The alert ends when no message of its kind came for so long, or all were replayed.
OPEN_FOR = timedelta(days=3)
# A new reason delivers the alert again, but no more often than this: anybody can invent reasons.
REDELIVER_AFTER = timedelta(hours=1)


def alert_parked(tx: AccountTransaction, reasons: Collection[str], new: Collection[str]) -> None:
    """Raise the alerts for these reasons; `new` are those that nothing was set aside for in the last days."""
    # Rows and alerts are locked in one order by every process.
    for reason in sorted(reasons):
        key = f"{ALERT}{_kind(reason)}"
        raise_alert(
            tx,
            key=key,
            severity="warning",
            message=f"A message on the queue was set aside: {reason}.",
            what_to_do="Look at pipeline.parked_messages; the body is in the vault for two weeks. Mend the cause, then "
            "replay it. The alert ends when none of its kind has come for three days.",
        )
        if reason in new:
            redeliver_alert(tx, key=key, after=REDELIVER_AFTER)


def new_reasons(tx: AccountTransaction, reasons: Collection[str]) -> set[str]:
    """Those of these reasons for which nothing was set aside in the last days."""
    return set(reasons) - parked_reasons(tx, sorted(set(reasons)), OPEN_FOR)


def close_parked_alerts(tx: AccountTransaction) -> None:
    """Close the alerts of the kinds of which nothing is left."""
    for key in sorted(open_alert_keys(tx, prefix=ALERT)):
        if not was_parked_since(tx, key.removeprefix(ALERT), OPEN_FOR):
            close_alert(tx, key=key)


def _kind(reason: str) -> str:
    return reason.partition(":")[0]
