"""The alerts about the keys and the sealed records, as queries over their state."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.work.jobs import KEYS

# Whoever seals or opens buyers' data notes that the keys are away, and that they are back.
KEYS_UNAVAILABLE = AlertKind(
    name="vault.keys_unavailable",
    severity="error",
    query=text("""
select '' as subject, reason from pipeline.paused_dependencies
where account_id = :account_id and dependency = :keys and kind = 'refusal' and until is not null
""").bindparams(keys=KEYS),
    message="Buyers' data can neither be stored nor opened. {reason}",
    action="Mend what it says. Until then no new order is pushed; holds, cancellations and confirmations go on, and "
    "what waits is tried again within five minutes.",
    runbook="Vault",
)

ALERTS: tuple[AlertKind, ...] = (KEYS_UNAVAILABLE,)
