"""An alert for tests that are not about what opens it."""

from __future__ import annotations

from datetime import timedelta

from orders_pipeline.alerts.kinds import AlertKind, Found, Severity
from orders_pipeline.alerts.reconcile import reconcile
from orders_pipeline.database.engine import AccountTransaction


def set_alert(
    tx: AccountTransaction,
    key: str,
    *,
    severity: Severity = "error",
    message: str = "It broke.",
    action: str = "Mend it.",
    is_open: bool = True,
) -> None:
    """Open the alert of this key, which is one kind by itself, or close it."""
    kind = AlertKind(key, severity, None, "{message}", "{action}", "Runbook", quiet_for=timedelta())
    reconcile(tx, kind, [Found("", {"message": message, "action": action})] if is_open else [])
