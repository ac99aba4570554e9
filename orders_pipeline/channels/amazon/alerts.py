"""The alerts about authorizations: due to be given anew, refused, ended."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.channels.amazon.auth.revocation import REFUSED_FOR

# The policy's 30 days for what identifies nobody, once an authorisation has ended (§1.7).
_ALL_GONE_WITHIN = timedelta(days=30)
# The token that was used last is the one that counts.
_IN_USE = """
from (select * from pipeline.amazon_authorizations
      where account_id = :account_id order by used_at desc limit 1) a
"""
_DAY, _MINUTE = "'YYYY-MM-DD'", "'YYYY-MM-DD HH24:MI'"

DUE = AlertKind(
    name="authorization.due",
    severity="warning",
    query=text(f"""
select '' as subject, account_id as account, to_char(due_at at time zone 'UTC', {_DAY}) as due_on,
  case due_because when 'roles' then 'the roles of the application changed' else '365 days are over' end as because,
  case when due_at <= clock_timestamp() then 'error' else 'warning' end as severity
{_IN_USE}
where ended_at is null and due_at <= clock_timestamp() + interval '30 days'
"""),  # our own constants
    message="Account {account} has to be authorized again by {due_on}: {because} then.",
    action="Have its seller give consent again: /authorize at the web port, or `orders-pipeline authorize`. The one in "
    "use counts until then.",
    runbook="Authorization",
    is_cause=True,
    link="/authorize",
)

# One refusal may pass by itself within minutes.
REFUSED = AlertKind(
    name="authorization.refused",
    severity="error",
    query=text(
        f"""
select '' as subject, account_id as account, to_char(refused_since at time zone 'UTC', {_MINUTE}) as since,
  to_char(greatest(refused_since + :refused_for, kept_until) at time zone 'UTC', {_MINUTE}) as ends_at
{_IN_USE}
where ended_at is null and worked_at is not null and refusals >= 2
"""  # our own constants
    ).bindparams(refused_for=REFUSED_FOR),
    message="Login with Amazon has refused the authorization of account {account} since {since} UTC. If it still does "
    "at {ends_at} UTC, the seller has taken it back: the data of its buyers are destroyed then.",
    action="Ask the seller, and have consent given again (/authorize). If it was not taken back, say so before then: "
    "`orders-pipeline authorize {account} --not-revoked REASON` keeps the data for seven days.",
    runbook="Authorization",
    is_cause=True,
    link="/authorize",
)

ENDED = AlertKind(
    name="authorization.ended",
    severity="error",
    query=text(
        f"""
select '' as subject, account_id as account, to_char(ended_at at time zone 'UTC', {_DAY}) as ended_on,
  case when erased_at is null then 'are being destroyed' else 'are destroyed' end as buyers,
  to_char((ended_at + :all_gone_within) at time zone 'UTC', {_DAY}) as gone_by
{_IN_USE}
where ended_at is not null and not exists (
  select from pipeline.erasures e where e.account_id = a.account_id and e.everything and e.requested_at >= a.ended_at)
"""  # noqa: S608  # our own constants
    ).bindparams(all_gone_within=_ALL_GONE_WITHIN),
    message="The authorization of account {account} ended on {ended_on}: the seller took it back. The data of its "
    "buyers {buyers}, and nothing is asked of Amazon for it.",
    action="To serve it again, have it authorized again (/authorize). If the seller has left, run `orders-pipeline "
    "erase --seller --everything --account {account}` by {gone_by}, and take the account out of the settings.",
    runbook="Authorization",
    is_cause=True,
    link="/authorize",
)

ALERTS: tuple[AlertKind, ...] = (DUE, REFUSED, ENDED)
