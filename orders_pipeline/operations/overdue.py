"""Work that starts by itself and did not: an alert, whatever kept it from starting, until it was done.

A failed run is an alert of its own. This one is for the run that never was: a schedule that is switched off, a daemon
that was down, a code location that did not load. So each work notes itself when it has come to its end, and whoever
delivers the alerts looks how long ago that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.alerts.rows import close_alerts_about, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.work.work_done import note_done, overdue

# Followed by the work.
OVERDUE_ALERT = "work.overdue:"

RETENTION = "retention"
RETENTION_CHECKS = "retention_checks"
AUDIT_CHECKS = "audit_checks"
AUDIT_EXPORT = "audit_export"
HISTORY = "history_pruning"
WAREHOUSE_ERASURES = "warehouse_erasures"
SWEEP = "sweep"
REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A work, the schedule that starts it, and how long ago it may have been done: its interval, and a late run."""

    work: str
    schedule: str
    at_most: timedelta
    severity: str = "error"


SCHEDULED = (
    Scheduled(RETENTION, "daily_compliance", timedelta(hours=26)),
    Scheduled(RETENTION_CHECKS, "daily_compliance", timedelta(hours=26)),
    Scheduled(AUDIT_CHECKS, "daily_compliance", timedelta(hours=26)),
    Scheduled(AUDIT_EXPORT, "nightly_audit_export", timedelta(hours=26)),
    Scheduled(HISTORY, "nightly_history_pruning", timedelta(hours=26), "warning"),
    Scheduled(WAREHOUSE_ERASURES, "frequent_warehouse_erasures", timedelta(hours=1)),
    Scheduled(SWEEP, "hourly_sweep", timedelta(hours=3)),
    Scheduled(REPORTS, "hourly_reports", timedelta(hours=3), "warning"),
)


def work_is_done(database: Database, *, seller_id: str, work: str) -> None:
    """Note that this work has come to its end."""
    with database.transaction() as connection:
        note_done(connection, seller_id, work)


def alert_on_overdue_work(database: Database, *, seller_id: str) -> list[str]:
    """Open an alert for each work that is overdue, close those of works that were done since; the overdue ones."""
    with database.transaction() as connection:
        late = overdue(connection, seller_id, {one.work: one.at_most for one in SCHEDULED})
        keys = [f"{OVERDUE_ALERT}{work}" for work in late]
        close_alerts_about(connection, seller_id=seller_id, prefix=OVERDUE_ALERT, but=keys)
        for one in SCHEDULED:
            if one.work not in late:
                continue
            raise_alert(
                connection,
                seller_id=seller_id,
                key=f"{OVERDUE_ALERT}{one.work}",
                severity=one.severity,
                message=f"The work {one.work} was not done for {_hours(late[one.work])}; it should be every "
                f"{_hours(one.at_most)} at the latest.",
                what_to_do=f"In the Dagster UI: is the schedule {one.schedule} switched on, does dagster-daemon run, "
                "did its last run fail? Start its job by hand; when it has come to its end this alert closes.",
            )
    return list(late)


def _hours(age: timedelta | None) -> str:
    return "an unknown time" if age is None else f"{age / timedelta(hours=1):.0f} hours"
