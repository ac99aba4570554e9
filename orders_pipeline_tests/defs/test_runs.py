"""Which runs are waited for: those that somebody works on, and no others."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.policy import POLICIES, SHIPS
from orders_pipeline.defs.runs import (
    LONGEST_SECONDS,
    NOTE_IS_DUE_AFTER,
    QUIET,
    RUN_IS_LOST_AFTER,
    active_run,
    is_under_way,
    request_unless_active,
)
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.work.run_workers import note_worker, process_name, this_machine, worker_is_gone
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


class ContainerLauncher(dg.DefaultRunLauncher):
    """Any launcher but Dagster's own: it starts a container somewhere, which takes a minute."""


@pytest.fixture
def container_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster whose runs are containers."""
    launcher = {"module": ContainerLauncher.__module__, "class": ContainerLauncher.__name__}
    with dg.instance_for_test(overrides={"run_launcher": launcher}, temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def local_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster as `orders-pipeline up` starts it: runs are processes beside the code server."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def _work_on(run_id: str, database: Database, *, process: subprocess.Popen[bytes], machine: str | None = None) -> None:
    """Note that this process, of this machine or another, works on the run."""
    with database.begin() as connection:
        note_worker(connection, run_id)
        connection.execute(
            text("update pipeline.run_workers set process = :process, machine = :machine where run_id = :run_id"),
            {"process": process_name(process.pid), "machine": machine or this_machine(), "run_id": run_id},
        )


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_ended_once_its_process_is_killed(
    instance: dg.DagsterInstance, database: Database, process: subprocess.Popen[bytes]
):
    run_id = _run(instance, STARTING, START)
    _work_on(run_id, database, process=process)
    assert _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER * 2)
    process.kill()
    # Nobody has asked yet how it ended: the kernel still lists it.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER * 2)
    assert _status(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_a_process_that_was_given_the_number_of_a_dead_one_is_not_taken_for_it(
    instance: dg.DagsterInstance, database: Database, process: subprocess.Popen[bytes]
):
    run_id = _run(instance, STARTING, START)
    _work_on(run_id, database, process=process)
    with database.begin() as connection:
        connection.execute(text("update pipeline.run_workers set process = process || '1'"))
    assert not _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER * 2)


def test_a_run_is_waited_for_while_any_of_its_processes_lives(
    instance: dg.DagsterInstance, database: Database, process: subprocess.Popen[bytes]
):
    run_id = _run(instance, STARTING, START)
    _work_on(run_id, database, process=process)
    process.kill()
    process.wait()
    with database.begin() as connection:
        note_worker(connection, run_id)
        note_worker(connection, run_id)
    assert _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER * 2)


def test_of_a_process_of_another_machine_nothing_is_said_before_its_time_is_up(
    instance: dg.DagsterInstance, database: Database, process: subprocess.Popen[bytes]
):
    run_id = _run(instance, STARTING, START)
    _work_on(run_id, database, process=process, machine="another")
    process.kill()
    process.wait()
    assert _is_waited_for(instance, database, after=RUN_IS_LOST_AFTER * 0.9)
    assert not _is_waited_for(instance, database, after=RUN_IS_LOST_AFTER * 1.1)
    assert _status(instance, run_id) is dg.DagsterRunStatus.STARTED, "Dagster's own monitoring ends it"


def test_after_a_container_restart_its_runs_are_lost_at_once(
    local_instance: dg.DagsterInstance,
    container_instance: dg.DagsterInstance,
    database: Database,
    process: subprocess.Popen[bytes],
):
    def started_before_this_code_server(instance: dg.DagsterInstance) -> str:
        run_id = _run(instance, STARTING, START)
        _work_on(run_id, database, process=process, machine="the container before")
        with database.begin() as connection:
            connection.execute(text("update pipeline.run_workers set noted_at = noted_at - interval '3 hours'"))
        return run_id

    run_id = started_before_this_code_server(local_instance)
    assert not _is_waited_for(local_instance, database, after=NOTE_IS_DUE_AFTER * 2)
    assert _status(local_instance, run_id) is dg.DagsterRunStatus.FAILURE
    run_id = started_before_this_code_server(container_instance)
    assert _is_waited_for(container_instance, database, after=NOTE_IS_DUE_AFTER * 2), "it is its own container"


def test_a_run_that_no_process_ever_noted_is_lost(instance: dg.DagsterInstance, database: Database):
    run_id = _run(instance, STARTING, START)
    assert _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER / 2)
    assert not _is_waited_for(instance, database, after=NOTE_IS_DUE_AFTER * 2)
    assert _status(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_a_launcher_that_takes_a_minute_to_start_a_container_gets_its_run(
    container_instance: dg.DagsterInstance, database: Database
):
    run_id = _run(container_instance, STARTING)
    for seconds in (10, 31, 60, 120, 170):
        assert _is_waited_for(container_instance, database, after=timedelta(seconds=seconds)), seconds
    assert _status(container_instance, run_id) is dg.DagsterRunStatus.STARTING
    assert not _is_waited_for(container_instance, database, after=RUN_IS_LOST_AFTER * 1.1)
    assert _status(container_instance, run_id) is dg.DagsterRunStatus.STARTING


@pytest.mark.parametrize(("launcher", "start_takes"), [("local_instance", 20), ("container_instance", 60)])
def test_a_run_that_is_slow_to_start_keeps_its_start_and_one_more_is_asked_for_beside_it(
    request: pytest.FixtureRequest, database: Database, launcher: str, start_takes: int
):
    """A start may take longer than that; a run that was failed meanwhile turns its worker away."""
    instance: dg.DagsterInstance = request.getfixturevalue(launcher)

    def asked(seconds: float) -> bool:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        return bool(request_unless_active(instance, database, JOB, due=True, now=at))

    first = _run(instance, STARTING)
    assert not asked(start_takes - 5)
    assert asked(start_takes + 5)
    second = _run(instance, STARTING)
    assert not asked(start_takes - 5), "the second has just been launched"
    assert not asked(start_takes + 30), "two that do not start: a third would make the machine busier"
    assert [_status(instance, one) for one in (first, second)] == [dg.DagsterRunStatus.STARTING] * 2


def test_a_run_whose_process_never_started_is_ended_after_two_minutes(
    local_instance: dg.DagsterInstance, database: Database
):
    run_id = _run(local_instance, STARTING)
    assert _is_waited_for(local_instance, database, after=timedelta(seconds=100))
    assert not _is_waited_for(local_instance, database, after=timedelta(seconds=130))
    assert _status(local_instance, run_id) is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_a_run_that_waited_long_in_the_queue_has_its_whole_time_from_its_start(
    instance: dg.DagsterInstance, database: Database, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus
):
    now = datetime.now(UTC)
    record = SimpleNamespace(
        dagster_run=SimpleNamespace(run_id="late", status=status),
        create_timestamp=now - RUN_IS_LOST_AFTER * 3,
        update_timestamp=now - RUN_IS_LOST_AFTER * 2,
        start_time=now.timestamp() if status is dg.DagsterRunStatus.STARTED else None,
    )
    filters: list[dg.RunsFilter] = []
    monkeypatch.setattr(instance, "get_run_records", lambda given, **_: filters.append(given) or [record])
    assert active_run(instance, database, JOB, now=now) == "late"
    assert filters[0].created_after is None


def test_nothing_is_waited_for_longer_than_a_run_can_take(instance: dg.DagsterInstance, database: Database):
    run_id = _run(instance, STARTING, START)
    with database.begin() as connection:
        note_worker(connection, run_id)
    assert not _is_waited_for(instance, database, after=RUN_IS_LOST_AFTER * 2)


def test_a_run_is_asked_for_only_while_none_is_under_way(instance: dg.DagsterInstance, database: Database):
    assert [request.job_name for request in request_unless_active(instance, database, JOB, due=True)] == [JOB]
    assert request_unless_active(instance, database, JOB, due=False) == []
    _run(instance, STARTING, START)
    assert request_unless_active(instance, database, JOB, due=True) == []


def test_a_run_that_still_works_when_it_is_old_has_one_successor_before_it_ends(
    instance: dg.DagsterInstance, database: Database
):
    """An order that comes in between does not wait for a run to start."""
    started = datetime.now(UTC)
    with database.begin() as connection:
        note_worker(connection, _run(instance, STARTING, START))

    def asked(seconds: float) -> bool:
        at = started + timedelta(seconds=seconds)
        return bool(request_unless_active(instance, database, JOB, due=False, now=at))

    a_tick_and_a_start = 25 + 15
    assert not asked(LONGEST_SECONDS / 2)
    assert asked(LONGEST_SECONDS - a_tick_and_a_start)
    _run(instance)
    assert not asked(LONGEST_SECONDS - a_tick_and_a_start / 2), "its successor waits to start"


def test_a_failed_automatic_run_is_an_alert_until_its_job_succeeds(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def open_alerts() -> list[tuple[str, str]]:
        with database.begin() as connection:
            rows = connection.execute(text("select key, message from pipeline.alerts where closed_at is null"))
            return [(row.key, row.message) for row in rows]

    # Without a subscription the doctor fails.
    with Sandbox(subscribed=False) as sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        pipeline = Pipeline(instance)
        assert not pipeline.run("doctor")
        pipeline.tick("deliver_alerts_sensor")
        assert open_alerts() == [], "who started it by hand sees it"
        assert not pipeline.run("doctor", tags={"dagster/schedule_name": "nightly"})
        run_id = instance.get_runs(limit=1)[0].run_id
        pipeline.tick("deliver_alerts_sensor")
        ((key, message),) = open_alerts()
        assert key == "run.failed:doctor"
        assert run_id in message
        with database.begin() as connection:
            assert not worker_is_gone(connection, run_id, launched_here=True), (
                "the run noted the process that works on it"
            )
        assert not pipeline.run("doctor")
        pipeline.tick("deliver_alerts_sensor")
        assert len(open_alerts()) == 1, "a failure by hand takes no other's away"
        assert pipeline.run("subscribe")
        assert pipeline.run("doctor")
        pipeline.tick("deliver_alerts_sensor")
        assert open_alerts() == []


def test_a_killed_run_is_replaced_by_the_tick_that_waited_beside_it(
    database: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
    process: subprocess.Popen[bytes],
):
    monkeypatch.setattr("orders_pipeline.defs.runs.NOTE_IS_DUE_AFTER", timedelta())
    monkeypatch.setattr("orders_pipeline.operations.watch.LONGEST_POLL_SECONDS", 0)
    is_noted = text("select exists (select from pipeline.order_events)")
    with Sandbox() as sandbox:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        run_id = _run(instance, STARTING, START)
        _work_on(run_id, database, process=process)
        order_id = sandbox.add_order(status="UNSHIPPED").order_id

        def kill_once_the_message_is_recorded() -> None:
            while not stopped.wait(0.02):
                with database.begin() as connection:
                    if connection.execute(is_noted).scalar_one():
                        process.kill()
                        process.wait()
                        return

        stopped = threading.Event()
        killer = threading.Thread(target=kill_once_the_message_is_recorded)
        killer.start()
        try:
            Pipeline(instance).tick("drain_notifications_sensor")
        finally:
            stopped.set()
            killer.join()
        assert _status(instance, run_id) is dg.DagsterRunStatus.FAILURE
        assert sandbox.warehouse.orders[order_id].status == "accepted", "by the run that replaced it"


def test_a_tick_beside_a_run_that_is_awake_takes_every_message_until_its_time_is_up(
    database: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
    process: subprocess.Popen[bytes],
):
    monkeypatch.setattr("orders_pipeline.operations.watch.LONGEST_POLL_SECONDS", 0)
    monkeypatch.setattr("orders_pipeline.defs.ticks.BEGIN_BEFORE_SECONDS", 5)
    with Sandbox() as sandbox:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        _work_on(_run(instance, STARTING, START), database, process=process)
        sandbox.add_order(status="UNSHIPPED")
        asked: list[str] = []

        def send_another_before_the_first_answer(*given: Any) -> bool:
            if not asked:
                sandbox.add_order(status="UNSHIPPED")
            asked.append(JOB)
            return is_under_way(*given)

        monkeypatch.setattr("orders_pipeline.defs.intake.is_under_way", send_another_before_the_first_answer)
        data = Pipeline(instance).tick("drain_notifications_sensor")
    assert not data.run_requests, "one is awake"
    (told,) = [event for event in data.asset_events if "new_events" in event.metadata]
    assert told.metadata["new_events"].value == 2, "one tick, and one line of history"


def test_where_nothing_happens_there_is_a_run_an_hour_all_the_same(instance: dg.DagsterInstance, database: Database):
    """So that what starts is known to start, and an asset that nothing happens to is fresh in truth."""
    ended = datetime.now(UTC)

    def asked(after: timedelta) -> bool:
        return bool(request_unless_active(instance, database, JOB, due=False, now=ended + after))

    assert not asked(QUIET * 2), "what never ran is not fresh, and nothing is due"
    _run(instance, STARTING, START, dg.DagsterEventType.RUN_SUCCESS)
    assert not asked(QUIET * 0.9)
    assert asked(QUIET * 1.1)
    hot = POLICIES["wms_orders"].freshness
    assert isinstance(hot, type(SHIPS))
    windows = [hot.fail_window.to_timedelta(), hot.warn_window.to_timedelta() if hot.warn_window else timedelta()]
    assert min(windows) > QUIET + timedelta(seconds=LONGEST_SECONDS) * 2, "a quiet night is no red one"
