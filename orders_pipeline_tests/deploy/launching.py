"""A run of our code location that a launcher is told to start, and the daemon's look at it."""

from __future__ import annotations

import logging
import sys

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs


def launch(instance: dg.DagsterInstance, job_name: str, *, image: str | None = None) -> dg.DagsterRun:
    """As the daemon does when it takes a run from the queue; `image`: the code server's own."""
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer("orders_pipeline.definitions", "defs", None),
        container_image=image,
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
    )
    job = build_defs().get_repository_def().get_job(job_name)
    origin = JobPythonOrigin(job_name, repository)
    run = instance.create_run_for_job(job, job_code_origin=origin, status=dg.DagsterRunStatus.STARTING)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return found(instance, run.run_id)


def begin(instance: dg.DagsterInstance, run: dg.DagsterRun, database: Database) -> None:
    """What the run's container does first: it says that it has started, and notes its process."""
    start = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    instance.report_dagster_event(start, run.run_id)
    with database.begin() as connection:
        connection.execute(
            text("insert into pipeline.run_workers (run_id, machine, process) values (:run, 'a container', '1 1')"),
            {"run": run.run_id},
        )


def look_after(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """What Dagster's monitoring makes of a run that has started, and it looks at."""
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    monitor_started_run(instance, None, record, logging.getLogger("test"))  # pyright: ignore[reportArgumentType]
    return found(instance, run.run_id).status


def found(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run
