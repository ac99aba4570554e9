"""Dagster forgets old runs and events, and no asset, partition or check looks as if it had never been.

Dagster's own PostgreSQL storage is real, filled by real runs; "old" is set in its tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.operations.dagster_history import (
    FREQUENT_JOBS,
    history_is_pruned,
    history_size,
    prune_history,
)

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
ORDERS, EVENTS = dg.AssetKey("orders"), dg.AssetKey("order_events")


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="orders")])
def orders(context) -> dg.MaterializeResult:  # pyright: ignore[reportMissingParameterType]
    context.log.info("looked")
    result = dg.AssetCheckResult(check_name="fine", passed=True, metadata={"orders": 1})
    return dg.MaterializeResult(check_results=[result], metadata={"orders": 1})


@dg.asset(partitions_def=DAYS)
def order_events() -> dg.MaterializeResult:
    return dg.MaterializeResult(tags={"of": "a-day"})


@dg.op
def fails() -> None:
    raise ValueError("no reason")


@dg.job
def failing() -> None:
    fails()


@pytest.fixture
def dagster(dagster_url: str) -> Iterator[Database]:
    opened = Database(dagster_url)
    yield opened
    opened.close()


def grow_older(dagster: Database, days: int) -> None:
    """Everything that is there becomes so many days older."""
    moved = f"interval '{days} days'"
    with dagster.begin() as connection:
        for table, columns in {
            "runs": ("create_timestamp", "update_timestamp"),
            "event_logs": ("timestamp",),
            "asset_check_executions": ("create_timestamp", "evaluation_event_timestamp"),
            "bulk_actions": ("timestamp",),
        }.items():
            changes = ", ".join(f"{column} = {column} - {moved}" for column in columns)
            connection.execute(text(f"update {table} set {changes}"))
        connection.execute(text(f"update runs set end_time = end_time - {days} * 86400"))


def count(dagster: Database, what: str) -> int:
    with dagster.begin() as connection:
        return connection.execute(text(f"select count(*) from {what}")).scalar_one()


def materialize(instance: dg.DagsterInstance, **named: Any) -> str:
    return dg.materialize([orders], instance=instance, **named).run_id


def test_old_runs_go_with_their_events_and_what_the_ui_shows_of_each_asset_stays(
    instance: dg.DagsterInstance, dagster: Database, audit: AuditLog
):
    for _ in range(3):
        materialize(instance)
    for day in ("2026-01-05", "2026-01-06", "2026-01-06"):
        dg.materialize([order_events], instance=instance, partition_key=day)
    failing.execute_in_process(instance=instance, raise_on_error=False)
    for day in ("2026-01-06", "2026-01-07", "2026-01-07"):
        instance.report_runless_asset_event(dg.AssetMaterialization(EVENTS, partition=day))
    instance.report_runless_asset_event(dg.AssetObservation("order_notifications", metadata={"messages": 1}))
    instance.report_runless_asset_event(dg.AssetObservation("order_notifications", metadata={"messages": 2}))
    grow_older(dagster, 40)
    young = materialize(instance)
    assert not history_is_pruned(dagster).passed
    before_partitions = instance.get_materialized_partitions(EVENTS)
    assert before_partitions == {"2026-01-05", "2026-01-06", "2026-01-07"}

    totals = prune_history(dagster, audit)

    assert (totals.unfinished, totals.gone["runs"]) == (False, 5), "three of orders, one of a day, the failed one"
    assert instance.get_materialized_partitions(EVENTS) == before_partitions
    newest = instance.get_latest_materialization_event(ORDERS)
    assert newest is not None
    assert newest.run_id == young
    check = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(ORDERS, "fine"))
    assert check is not None
    assert check.evaluation is not None
    assert check.evaluation.passed
    left = {record.dagster_run.run_id for record in instance.get_run_records()}
    assert young in left
    assert len(left) == 3, "the young one, and those that hold the newest of a partition"
    for run_id in left:
        assert instance.all_logs(run_id)
    assert count(dagster, "event_logs where asset_key like '%order_notifications%'") == 1
    assert count(dagster, "asset_event_tags t where not exists (select from event_logs e where e.id = t.event_id)") == 0
    assert count(dagster, "run_tags t where not exists (select from runs r where r.run_id = t.run_id)") == 0
    assert history_is_pruned(dagster).passed
    assert audit.verify().entries == 1

    again = prune_history(dagster, audit)
    assert sum(again.gone.values()) == 0
    assert audit.verify().entries == 1, "nothing went, nothing is said"


def test_the_only_materialization_of_an_asset_stays_however_old(
    instance: dg.DagsterInstance, dagster: Database, audit: AuditLog
):
    run_id = materialize(instance)
    grow_older(dagster, 400)
    prune_history(dagster, audit)
    newest = instance.get_latest_materialization_event(ORDERS)
    assert newest is not None
    assert newest.run_id == run_id
    assert instance.get_run_by_id(run_id) is not None
    check = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(ORDERS, "fine"))
    assert check is not None
    assert history_is_pruned(dagster).passed
    # What a run says besides is gone.
    assert {entry.dagster_event_type.value for entry in instance.all_logs(run_id) if entry.dagster_event_type} <= {
        "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED",
    }  # fmt: skip


def test_a_run_that_has_not_ended_is_never_touched(instance: dg.DagsterInstance, dagster: Database, audit: AuditLog):
    materialize(instance)
    materialize(instance)
    with dagster.begin() as connection:
        connection.execute(text("update runs set status = 'STARTED', end_time = null"))
    grow_older(dagster, 400)
    events = count(dagster, "event_logs")
    prune_history(dagster, audit)
    assert (count(dagster, "runs"), count(dagster, "event_logs")) == (2, events)


def test_young_history_stays_and_the_time_to_keep_is_the_callers(
    instance: dg.DagsterInstance, dagster: Database, audit: AuditLog
):
    for _ in range(2):
        materialize(instance)
    grow_older(dagster, 10)
    assert sum(prune_history(dagster, audit).gone.values()) == 0
    assert prune_history(dagster, audit, keep=timedelta(days=5)).gone["runs"] == 1


def test_a_deadline_ends_a_pruning_and_the_next_goes_on(
    instance: dg.DagsterInstance, dagster: Database, audit: AuditLog
):
    for _ in range(2):
        materialize(instance)
    grow_older(dagster, 40)
    assert prune_history(dagster, audit, deadline_seconds=-1).unfinished
    assert count(dagster, "runs") == 2
    assert prune_history(dagster, audit).gone["runs"] == 1


def test_a_frequent_jobs_success_and_what_sensors_reported_go_sooner_than_what_is_read_later(
    instance: dg.DagsterInstance, dagster: Database, audit: AuditLog
):
    frequent = dg.define_asset_job("sync_orders", selection=[orders])
    nightly = dg.define_asset_job("nightly", selection=[orders])
    repository = dg.Definitions(assets=[orders], jobs=[frequent, nightly]).get_repository_def()
    kept = {
        repository.get_job("sync_orders").execute_in_process(instance=instance).run_id: "it failed",
        repository.get_job("nightly").execute_in_process(instance=instance).run_id: "not frequent",
    }
    with dagster.begin() as connection:
        connection.execute(text("update runs set status = 'FAILURE' where pipeline_name = 'sync_orders'"))
    gone = repository.get_job("sync_orders").execute_in_process(instance=instance).run_id
    newest = repository.get_job("sync_orders").execute_in_process(instance=instance).run_id
    for messages in (1, 2):
        instance.report_runless_asset_event(dg.AssetObservation("order_notifications", metadata={"messages": messages}))
    grow_older(dagster, 10)
    assert not history_is_pruned(dagster).passed

    totals = prune_history(dagster, audit)

    left = {record.dagster_run.run_id for record in instance.get_run_records()}
    assert left == {*kept, newest}, "the newest holds what the UI shows of the asset"
    assert gone not in left
    assert count(dagster, "event_logs where asset_key like '%order_notifications%'") == 1
    assert history_is_pruned(dagster).passed
    assert totals.gone["runs"] == 1


def test_every_frequent_job_is_a_job():
    assert {job.name for job in build_defs().get_repository_def().get_all_jobs()} > set(FREQUENT_JOBS)


def test_what_a_thousand_orders_cost_is_shown(instance: dg.DagsterInstance, dagster: Database, database: Database):
    materialize(instance)
    grow_older(dagster, 10)
    materialize(instance)
    assert "event_rows_per_order" not in history_size(dagster, database).as_metadata()
    with database.begin() as connection:
        connection.execute(
            text("""
                insert into pipeline.orders (account_id, order_id, status, fulfilled_by, first_seen_at)
                select 'A1', n::text, 'UNSHIPPED', 'MERCHANT', clock_timestamp() - n * interval '10 hours'
                from generate_series(1, 4) n
            """)
        )

    size = history_size(dagster, database)

    (job,) = size.jobs
    shown = size.as_metadata()
    assert {table.name for table in size.tables} >= {"runs", "event_logs", "job_ticks"}
    assert (job.runs, shown["orders_of_the_last_day"]) == (1, 2)
    assert shown["event_rows_per_order"] == job.events / 2
    assert 0 < shown["megabytes_of_the_last_day"] < shown["megabytes"]
    assert job.bytes > 1000
