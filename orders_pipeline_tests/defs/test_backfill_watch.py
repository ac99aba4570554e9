"""A backfill that failed is an alert until a later one goes on or succeeds; one whose process is gone is ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.backfill import BACKFILL_TAG
from orders_pipeline.defs.backfill_watch import SHOWN_FOR, end_lost_backfills, failed_backfills
from orders_pipeline.defs.runs import NOTE_IS_DUE_AFTER
from orders_pipeline.work.run_workers import note_worker, process_name, this_machine

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVENTS, OTHER = dg.AssetKey("order_events"), dg.AssetKey("audit_exports")


def _failed(*backfills: tuple[str, str, dg.AssetKey, timedelta]) -> list[str]:
    """Which of these (id, status, asset, age) are alerts."""
    known = [
        SimpleNamespace(
            backfill_id=name,
            status=SimpleNamespace(value=status),
            asset_selection=[asset],
            backfill_timestamp=(NOW - age).timestamp(),
        )
        for name, status, asset, age in backfills
    ]
    instance = SimpleNamespace(get_backfills=lambda limit: known[:limit])
    return [found.subject for found in failed_backfills(cast(Any, instance), now=NOW)]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("status", ["COMPLETED_FAILED", "FAILED"])
def test_a_backfill_whose_days_were_not_all_read_is_an_alert(status: str):
    assert _failed(("a", status, EVENTS, HOUR)) == ["a"]
    assert _failed(("a", status, OTHER, HOUR)) == []


@pytest.mark.parametrize("later", ["REQUESTED", "COMPLETED_SUCCESS"])
def test_a_later_backfill_that_goes_on_or_succeeded_ends_the_alert(later: str):
    failed = ("a", "COMPLETED_FAILED", EVENTS, 2 * HOUR)
    assert _failed(failed, ("b", later, EVENTS, HOUR)) == []
    assert _failed(failed, ("b", later, OTHER, HOUR)) == ["a"]
    assert _failed(failed, ("b", later, EVENTS, 3 * HOUR)) == ["a"]


def test_who_stopped_a_backfill_by_hand_and_what_is_a_week_old_is_no_alert():
    assert _failed(("a", "CANCELED", EVENTS, HOUR)) == []
    assert _failed(("a", "COMPLETED_FAILED", EVENTS, SHOWN_FOR + HOUR)) == []


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_backfills_run_whose_process_went_with_its_code_server_is_ended(
    database: Database, process: subprocess.Popen[bytes]
):
    """It has no limit of time, so nothing else would end it, and only an ended run is retried."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs().get_repository_def().get_job("sweep_orders")
        run = instance.create_run_for_job(job, tags={BACKFILL_TAG: "true"})
        for event in (dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START):
            told = dg.DagsterEvent(event_type_value=event.value, job_name=job.name)
            instance.report_dagster_event(told, run.run_id)
        with database.begin() as connection:
            note_worker(connection, run.run_id)
            connection.execute(
                text("update pipeline.run_workers set process = :process, machine = :machine"),
                {"process": process_name(process.pid), "machine": this_machine()},
            )
        later = datetime.now(UTC) + 2 * NOTE_IS_DUE_AFTER
        end_lost_backfills(instance, database, now=later + timedelta(days=3))
        assert _status(instance, run.run_id) is dg.DagsterRunStatus.STARTED, "however long it waits"
        process.kill()
        process.wait()
        end_lost_backfills(instance, database, now=later)
        assert _status(instance, run.run_id) is dg.DagsterRunStatus.FAILURE


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status
