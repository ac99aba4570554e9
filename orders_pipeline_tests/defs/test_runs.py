"""Which runs are waited for: those that somebody works on, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.runs import (
    RUN_IS_LOST_AFTER,
    SIGN_IS_DUE_AFTER,
    START_IS_DUE_AFTER,
    active_run,
    request_unless_active,
)
from orders_pipeline.store.database import Database
from orders_pipeline.store.signs_of_life import SignOfLife, shows_life

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


def test_a_run_is_waited_for_while_its_worker_shows_life(instance: dg.DagsterInstance, database: Database):
    run_id = _run(instance, STARTING, START)
    sign = SignOfLife(database, run_id)
    assert _is_waited_for(instance, database, after=SIGN_IS_DUE_AFTER * 2)
    sign.end()
    assert not _is_waited_for(instance, database, after=SIGN_IS_DUE_AFTER * 2)


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


def test_a_sign_ends_with_the_connection_that_gave_it(database: Database):
    sign = SignOfLife(database, "run")
    again = SignOfLife(database, "run")
    sign.end()
    with database.transaction() as connection:
        assert shows_life(connection, "run")
        assert not shows_life(connection, "another run")
    with database.transaction() as connection:
        connection.execute(text("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"))
    with database.transaction() as connection:
        assert not shows_life(connection, "run")
    again.end()
