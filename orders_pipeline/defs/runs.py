"""Asking for runs: one at a time of a kind, and never for nothing.

Belongs here: whether a run of a job is under way, and the request for one. A run carries no configuration, no key and
no cursor: what is to be done is in the store (store.pending).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Every run ends within its deadlines, some two minutes in all. One that is older was killed with its worker, and must
# not keep others from starting; should it live after all, the store lets both work side by side.
RUN_IS_LOST_AFTER = timedelta(minutes=4)
# The run-monitoring daemon ends what is left of such a run.
MAX_RUNTIME_TAG = {"dagster/max_runtime": str(int(RUN_IS_LOST_AFTER.total_seconds()))}


def active_run(instance: dg.DagsterInstance, job_name: str, *, now: datetime | None = None) -> str | None:
    """The id of a run of this job that is queued or running, unless it is lost."""
    oldest = (now or datetime.now(UTC)) - RUN_IS_LOST_AFTER
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_ACTIVE, created_after=oldest), limit=1
    )
    return records[0].dagster_run.run_id if records else None


def request_unless_active(instance: dg.DagsterInstance, job_name: str) -> list[dg.RunRequest]:
    """One request for a run of this job; none while one is active. No run key: that would mean "once ever"."""
    return [] if active_run(instance, job_name) else [dg.RunRequest(job_name=job_name, tags=dict(MAX_RUNTIME_TAG))]
