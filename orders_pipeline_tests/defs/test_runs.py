"""Which runs are waited for: those that somebody works on, and no others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Connection, text

from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.operations import alert_on_failed_runs
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import (
    RUN_IS_LOST_AFTER,
    SIGN_IS_DUE_AFTER,
    START_IS_DUE_AFTER,
    active_run,
    request_unless_active,
)
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.store.database import Database
from orders_pipeline.store.signs_of_life import SignOfLife, is_silent
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

JOB = "sync_orders"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _run(instance: dg.DagsterInstance, *events: dg.DagsterEventType) -> str:
    job = build_defs().get_repository_def().get_job(JOB)
    run = instance.create_run_for_job(job)
    for event in events:
        instance.report_dagster_event(dg.DagsterEvent(event_type_value=event.value, job_name=JOB), run.run_id)
    return run.run_id


def _is_waited_for(instance: dg.DagsterInstance, database: Database, *, after: timedelta) -> bool:
    """Whether a run of the job counts as under way that much later."""
    return active_run(instance, database, JOB, now=datetime.now(UTC) + after) is not None


START, STARTING = dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_STARTING


@pytest.fixture(autouse=True)
def server_has_been_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' server is seconds old, and its age counts: see `is_silent`."""
    monkeypatch.setattr("orders_pipeline.defs.runs.is_silent", _silent)


def _silent(connection: Connection, run_id: str, **_: object) -> bool:
    return is_silent(connection, run_id, patience=timedelta())


def test_a_run_is_waited_for_while_its_worker_shows_life(instance: dg.DagsterInstance, database: Database):
    run_id = _run(instance, STARTING, START)
    sign = SignOfLife(database, run_id)
    assert _is_waited_for(instance, database, after=SIGN_IS_DUE_AFTER * 2)
    sign.end()
    assert not _is_waited_for(instance, database, after=SIGN_IS_DUE_AFTER * 2)


def test_a_run_that_is_lost_is_ended_because_it_holds_a_slot_of_the_queue(
    instance: dg.DagsterInstance, database: Database
):
    lost, launched = _run(instance, STARTING, START), _run(instance, STARTING)
    assert not _is_waited_for(instance, database, after=START_IS_DUE_AFTER * 2)
    for run_id in (lost, launched):
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE


def test_a_run_that_has_only_just_started_needs_no_sign_yet(instance: dg.DagsterInstance, database: Database):
    _run(instance, STARTING, START)
    assert _is_waited_for(instance, database, after=SIGN_IS_DUE_AFTER / 2)


def test_a_run_that_was_never_launched_is_not_waited_for(instance: dg.DagsterInstance, database: Database):
    _run(instance, STARTING)
    assert _is_waited_for(instance, database, after=START_IS_DUE_AFTER / 2)
    assert not _is_waited_for(instance, database, after=START_IS_DUE_AFTER * 2)


def test_nothing_is_waited_for_longer_than_a_run_can_take(instance: dg.DagsterInstance, database: Database):
    sign = SignOfLife(database, _run(instance, STARTING, START))
    assert not _is_waited_for(instance, database, after=RUN_IS_LOST_AFTER * 2)
    sign.end()


def test_a_run_is_asked_for_only_while_none_is_under_way(instance: dg.DagsterInstance, database: Database):
    assert [request.job_name for request in request_unless_active(instance, database, JOB)] == [JOB]
    _run(instance, STARTING, START)
    assert request_unless_active(instance, database, JOB) == []


def test_a_sign_ends_when_the_last_who_gives_it_ends(database: Database):
    sign, again = SignOfLife(database, "run"), SignOfLife(database, "run")
    sign.end()
    sign.end()
    with database.transaction() as connection:
        assert not _silent(connection, "run")
        assert _silent(connection, "another run")
    again.end()
    with database.transaction() as connection:
        assert _silent(connection, "run")


def test_a_server_that_has_just_come_back_is_given_time_to_hear_who_lives(database: Database):
    with database.transaction() as connection:
        assert not is_silent(connection, "run", patience=timedelta(days=1))


def test_a_worker_that_lives_gives_its_sign_again_after_the_server_lost_it(database: Database):
    sign = SignOfLife(database, "run", renewed_every=timedelta(seconds=0.5))
    with database.transaction() as connection:
        connection.execute(text("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"))
    heard: list[bool] = []
    deadline = time.monotonic() + 10
    while heard[-2:] != [False, True] and time.monotonic() < deadline:
        with database.transaction() as connection:
            now = not _silent(connection, "run")
        if heard[-1:] != [now]:
            heard.append(now)
        time.sleep(0.02)
    sign.end()
    assert heard[-2:] == [False, True]


def test_a_run_that_started_by_itself_and_failed_is_an_alert_until_a_later_run_of_its_job_succeeds(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def hear_of_newest(instance: dg.DagsterInstance) -> str:
        run = instance.get_run_records(dg.RunsFilter(job_name="doctor"), limit=1)[0].dagster_run
        event = next(
            entry.dagster_event
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event is not None and entry.dagster_event.is_run_failure
        )
        with dg.build_run_status_sensor_context(
            sensor_name="alert_on_failed_runs",
            dagster_instance=instance,
            dagster_run=run,
            dagster_event=event,
            resources={"store": StoreResource()},
        ) as context:
            alert_on_failed_runs(context.for_run_failure())
        return run.run_id

    def open_alerts() -> list[tuple[str, str]]:
        with database.transaction() as connection:
            rows = connection.execute(text("select key, message from pipeline.alerts where closed_at is null"))
            return [(row.key, row.message) for row in rows]

    # Without a subscription the doctor fails.
    with Sandbox(subscribed=False) as sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        pipeline = Pipeline(instance)
        assert not pipeline.run("doctor")
        hear_of_newest(instance)
        assert open_alerts() == [], "who started it by hand sees it"
        assert not pipeline.run("doctor", tags={"dagster/schedule_name": "nightly"})
        run_id = hear_of_newest(instance)
        ((key, message),) = open_alerts()
        assert key == "run.failed:doctor"
        assert run_id in message
        pipeline.tick("deliver_alerts_sensor")
        assert len(open_alerts()) == 1
        assert pipeline.run("subscribe")
        assert pipeline.run("doctor")
        pipeline.tick("deliver_alerts_sensor")
        assert open_alerts() == []
