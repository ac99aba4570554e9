"""The alerts about buyers' data: what the warehouse owes, what was destroyed early, rights, clocks, red checks."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.model.order import OrderStatus
from orders_pipeline.privacy.access.client_secret import SECRET_LIFE, WARNED_AT_DAYS
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK
from orders_pipeline.privacy.erasure.rows import IS_A_PERSONS, OWED
from orders_pipeline.privacy.retention.database_clock import CLOCKS_AGREE_WITHIN
from orders_pipeline.privacy.rules import WORDS
from orders_pipeline.work.jobs import DEPENDENCIES, Queue

# "Within the day" leaves a person some hours. A job that is parked or lost is taken up by the next retention.
_NOT_ERASED = f"""
select w.order_id as subject, w.order_id,
  coalesce(j.last_error, case when j.subject is null then 'nobody asks for it' else 'not asked yet' end) as reason
from pipeline.wms_orders w
left join pipeline.jobs j on j.account_id = w.account_id and j.queue = 'erase' and j.subject = w.order_id
where w.account_id = :account_id and {OWED} and w.erase_requested_at < clock_timestamp() - interval '2 hours'
  and j.last_error is distinct from :is_a_persons
order by w.erase_requested_at
"""  # noqa: S608  # our own constant
_ERASE_BY_HAND = f"""
select w.order_id as subject, w.order_id from pipeline.wms_orders w
join pipeline.jobs j on j.account_id = w.account_id and j.queue = 'erase' and j.subject = w.order_id
where w.account_id = :account_id and {OWED} and j.last_error = :is_a_persons order by w.erase_requested_at
"""  # noqa: S608  # our own constant

NOT_ERASED_AT_WAREHOUSE = AlertKind(
    name="erase.failed",
    severity="error",
    query=text(_NOT_ERASED).bindparams(is_a_persons=IS_A_PERSONS),
    message="The warehouse has not erased the buyer's data of order {order_id} ({reason}).",
    action="The job erase_at_warehouse asks on. Have it erased there by hand; the next answer of the warehouse closes "
    "this alert.",
    runbook="Compliance",
    waits_for=lambda _: DEPENDENCIES[Queue.ERASE],
)

ERASE_BY_HAND = AlertKind(
    name="erase.by_hand",
    severity="error",
    query=text(_ERASE_BY_HAND).bindparams(is_a_persons=IS_A_PERSONS),
    message="The warehouse's adapter cannot erase: the buyer's data of order {order_id} are there until a person has "
    "them erased.",
    action="Have the warehouse erase them today, then say so: the job erased_by_hand.",
    runbook="Compliance",
)

_OVER = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED, OrderStatus.CANCELLED)

# Amazon itself has the address of what it ships. Details that were stored since are there again.
ERASED_UNSHIPPED = AlertKind(
    name="order.erased",
    severity="error",
    query=text("""
select o.order_id as subject, o.order_id, o.status, w.words as reason
from pipeline.orders o
join unnest(cast(:rules as text[]), cast(:words as text[])) as w(rule, words) on w.rule = o.erased_by
where o.account_id = :account_id and o.erased_by is not null and o.status <> all(:over) and o.fulfilled_by <> 'AMAZON'
  and not exists (
    select from vault.records r
    where r.account_id = o.account_id and r.kind = 'shipping_details' and r.subject_id = o.order_id)
order by o.order_id
""").bindparams(
        rules=[str(rule) for rule in WORDS], words=list(WORDS.values()), over=[str(status) for status in _OVER]
    ),
    message="The buyer's data of order {order_id} were destroyed ({reason}) while it was still {status} at Amazon.",
    action="It will not be pushed. Cancel it at Amazon, and stop it at the warehouse if it is there.",
    runbook="Compliance",
)

# On the board for a day at least, also what was changed right before midnight; the entries stay.
ROLES_CHANGED = AlertKind(
    name="roles.changed",
    severity="warning",
    query=text("""
select to_char(at at time zone 'UTC', 'YYYY-MM-DD') as subject, count(*) filter (where outcome = 'granted') as granted,
  count(*) filter (where outcome = 'revoked') as revoked
from audit.entries
where action = 'role_change' and outcome in ('granted', 'revoked')
  and at >= date_trunc('day', clock_timestamp() at time zone 'UTC') at time zone 'UTC' - interval '1 day'
group by 1
"""),
    message="In the database {granted} rights were given and {revoked} taken away.",
    action="Compare with what was meant (audit entries `role_change`, check roles_are_as_declared).",
    runbook="Rights",
    per_account=False,
)

CLOCK_WRONG = AlertKind(
    name="clock.wrong",
    severity="error",
    query=text("""
select '' as subject, round(abs(extract(epoch from read_at - amazon_time)) / 60) as minutes,
  case when read_at > amazon_time then 'ahead of' else 'behind' end as direction
from pipeline.clock_readings
where source = 'amazon' and abs(extract(epoch from read_at - amazon_time)) > :agree_within
""").bindparams(agree_within=CLOCKS_AGREE_WITHIN.total_seconds()),
    message="The database's clock is {minutes} minutes {direction} Amazon's.",
    action="Set the clock of the database's server right (NTP). Until then deadlines are taken to be where they are "
    "not; buyers' data are destroyed too early by a clock that is ahead. The next answer of Amazon's that agrees "
    "closes this alert (runbook, 'Clocks').",
    runbook="Clocks",
    per_account=False,
)

# The secret in use is the one that was seen last; of an application that is used no more nobody cares.
SECRET_ENDS = AlertKind(
    name="client_secret.ends",
    severity="warning",
    query=text("""
select to_char(s.ends_at at time zone 'UTC', 'YYYY-MM-DD') || ':' || w.days as subject,
  to_char(s.ends_at at time zone 'UTC', 'YYYY-MM-DD') as ends_on,
  case when w.days <= 7 then 'error' when w.days <= 30 then 'warning' else 'info' end as severity
from (
  select distinct on (application_id) application_id, last_seen_at,
    least(expires_at, least(first_seen_at, clock_timestamp()) + :life) as ends_at
  from pipeline.client_secrets order by application_id, last_seen_at desc) s
cross join lateral (
  select min(days) as days from unnest(cast(:warned_at as integer[])) as days
  where s.ends_at <= clock_timestamp() + make_interval(days => days)) w
where w.days is not null and s.last_seen_at > clock_timestamp() - interval '3 days'
""").bindparams(life=SECRET_LIFE, warned_at=list(WARNED_AT_DAYS)),
    message="The Login with Amazon client secret ends on {ends_on}.",
    action="Rotate it in the developer console; give the old one as AMAZON_LWA_CLIENT_SECRET_PREVIOUS.",
    runbook="Client secret",
    per_account=False,
    is_cause=True,
)

ALERTS: tuple[AlertKind, ...] = (
    RED_CHECK,
    NOT_ERASED_AT_WAREHOUSE,
    ERASE_BY_HAND,
    ERASED_UNSHIPPED,
    ROLES_CHANGED,
    CLOCK_WRONG,
    SECRET_ENDS,
)
