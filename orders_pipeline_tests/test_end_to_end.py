"""The road, end to end: from a notification on SQS to a confirmation that Amazon shows, by the real definitions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

# Far more than it needs on two cores; a day that is not done by then will never be.
PATIENCE_SECONDS = 90


def _until(pipeline: Pipeline, sandbox: Sandbox, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        wrong = [one for one in sandbox.judge.verdicts(sandbox.day.planned) if not one.ok]
        assert time.monotonic() < deadline, wrong[:5]
        pipeline.run_until_idle()


def _example() -> dict[str, object]:
    named = os.environ.get("AMAZON_MODELS_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "amazon-models"
    path = folder / "notifications" / "OrderChangeNotification.json"
    if not path.exists():
        assert not os.environ.get("CI"), f"{path} is missing: set AMAZON_MODELS_DIR"
        pytest.skip(f"Amazon's models are not at {folder}: set AMAZON_MODELS_DIR")
    return json.loads(path.read_text(encoding="utf-8"))["examples"][0]


@pytest.mark.parametrize("orders_api", ["2026-01-01", "v0"])
def test_every_order_of_a_day_ends_where_it_belongs(
    orders_api: str,
    database: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    sandbox = Sandbox(
        seed=7,
        time_scale=60,
        day=DayOptions(orders=40, duration_seconds=6),
        floor=FloorOptions(min_seconds=1, max_seconds=3),
        amazon=AmazonOptions(item_level_share=0.1),
    )
    with sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch, AMAZON_ORDERS_API=orders_api)
        pipeline = Pipeline(instance)
        sandbox.day.start()

        def settled() -> bool:
            # What is due later is made due now: a test does not wait for a back-off.
            with database.begin() as connection:
                connection.execute(
                    text(
                        "update pipeline.jobs set due_at = clock_timestamp() "
                        "where queue = 'verify' and due_at > clock_timestamp()"
                    )
                )
            verdicts = sandbox.judge.verdicts(sandbox.day.planned)
            return sandbox.day.finished() and all(verdict.ok for verdict in verdicts)

        _until(pipeline, sandbox, settled)
        ledger = sandbox.ledger()["amazon"]
        assert pipeline.failed_runs == []
        assert sum(ledger["throttled"].values()) == 0
        assert len(ledger["restricted_data_tokens"]) == (1 if orders_api == "v0" else 0)


def test_amazons_own_example_put_on_the_queue_by_hand_reaches_the_warehouse(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    example = _example()
    sandbox = Sandbox()
    with sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        sandbox.add_order(
            notify=False,
            order_id="903-8868176-2219830",
            status="Unshipped",
            items=[{"order_item_id": "OIID34853450", "sku": "SellerSKUID1", "quantity": 10}],
        )
        sandbox.queue.send(json.dumps(example))
        Pipeline(instance).tick("drain_notifications_sensor")
        order = sandbox.warehouse.orders["903-8868176-2219830"]
        assert order.status == "accepted"
        assert sandbox.queue.drained()
