"""Both ends of the world in the lineage: seen while they are seen, overdue once they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orders_pipeline.defs.accounts import ACCOUNT_TAG, HANDLED_TAG, IDLE, WORKED
from orders_pipeline.defs.policy import POLICIES
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for

# Nobody listens there.
CLOSED = "http://127.0.0.1:9"
DRAIN, POLL = "drain_notifications_sensor", "poll_warehouse_sensor"
QUEUE, WAREHOUSE = dg.AssetKey("order_notifications"), dg.AssetKey("warehouse")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=1000, floor=FloorOptions(automatic=False)) as sandbox:
        yield sandbox


@pytest.fixture
def pipeline(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    with pipeline_for(sandbox, database_url, tmp_path, monkeypatch) as running:
        yield running


def _read(data: dg.SensorExecutionData, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
    return [
        event for event in data.asset_events if isinstance(event, dg.AssetMaterialization) and event.asset_key == key
    ]


def _observed(pipeline: Pipeline, asset: str) -> dict[str, object]:
    (record,) = pipeline.instance.fetch_observations(dg.AssetKey(asset), limit=1).records
    assert record.asset_observation is not None
    return {name: value.value for name, value in record.asset_observation.metadata.items()}


def test_a_quiet_shop_is_seen_to_be_read_once_a_minute_and_nothing_else_is_said(pipeline: Pipeline):
    for sensor, key in ((DRAIN, QUEUE), (POLL, WAREHOUSE)):
        data = pipeline.tick(sensor)
        assert len(_read(data, key)) == 1, "the daemon's freshness counts from it"
        again = pipeline.tick(sensor)
        assert not again.asset_events, "not at every tick"
        assert again.skip_message, "a tick that asks for nothing says why"
        assert POLICIES[key.to_user_string()].freshness is not None


def test_what_cannot_be_read_is_not_said_to_be_read(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", CLOSED)
    monkeypatch.setenv("WMS_BASE_URL", CLOSED)
    for sensor, key in ((DRAIN, QUEUE), (POLL, WAREHOUSE)):
        data = pipeline.tick(sensor)
        assert _read(data, key) == []
        assert data.skip_message, sensor


def test_amazons_side_shows_what_was_asked_and_seen_and_the_run_says_whose_and_what(
    sandbox: Sandbox, pipeline: Pipeline
):
    order_id = sandbox.add_order(status="UNSHIPPED").order_id
    pipeline.tick(DRAIN)
    (run,) = pipeline.instance.get_runs(limit=1)
    assert run.tags[f"{ACCOUNT_TAG}/{sandbox.seller_id}"] == WORKED
    assert run.tags[HANDLED_TAG].startswith("1 pushed, "), "the list of runs cuts off the rest"
    assert "1 fetched" in run.tags[HANDLED_TAG]
    assert _observed(pipeline, "amazon_orders")["orders_asked_for"] == 1

    sandbox.floor.ship_now(order_id)
    pipeline.tick(POLL)
    (run,) = pipeline.instance.get_runs(limit=1)
    assert "1 told" in run.tags[HANDLED_TAG]
    assert set(_observed(pipeline, "amazon_shipments")) >= {"orders_looked_at", "orders_shown_as_told", "calls_failed"}

    # The first takes in what Amazon says of our own confirmation.
    for _ in range(2):
        pipeline.run("sync_orders")
    (run,) = pipeline.instance.get_runs(limit=1)
    assert (run.tags[f"{ACCOUNT_TAG}/{sandbox.seller_id}"], run.tags[HANDLED_TAG]) == (IDLE, "nothing")
