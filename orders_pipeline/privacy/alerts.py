"""The alerts about buyers' data: what the warehouse owes, and red checks."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK
from orders_pipeline.privacy.erasure.rows import OWED

# "Within the day" leaves a person some hours. A job that is parked or lost is taken up by the next retention.
_NOT_ERASED = f"""
select w.order_id as subject, w.order_id,
  coalesce(j.last_error, case when j.subject is null then 'nobody asks for it' else 'not asked yet' end) as reason
from pipeline.wms_orders w
left join pipeline.jobs j on j.account_id = w.account_id and j.queue = 'erase' and j.subject = w.order_id
where w.account_id = :account_id and {OWED} and w.erase_requested_at < clock_timestamp() - interval '2 hours'
order by w.erase_requested_at
"""  # noqa: S608  # our own constant

NOT_ERASED_AT_WAREHOUSE = AlertKind(
    name="erase.failed",
    severity="error",
    query=text(_NOT_ERASED),
    message="The warehouse has not erased the buyer's data of order {order_id} ({reason}).",
    action="The job erase_at_warehouse asks on. Have it erased there by hand; the next answer of the warehouse closes "
    "this alert.",
    runbook="Compliance",
)

ALERTS: tuple[AlertKind, ...] = (RED_CHECK, NOT_ERASED_AT_WAREHOUSE)
