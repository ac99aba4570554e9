"""Asking for runs: one at a time of a kind, and, but for one in a quiet hour, never for nothing.

A run carries no configuration, no key and no cursor: what is to be done is in the store
(`operations/pending_work.py`), and so is which process works on it (`work/run_workers.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from orders_pipeline.database.engine import Database
from orders_pipeline.work.run_workers import worker_is_gone

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# A run that ships stays awake for so long after its last work: what comes meanwhile waits for no new run, which takes
# five seconds to start. It holds a run slot and some 150 MB, and a query a second. Long enough that an order every
# twenty seconds keeps it, and that one package's first verification, 15 s after its confirmation, is the same run's.
IDLE_SECONDS = 25.0
# And so long in all: its numbers, and what it met, are seen when it ends; after a release the old code goes on so long.
LONGEST_SECONDS = 240.0
# So long before that its successor is asked for (one that does not work any more has ended by then): a tick of a sensor
# lasts up to 25 s, and a run takes five to start, on a busy machine fifteen. For a moment both work, each with the jobs
# that it has claimed.
HANDOVER = timedelta(seconds=45)
# Every run ends within its time and the two calls that it has in hand then, a minute. One that is older was killed with
# its worker, and must not keep others from starting; should it live after all, the store lets both work side by side.
RUN_IS_LOST_AFTER = timedelta(seconds=LONGEST_SECONDS) + timedelta(minutes=2)
# The run-monitoring daemon ends what is left of such a run.
MAX_RUNTIME_TAG = {"dagster/max_runtime": str(int(RUN_IS_LOST_AFTER.total_seconds()))}
# What a killed run left is asked for again at the next tick; Dagster's retry would be a second run for the same.
_NO_RETRY_TAG = {"dagster/max_retries": "0"}
# Where nothing happens there is a run all the same, so often: what starts is known to start, and its assets' freshness
# and numbers are true in a quiet night too. It costs three seconds of a processor.
QUIET = timedelta(hours=1)
# From "started" until the worker has noted itself it takes well under a second; on a machine that is stuck, more.
NOTE_IS_DUE_AFTER = timedelta(seconds=15)
# A process on this machine needs three seconds from its launch to "started", ten on a busy machine; a container
# elsewhere up to a minute, and one of a hundred tasks of ECS never starts. After this it was killed, or the machine is
# very busy: a second run is asked for beside it, for two may work side by side. A third is not: more processes would
# make a busy machine busier.
LOCAL_START_IS_LATE_AFTER = timedelta(seconds=20)
CONTAINER_START_IS_LATE_AFTER = timedelta(seconds=60)
MOST_STARTS = 2
# Then it was killed; to end it sooner would turn away a worker that is only slow. A container may need more than a
# minute: only Dagster's start_timeout_seconds (dagster.yaml) ends its run.
LOCAL_START_IS_LOST_AFTER = timedelta(seconds=120)


def active_run(
    instance: dg.DagsterInstance, database: Database, job_name: str, *, now: datetime | None = None
) -> str | None:
    """The id of a run of this job that is queued or running. Runs that are lost are ended: they hold slots."""
    active = _active_runs(instance, database, job_name, now or datetime.now(UTC))
    return active[-1].dagster_run.run_id if active else None


def end_if_lost(
    instance: dg.DagsterInstance, record: dg.RunRecord, database: Database, *, now: datetime | None = None
) -> bool:
    """Whether nobody works on this run any more; then it is failed."""
    if (why := _why_lost(instance, record, database, now or datetime.now(UTC))) is None:
        return False
    instance.report_run_failed(record.dagster_run, f"{why} What it has not done is asked for again.")
    return True


def is_under_way(instance: dg.DagsterInstance, database: Database, job_name: str) -> bool:
    """Whether a run of this job works, or waits for work."""
    return active_run(instance, database, job_name) is not None


def request_unless_active(
    instance: dg.DagsterInstance, database: Database, job_name: str, *, due: bool, now: datetime | None = None
) -> list[dg.RunRequest]:
    """One request for a run of this job if work is `due`, the run that works now is about to end, or none was for long.

    None while another is active, unless that one is slow to start. No run key: that would mean "once ever".
    """
    now = now or datetime.now(UTC)
    active = _active_runs(instance, database, job_name, now)
    starting = [record for record in active if _starts_late(instance, record, now)]
    if len(starting) >= MOST_STARTS or not all(record in starting or _ends_soon(record, now) for record in active):
        return []
    if not (due or active or _was_quiet(instance, job_name, now)):
        return []
    return [dg.RunRequest(job_name=job_name, tags={**MAX_RUNTIME_TAG, **_NO_RETRY_TAG})]


def _active_runs(
    instance: dg.DagsterInstance, database: Database, job_name: str, now: datetime
) -> Sequence[dg.RunRecord]:
    """The newest first. Runs that are lost are ended, and none of them."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=_ACTIVE), limit=20)
    return [
        record
        for record in records
        if not _is_too_old(record, now) and not end_if_lost(instance, record, database, now=now)
    ]


def _was_quiet(instance: dg.DagsterInstance, job_name: str, now: datetime) -> bool:
    """Whether the newest run is older than QUIET. Of a job that never ran nothing is known to be fresh."""
    newest = instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=1)
    return any(now - record.create_timestamp.replace(tzinfo=UTC) > QUIET for record in newest)


def _ends_soon(record: dg.RunRecord, now: datetime) -> bool:
    """Whether it has worked for so long that it ends within the time that a successor takes to start."""
    if record.start_time is None:
        return False
    return now - _since(record) > timedelta(seconds=LONGEST_SECONDS) - HANDOVER


def _starts_late(instance: dg.DagsterInstance, record: dg.RunRecord, now: datetime) -> bool:
    """Whether its worker should have begun by now."""
    if record.dagster_run.status != dg.DagsterRunStatus.STARTING:
        return False
    is_local = _launches_on_this_machine(instance)
    return now - _since(record) > (LOCAL_START_IS_LATE_AFTER if is_local else CONTAINER_START_IS_LATE_AFTER)


def _is_too_old(record: dg.RunRecord, now: datetime) -> bool:
    """Whether the run should have ended by now. Its time counts from its start, or its launch: not from the queue."""
    if record.dagster_run.status == dg.DagsterRunStatus.QUEUED:
        return False
    return now - _since(record) > RUN_IS_LOST_AFTER


def _since(record: dg.RunRecord) -> datetime:
    """When it started to work; before that, when it was launched or made."""
    if record.start_time is not None:
        return datetime.fromtimestamp(record.start_time, UTC)
    return record.update_timestamp.replace(tzinfo=UTC)


def _why_lost(instance: dg.DagsterInstance, record: dg.RunRecord, database: Database, now: datetime) -> str | None:
    """Why nobody works on this run any more, although Dagster has not noticed: see run_workers. None if it may live."""
    run = record.dagster_run
    if run.status == dg.DagsterRunStatus.STARTING:
        is_lost = _launches_on_this_machine(instance) and now - _since(record) > LOCAL_START_IS_LOST_AFTER
        return "Its worker has not started." if is_lost else None
    if run.status != dg.DagsterRunStatus.STARTED or now - _since(record) < NOTE_IS_DUE_AFTER:
        return None
    with database.begin() as connection:
        gone = worker_is_gone(connection, run.run_id, launched_here=_launches_on_this_machine(instance))
    return "Its worker is gone." if gone else None


def _launches_on_this_machine(instance: dg.DagsterInstance) -> bool:
    """Whether runs are processes beside the code server. By name: another launcher need not be installed here."""
    launcher = instance.get_ref().run_launcher_data if instance.is_persistent else None
    return launcher is None or launcher.class_name == dg.DefaultRunLauncher.__name__
