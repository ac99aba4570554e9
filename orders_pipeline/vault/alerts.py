"""The alerts about the keys and the sealed records, as queries over their state."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.work.jobs import KEYS

# Whoever seals or opens buyers' data notes that the keys are away, and that they are back. While anybody waits for them
# they are tried every five minutes; after twice as long whoever waited was withdrawn, and nobody knows of them.
KEYS_UNAVAILABLE = AlertKind(
    name="vault.keys_unavailable",
    severity="error",
    query=text("""
select '' as subject, reason from pipeline.paused_dependencies
where account_id = :account_id and dependency = :keys and kind = 'refusal' and until is not null
  and until > clock_timestamp() - interval '10 minutes'
""").bindparams(keys=KEYS),
    message="Buyers' data can neither be stored nor opened. {reason}",
    action="Mend what it says. Until then no new order is pushed; holds, cancellations and confirmations go on, and "
    "what waits is tried again within five minutes.",
    runbook="Vault",
)

# What was stored anew since is another record.
REFUSED = AlertKind(
    name="vault.refused",
    severity="error",
    query=text("""
select f.kind || ':' || f.subject_id as subject, f.kind, f.subject_id, f.reason
from pipeline.refused_records f
join vault.records r on r.account_id = f.account_id and r.kind = f.kind and r.subject_id = f.subject_id
where r.stored_at <= f.refused_at order by f.refused_at
"""),
    message="{kind} of {subject_id} was not opened: {reason}",
    action="Find out who changed it (runbook, 'Vault'); then fetch the order anew.",
    runbook="Vault",
    per_account=False,
)

# Only after an attempt that failed, or a night without any.
SHREDS_PENDING = AlertKind(
    name="shreds.pending",
    severity="error",
    query=text("""
select '' as subject, sum(records) as records, coalesce(max(last_error), 'nothing has tried to complete them') as reason
from vault_keys.pending_shreds
having bool_or(last_error is not null or shredded_at < clock_timestamp() - interval '26 hours')
"""),
    message="{records} shredded records could still be brought back by an old backup: {reason}",
    action="Mend it, then run the job rotate_keys; `orders-pipeline keys list` shows the keys in use.",
    runbook="Vault",
    per_account=False,
)

ALERTS: tuple[AlertKind, ...] = (KEYS_UNAVAILABLE, REFUSED, SHREDS_PENDING)
