"""Asking for runs: one at a time of a kind, and never for nothing.

Belongs here: whether a run of a job is under way, and the request for one. A run carries no configuration, no key and
no cursor: what is to be done is in the store (store.pending), and so is whether its worker lives (store.signs_of_life).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from orders_pipeline.store.database import Database
from orders_pipeline.store.signs_of_life import shows_life

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
# From "started" to the worker's sign of life it takes well under a second; on a machine that is all but stuck, more.
SIGN_IS_DUE_AFTER = timedelta(seconds=15)
# A worker needs three seconds from its launch to "started", ten on a busy machine; after this it was never launched.
START_IS_DUE_AFTER = timedelta(seconds=30)


def active_run(
    instance: dg.DagsterInstance, database: Database, job_name: str, *, now: datetime | None = None
) -> str | None:
    """The id of a run of this job that is queued or running, unless it is lost."""
    now = now or datetime.now(UTC)
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_ACTIVE, created_after=now - RUN_IS_LOST_AFTER), limit=20
    )
    return next((record.dagster_run.run_id for record in records if not _is_lost(record, database, now)), None)


def request_unless_active(instance: dg.DagsterInstance, database: Database, job_name: str) -> list[dg.RunRequest]:
    """One request for a run of this job; none while one is active. No run key: that would mean "once ever"."""
    if active_run(instance, database, job_name):
        return []
    return [dg.RunRequest(job_name=job_name, tags=dict(MAX_RUNTIME_TAG))]


def _is_lost(record: dg.RunRecord, database: Database, now: datetime) -> bool:
    """Whether nobody works on it any more, although Dagster has not noticed: see signs_of_life."""
    run = record.dagster_run
    if run.status == dg.DagsterRunStatus.STARTING:
        return now - record.update_timestamp.replace(tzinfo=UTC) > START_IS_DUE_AFTER
    if run.status != dg.DagsterRunStatus.STARTED or record.start_time is None:
        return False
    if now - datetime.fromtimestamp(record.start_time, UTC) < SIGN_IS_DUE_AFTER:
        return False
    with database.transaction() as connection:
        return not shows_life(connection, run.run_id)
