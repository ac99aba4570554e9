"""Alert on scheduled work that did not run, until it has run.

A failed run is an alert of its own. This one is for the run that never was: a schedule or sensor that is switched off,
a daemon that was down, a code location that did not load. So each work notes itself when it has come to its end, and
whoever evaluates the alerts looks how long ago that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.work.work_done import note_done, watch

RETENTION = "retention"
RETENTION_CHECKS = "retention_checks"
AUDIT_CHECKS = "audit_checks"
AUDIT_EXPORT = "audit_export"
HISTORY = "history_pruning"
WAREHOUSE_ERASURES = "warehouse_erasures"
AUTHORIZATIONS = "authorizations"
CLIENT_SECRETS = "client_secrets"
SWEEP = "sweep"
REPORTS = "reports"
NOTIFICATIONS = "notifications"
SHIPMENTS = "shipments"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A work, the sensor or schedule that starts it, and how long ago it may have been done, with some delay."""

    work: str
    starter: str
    at_most: timedelta
    severity: str = "error"


SCHEDULED = (
    Scheduled(RETENTION, "nightly_assets_sensor", timedelta(hours=26)),
    Scheduled(RETENTION_CHECKS, "nightly_assets_sensor", timedelta(hours=26)),
    Scheduled(AUDIT_CHECKS, "nightly_assets_sensor", timedelta(hours=26)),
    Scheduled(AUDIT_EXPORT, "nightly_audit_export", timedelta(hours=26)),
    Scheduled(HISTORY, "nightly_assets_sensor", timedelta(hours=26), "warning"),
    Scheduled(WAREHOUSE_ERASURES, "frequent_warehouse_erasures", timedelta(hours=1)),
    Scheduled(AUTHORIZATIONS, "frequent_authorization_looks", timedelta(hours=1)),
    Scheduled(CLIENT_SECRETS, "frequent_client_secrets", timedelta(hours=1)),
    Scheduled(SWEEP, "hourly_assets_sensor", timedelta(hours=3)),
    Scheduled(REPORTS, "hourly_assets_sensor", timedelta(hours=3), "warning"),
    # At every tick: also what tells that one account's part of it fails while the others' goes on.
    Scheduled(NOTIFICATIONS, "drain_notifications_sensor", timedelta(hours=1)),
    Scheduled(SHIPMENTS, "poll_warehouse_sensor", timedelta(hours=1)),
)


def work_is_done(database: Database, *, account_id: str, work: str) -> None:
    """Note that this work has come to its end."""
    with database.transaction(account_id) as tx:
        note_done(tx, work)


def watch_scheduled_work(tx: AccountTransaction) -> None:
    """Look for each work from now on; one that a release added owes nothing before its first interval is over."""
    watch(tx, [one.work for one in SCHEDULED])


# A time that is still to come is not believed.
_OVERDUE = text("""
select w.work as subject, s.severity, w.work, s.starter,
  coalesce(round(extract(epoch from clock_timestamp() - k.last_at) / 3600) || ' hours', 'an unknown time') as age,
  round(extract(epoch from s.at_most) / 3600) || ' hours' as at_most
from pipeline.work_done w
join unnest(
    cast(:works as text[]), cast(:starters as text[]), cast(:at_most as interval[]), cast(:severities as text[])
  ) as s(work, starter, at_most, severity) using (work)
cross join lateral (
  select max(t) as last_at from unnest(array[w.watched_since, w.done_at]) as t where t <= clock_timestamp()) k
where w.account_id = :account_id and (k.last_at is null or k.last_at < clock_timestamp() - s.at_most)
""").bindparams(
    works=[one.work for one in SCHEDULED],
    starters=[one.starter for one in SCHEDULED],
    at_most=[one.at_most for one in SCHEDULED],
    severities=[one.severity for one in SCHEDULED],
)

OVERDUE = AlertKind(
    name="work.overdue",
    severity="error",
    query=_OVERDUE,
    message="The work {work} was not done for {age}; it should be every {at_most} at the latest.",
    action="In the Dagster UI: is {starter} switched on, does dagster-daemon run, did its last run fail? "
    "Start its job by hand; when it has come to its end this alert closes.",
    runbook="Work that did not start",
    is_cause=True,
)
