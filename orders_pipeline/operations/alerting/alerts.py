"""The alerts about alerting itself: a channel that takes nothing, and rules that cannot be read."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind

# A moment's refusal is tried again within half a minute, and is nobody's business.
NOT_DELIVERED = AlertKind(
    name="alert.not_delivered",
    severity="error",
    query=text("""
select c.channel as subject, c.channel, c.failure,
  to_char(c.failing_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as since
from pipeline.alert_channels c
where c.channel <> 'heartbeat' and c.failing_since < statement_timestamp() - interval '1 minute' and c.attempts >= 2
"""),
    message="Alerts cannot be delivered through {channel} since {since} UTC: {failure}.",
    action="Do what it says. Until then look at order_board, and at the log; what waits is told once it works again.",
    runbook="Alerts",
    per_account=False,
    is_cause=True,
)

RULES_FILE = AlertKind(
    name="alert.rules",
    severity="error",
    query=text("select '' as subject, problem from pipeline.alert_rules where problem is not null"),
    message="The rules of alerts cannot be read. {problem}",
    action="Mend the file that ORDERS_ALERTS_FILE names.",
    runbook="Alerts",
    per_account=False,
)

ALERTS = (NOT_DELIVERED, RULES_FILE)
