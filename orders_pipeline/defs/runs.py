"""Asking for runs: one at a time of a kind, and never for nothing.

Belongs here: whether a run of a job is under way, the end of one that is lost, and the request for one. A run carries
no configuration, no key and no cursor: what is to be done is in the store (store.pending), and so is whether its worker
lives (store.signs_of_life).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from orders_pipeline.store.database import Database
from orders_pipeline.store.signs_of_life import is_silent

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
# What a killed run left is asked for again at the next tick; Dagster's retry would be a second run for the same.
_NO_RETRY_TAG = {"dagster/max_retries": "0"}
# From "started" to the worker's sign of life it takes well under a second; on a machine that is all but stuck, more.
SIGN_IS_DUE_AFTER = timedelta(seconds=15)
# A worker needs three seconds from its launch to "started", ten on a busy machine; after this it was never launched. If
# it was, it finds its run ended, and ends too.
START_IS_DUE_AFTER = timedelta(seconds=30)


def active_run(
    instance: dg.DagsterInstance, database: Database, job_name: str, *, now: datetime | None = None
) -> str | None:
    """The id of a run of this job that is queued or running. Runs that are lost are ended: they hold slots."""
    now = now or datetime.now(UTC)
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_ACTIVE, created_after=now - RUN_IS_LOST_AFTER), limit=20
    )
    active = None
    for record in records:
        if (why := _why_lost(record, database, now)) is None:
            active = record.dagster_run.run_id
        else:
            instance.report_run_failed(record.dagster_run, f"{why} What it has not done is asked for again.")
    return active


def request_unless_active(instance: dg.DagsterInstance, database: Database, job_name: str) -> list[dg.RunRequest]:
    """One request for a run of this job; none while one is active. No run key: that would mean "once ever"."""
    if active_run(instance, database, job_name):
        return []
    return [dg.RunRequest(job_name=job_name, tags={**MAX_RUNTIME_TAG, **_NO_RETRY_TAG})]


def _why_lost(record: dg.RunRecord, database: Database, now: datetime) -> str | None:
    """Why nobody works on this run any more, although Dagster has not noticed: see signs_of_life. None if it lives."""
    run = record.dagster_run
    if run.status == dg.DagsterRunStatus.STARTING:
        late = now - record.update_timestamp.replace(tzinfo=UTC) > START_IS_DUE_AFTER
        return "Its worker has not started." if late else None
    if run.status != dg.DagsterRunStatus.STARTED or record.start_time is None:
        return None
    if now - datetime.fromtimestamp(record.start_time, UTC) < SIGN_IS_DUE_AFTER:
        return None
    with database.transaction() as connection:
        silent = is_silent(connection, run.run_id, patience=SIGN_IS_DUE_AFTER)
    return "Its worker is gone." if silent else None
