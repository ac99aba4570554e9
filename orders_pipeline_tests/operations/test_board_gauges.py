"""The numbers that `order_board` plots: the same names at every hour, true of what waits; of several accounts one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.operations.board_gauges import Gauges, calls_per_order, together
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for

BOARD = dg.AssetKey("order_board")


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


def _plotted(pipeline: Pipeline) -> dict[str, float]:
    """What the asset's page draws a line of."""
    pipeline.run("refresh_reports")
    event = pipeline.instance.get_latest_materialization_event(BOARD)
    assert event is not None
    assert event.asset_materialization is not None
    return {
        name: value.value
        for name, value in event.asset_materialization.metadata.items()
        if isinstance(value, (dg.IntMetadataValue, dg.FloatMetadataValue)) and value.value is not None
    }


def test_each_number_has_its_name_at_every_hour_and_tells_what_is_so(
    sandbox: Sandbox, pipeline: Pipeline, database: Database
):
    quiet = _plotted(pipeline)
    assert (quiet["orders_unshipped"], quiet["oldest_unpushed_seconds"], quiet["fulfillment_queued"]) == (0, 0, 0)
    first, second = (sandbox.add_order(status="UNSHIPPED").order_id for _ in range(2))
    pipeline.tick("drain_notifications_sensor")
    sandbox.floor.ship_now(first)
    pipeline.tick("poll_warehouse_sensor")
    with database.begin() as connection:
        connection.execute(
            text(
                "update pipeline.fulfillment_orders set state = 'queued', "
                "changed_at = changed_at - interval '90 seconds' where order_id = :order_id"
            ),
            {"order_id": second},
        )
    busy = _plotted(pipeline)
    assert quiet.keys() <= busy.keys()
    assert (busy["orders_known"], busy["fulfillment_queued"]) == (2, 1)
    assert 90 <= busy["oldest_unpushed_seconds"] < 150
    assert 0 <= busy["message_to_warehouse_p50_seconds"] <= busy["message_to_warehouse_p95_seconds"] < 60
    assert 0 <= busy["package_to_amazon_p50_seconds"] < 60
    assert busy["amazon_calls_ever"] >= 3
    assert busy["calls_per_new_order"] == (busy["amazon_calls_ever"] - quiet["amazon_calls_ever"]) / 2
    assert 0 <= busy["quota_used_getOrder_percent"] <= 100
    later = _plotted(pipeline)
    assert later.keys() == busy.keys() - {"calls_per_new_order"}, "no order came since: there is no such number"


def test_of_several_accounts_counts_add_up_and_the_worst_level_is_shown():
    gauges = {
        "A1": Gauges({"orders_known": 2}, {"oldest_unpushed_seconds": 5.0}),
        "A2": Gauges({"orders_known": 3}, {"oldest_unpushed_seconds": 60.0, "package_to_amazon_p50_seconds": 1.5}),
    }
    assert together(gauges) == Gauges(
        {"orders_known": 5}, {"oldest_unpushed_seconds": 60.0, "package_to_amazon_p50_seconds": 1.5}
    )
    assert together({}) == Gauges({}, {})


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"amazon_calls_ever": 10},
        {"amazon_calls_ever": 10, "orders_known": 9},
        {"amazon_calls_ever": 99, "orders_known": 1},
    ],
)
def test_calls_an_order_are_not_guessed(before: dict[str, object]):
    assert calls_per_order({"amazon_calls_ever": 20, "orders_known": 9}, before) == {}
