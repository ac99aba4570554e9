"""What Dagster shows of past days is true: a day is green once a search has read all of it, and not before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.defs import backfill
from orders_pipeline.defs.intake import order_events
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import project_root
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for

TODAY = datetime.now(UTC).date()
KEY = dg.AssetKey("order_events")
# Two hundred pages a minute, and none at once: the bucket is emptied first.
FAST = 600


def _day(ago: int) -> date:
    return TODAY - timedelta(days=ago)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = AmazonOptions(listing_delay_seconds=0)
    with Sandbox(time_scale=FAST, amazon=options, floor=FloorOptions(automatic=False)) as running:
        yield running


@pytest.fixture
def pipeline(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    monkeypatch.setattr("orders_pipeline.intake.backfill.DAY_IS_LISTED_AFTER", timedelta())
    with pipeline_for(sandbox, database_url, tmp_path, monkeypatch) as running:
        yield running


def _orders(sandbox: Sandbox, *ago: int) -> None:
    for day in ago:
        order = sandbox.add_order(status="SHIPPED", notify=False)
        order.last_updated = datetime.combine(_day(day), time(12), UTC)
        order.created = order.last_updated - timedelta(hours=1)


def _materialize(pipeline: Pipeline, first: date, last: date, **tags: str) -> dg.ExecuteInProcessResult:
    job = pipeline.repository.get_implicit_job_def_for_assets([KEY])
    assert job is not None
    bounds = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    return job.execute_in_process(
        instance=pipeline.instance, asset_selection=[KEY], tags={**bounds, **tags}, raise_on_error=False
    )


def _green(pipeline: Pipeline) -> Sequence[str]:
    return sorted(pipeline.instance.get_materialized_partitions(KEY))


def _searches(sandbox: Sandbox) -> int:
    return sandbox.amazon.ledger.requests["searchOrders"]


def test_a_notification_makes_no_day_green(sandbox: Sandbox, pipeline: Pipeline):
    sandbox.add_order(status="UNSHIPPED")
    data = pipeline.tick("drain_notifications_sensor")
    events = [event for event in data.asset_events if event.asset_key == KEY]
    assert [(type(event), event.partition) for event in events] == [(dg.AssetObservation, TODAY.isoformat())]


def test_only_days_that_are_over_can_be_picked():
    assert order_events.partitions_def is not None
    keys = order_events.partitions_def.get_partition_keys()
    assert (keys[-1], TODAY.isoformat() in keys) == (_day(1).isoformat(), False)


def test_adjacent_days_are_one_search_and_every_one_is_green(
    sandbox: Sandbox, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ORDERS_HISTORY_SOURCE", "search")
    _orders(sandbox, *(ago for ago in range(1, 31) for _ in range(7)))
    assert _materialize(pipeline, _day(30), _day(1)).success
    assert _green(pipeline) == sorted(_day(ago).isoformat() for ago in range(1, 31))
    assert _searches(sandbox) == 3
    shown = pipeline.instance.get_latest_materialization_event(KEY)
    assert shown is not None
    assert shown.asset_materialization is not None
    numbers = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
    assert (numbers["pages_of_the_backfill"], numbers["orders_seen_by_it"]) == (3, 210)


def test_ten_days_are_read_from_a_report_and_green_once_it_is_recorded(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch
):
    _orders(sandbox, *range(2, 12))
    slept: list[Sequence[str]] = []

    def sleep(seconds: float) -> None:
        slept.append(_green(pipeline))
        with database.begin() as connection:
            connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))

    monkeypatch.setattr(backfill.time, "sleep", sleep)
    result = _materialize(pipeline, _day(11), _day(2))
    assert result.success
    assert slept
    assert not any(slept)
    assert _green(pipeline) == sorted(_day(ago).isoformat() for ago in range(2, 12))
    assert (_searches(sandbox), sandbox.amazon.ledger.requests["createReport"]) == (0, 1)
    (seen,) = result.filter_events(lambda event: event.event_type is dg.DagsterEventType.ASSET_OBSERVATION)
    told = {name: value.value for name, value in seen.asset_observation_data.asset_observation.metadata.items()}
    assert (told["reports"], told["reports_read"]) == (1, 0)
    assert str(told["waits_for"]).startswith(f"the report of {_day(11)} to {_day(2)}")
    assert str(told["ends"]).startswith("unknown: Amazon makes a report")
    shown = pipeline.instance.get_latest_materialization_event(KEY)
    assert shown is not None
    assert shown.asset_materialization is not None
    numbers = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
    assert (numbers["report_rows_of_it"], numbers["new_events_of_it"]) == (10, 10)
    assert str(numbers["source"]).startswith("report: 10 days in 1")


def test_while_it_waits_it_tells_how_far_it_is_and_until_when(
    sandbox: Sandbox, pipeline: Pipeline, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """And no day of a search that has not ended is green."""
    _orders(sandbox, *([1] * 250))
    slept: list[Sequence[str]] = []
    empty = "update pipeline.amazon_rate_limits set tokens = :tokens, refilled_at = clock_timestamp()"

    def sleep(seconds: float) -> None:
        slept.append(_green(pipeline))
        _fill(database, empty, 18)

    monkeypatch.setattr(backfill.time, "sleep", sleep)
    monkeypatch.setattr("orders_pipeline.intake.backfill.CALL_SECONDS", 0.0)
    with database.transaction(SELLER) as tx:
        tx.execute(
            text(
                "insert into pipeline.search_windows (account_id, purpose, updated_after, updated_before, parameters, "
                "orders_seen, finished_at) values (:account, 'sweep', clock_timestamp() - interval '1 day', "
                "clock_timestamp(), '{}', 249, clock_timestamp())"
            ),
            {"account": SELLER},
        )
    _materialize(pipeline, _day(3), _day(3))
    _fill(database, empty, -1_000)
    result = _materialize(pipeline, _day(2), _day(1))
    assert result.success
    assert slept == [[_day(3).isoformat()]]
    (seen,) = result.filter_events(lambda event: event.event_type is dg.DagsterEventType.ASSET_OBSERVATION)
    told = {name: value.value for name, value in seen.asset_observation_data.asset_observation.metadata.items()}
    assert (told["pages"], told["waits_for"]) == (0, "the quota")
    assert told["pages_left"] == 3
    assert float(str(told["calls_left"])) < 0
    assert str(told["waits_until"]) < str(told["ends"])


def _fill(database: Database, statement: str, tokens: float) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), {"tokens": tokens})


def test_a_refusal_fails_the_run_at_its_end_and_leaves_the_day_as_it_was(sandbox: Sandbox, pipeline: Pipeline):
    sandbox.amazon.faults.add(kind="access_denied", operation="searchOrders", times=None)
    _orders(sandbox, 2, 1)
    assert not _materialize(pipeline, _day(2), _day(1)).success
    assert _green(pipeline) == []


def test_a_backfill_is_one_run_that_may_last_and_be_killed(sandbox: Sandbox, pipeline: Pipeline):
    assert order_events.backfill_policy == dg.BackfillPolicy.single_run()
    result = _materialize(pipeline, _day(2), _day(1))
    run = pipeline.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_runtime"] == "0", "no limit, whatever dagster.yaml says"
    assert int(run.tags["dagster/max_retries"]) >= 50


def test_a_backfill_takes_no_slot_that_live_work_needs():
    """By pools, whoever started its runs: also where picked days that are not adjacent are several runs."""
    settings = yaml.safe_load((project_root() / "dagster.yaml").read_text("utf-8"))
    pools = settings["concurrency"]["pools"]
    assert (pools["granularity"], pools["default_limit"]) == ("run", 1)
    assert order_events.node_def.pools == {"order_backfill"}  # pyright: ignore
    alone = {
        key.to_user_string()
        for asset in build_defs().resolve_asset_graph().assets_defs
        for key in asset.keys
        if asset.is_executable and "order_backfill" in asset.node_def.pools  # pyright: ignore
    }
    assert alone == {"order_events"}
    # One for the backfill; sync_orders, confirm_shipments, the hourly and the nightly run, and one of a person's.
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] >= 1 + 5
