"""What was missed is found, what was parked comes back: through the real jobs, against the sandbox."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.orders.ownership import note_start
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = AmazonOptions(listing_delay_seconds=0)
    with Sandbox(time_scale=100, amazon=options, floor=FloorOptions(automatic=False)) as running:
        yield running


@pytest.fixture
def pipeline(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    with pipeline_for(sandbox, database_url, tmp_path, monkeypatch) as running:
        yield running


def _long_ago(sandbox: Sandbox, order_id: str) -> None:
    """Let the order's last change be older than the two minutes that Amazon holds a listing back."""
    order = sandbox.amazon.orders[order_id]
    order.last_updated -= timedelta(minutes=30)


def _two_days_ago(sandbox: Sandbox, order_id: str) -> None:
    sandbox.amazon.orders[order_id].last_updated -= timedelta(days=2)


def _started_yesterday(database: Database) -> None:
    with database.transaction(SELLER) as tx:
        note_start(tx, None)
        tx.execute(text("update pipeline.account_starts set first_started_at = clock_timestamp() - interval '1 day'"))


def test_the_first_start_pushes_nothing_that_an_old_process_ships(
    sandbox: Sandbox, pipeline: Pipeline, database: Database
):
    old = sandbox.add_order(status="UNSHIPPED", notify=False)
    _long_ago(sandbox, old.order_id)
    sandbox.amazon.orders[old.order_id].created -= timedelta(hours=1)
    pipeline.tick("drain_notifications_sensor")
    assert pipeline.run("sweep_orders")
    pipeline.tick("drain_notifications_sensor")
    assert not sandbox.warehouse.orders
    record = pipeline.instance.get_latest_materialization_event(dg.AssetKey("order_sweeps"))
    assert record is not None
    assert record.asset_materialization is not None
    said = record.asset_materialization.metadata["not_further_back_than"].value
    assert "the first start of this account" in str(said)


def test_a_backfilled_order_from_before_the_start_waits_for_adoption(sandbox: Sandbox, pipeline: Pipeline):
    old = sandbox.add_order(status="UNSHIPPED", notify=False)
    _two_days_ago(sandbox, old.order_id)
    sandbox.amazon.orders[old.order_id].created -= timedelta(days=3)
    # The very first thing that anybody does here: no sensor has ticked yet.
    _materialize_day_of(sandbox, pipeline, old.order_id)
    pipeline.run("sync_orders")
    assert old.order_id not in sandbox.warehouse.orders
    adopt = pipeline.repository.get_job("adopt_orders")
    for more in ({}, {"dry_run": False}):
        assert old.order_id not in sandbox.warehouse.orders
        config = {"ops": {"adopt_named_orders": {"config": {"order_ids": [old.order_id], **more}}}}
        assert adopt.execute_in_process(instance=pipeline.instance, run_config=config).success
        pipeline.run("sync_orders")
    assert sandbox.warehouse.orders[old.order_id].status == "accepted"


def test_a_sweep_pushes_an_order_whose_notification_was_lost(sandbox: Sandbox, pipeline: Pipeline, database: Database):
    _started_yesterday(database)
    told = sandbox.add_order(status="UNSHIPPED")
    lost = sandbox.add_order(status="UNSHIPPED", notify=False)
    pipeline.tick("drain_notifications_sensor")
    assert lost.order_id not in sandbox.warehouse.orders
    for order in (told, lost):
        _long_ago(sandbox, order.order_id)
    assert pipeline.run("sweep_orders")
    pipeline.tick("drain_notifications_sensor")
    assert sandbox.warehouse.orders[lost.order_id].status == "accepted"
    with database.begin() as connection:
        events = connection.execute(text("select order_id from pipeline.order_events where source = 'sweep'")).scalars()
        assert list(events) == [lost.order_id]
    latest = pipeline.instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey("order_sweeps"), "notifications_miss_nothing")
    )
    assert latest is not None
    evaluation = latest.evaluation
    assert evaluation is not None
    assert not evaluation.passed
    assert evaluation.metadata["missed_in_a_day"].value == 1


def test_a_sweep_after_a_sweep_tells_nothing_new(sandbox: Sandbox, pipeline: Pipeline, database: Database):
    _started_yesterday(database)
    lost = sandbox.add_order(status="UNSHIPPED", notify=False)
    _long_ago(sandbox, lost.order_id)
    for _ in range(2):
        assert pipeline.run("sweep_orders")
        pipeline.run("sync_orders")
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from pipeline.order_events")).scalar_one() == 1
    assert len(sandbox.warehouse.pushes_of(lost.order_id)) == 1


def test_materializing_a_past_day_fetches_its_orders(sandbox: Sandbox, pipeline: Pipeline, database: Database):
    _started_yesterday(database)
    lost = sandbox.add_order(status="UNSHIPPED", notify=False)
    _two_days_ago(sandbox, lost.order_id)
    _materialize_day_of(sandbox, pipeline, lost.order_id)
    pipeline.run("sync_orders")
    assert sandbox.warehouse.orders[lost.order_id].status == "accepted"


def _materialize_day_of(sandbox: Sandbox, pipeline: Pipeline, order_id: str) -> None:
    job = pipeline.repository.get_implicit_job_def_for_assets([dg.AssetKey("order_events")])
    assert job is not None
    assert job.execute_in_process(
        instance=pipeline.instance,
        partition_key=sandbox.amazon.orders[order_id].last_updated.date().isoformat(),
        asset_selection=[dg.AssetKey("order_events")],
    ).success


def test_an_order_that_the_warehouse_refused_is_pushed_when_it_is_replayed(sandbox: Sandbox, pipeline: Pipeline):
    order = sandbox.add_order(status="UNSHIPPED", items=[{"sku": "NEW-1", "quantity": 1}])
    sandbox.warehouse.unknown_skus.add("NEW-1")
    pipeline.tick("drain_notifications_sensor")
    assert order.order_id not in sandbox.warehouse.orders
    sandbox.warehouse.unknown_skus.clear()
    assert pipeline.run("replay_parked")
    pipeline.run("sync_orders")
    assert sandbox.warehouse.orders[order.order_id].status == "accepted"


def test_any_order_can_be_recovered_by_its_id(sandbox: Sandbox, pipeline: Pipeline):
    order = sandbox.add_order(status="UNSHIPPED", notify=False)
    config = {"ops": {"recover_one_order": {"config": {"order_id": order.order_id}}}}
    job = pipeline.repository.get_job("recover_order")
    assert job.execute_in_process(instance=pipeline.instance, run_config=config).success
    pipeline.run("sync_orders")
    assert sandbox.warehouse.orders[order.order_id].status == "accepted"


def test_waiving_a_buyers_cancellation_ships_the_order_and_is_audited(
    sandbox: Sandbox, pipeline: Pipeline, database: Database
):
    order = sandbox.add_order(status="UNSHIPPED")
    sandbox.amazon.request_cancellation(order.order_id)
    pipeline.tick("drain_notifications_sensor")
    assert order.order_id not in sandbox.warehouse.orders
    job = pipeline.repository.get_job("waive_hold")

    def release(*reasons: str) -> bool:
        config = {"order_id": order.order_id, "reasons": list(reasons), "why": "BUYER_WITHDREW", "ticket": 4711}
        return job.execute_in_process(
            instance=pipeline.instance,
            run_config={"ops": {"waive_one_hold": {"config": config}}},
            raise_on_error=False,
        ).success

    with pytest.raises(dg.DagsterInvalidConfigError):
        release("NO_ADDRESS")
    assert release("BUYER_ASKS_TO_CANCEL")
    pipeline.run("sync_orders")
    assert sandbox.warehouse.orders[order.order_id].status == "accepted"
    with database.begin() as connection:
        written = connection.execute(text("select purpose from audit.entries where action = 'waive_hold'")).scalars()
        assert list(written) == ["buyer_withdrew_the_request (ticket 4711)"]


def test_only_orders_that_one_stage_set_aside_are_replayed(sandbox: Sandbox, pipeline: Pipeline):
    order = sandbox.add_order(status="UNSHIPPED", items=[{"sku": "NEW-1", "quantity": 1}])
    sandbox.warehouse.unknown_skus.add("NEW-1")
    pipeline.tick("drain_notifications_sensor")
    sandbox.warehouse.unknown_skus.clear()
    job = pipeline.repository.get_job("replay_parked")
    for stage, pushed in (("CONFIRM", False), ("PUSH", True)):
        config = {"ops": {"replay_parked_orders": {"config": {"stage": stage}}}}
        assert job.execute_in_process(instance=pipeline.instance, run_config=config).success
        pipeline.run("sync_orders")
        # A push that finds its order being fetched is due two seconds later: then the sensor asks for another run.
        deadline = time.monotonic() + 20
        while pushed and order.order_id not in sandbox.warehouse.orders and time.monotonic() < deadline:
            pipeline.run("sync_orders")
        assert (order.order_id in sandbox.warehouse.orders) is pushed


def test_what_is_no_order_id_is_refused_without_being_repeated(pipeline: Pipeline):
    job = pipeline.repository.get_job("recover_order")
    config = {"ops": {"recover_one_order": {"config": {"order_id": "Canary Quillfeather"}}}}
    result = job.execute_in_process(instance=pipeline.instance, run_config=config, raise_on_error=False)
    told = " ".join(str(event) for event in result.all_events)
    assert not result.success
    assert "letters, digits and hyphens" in told
    assert "Quillfeather" not in told


def test_a_report_that_cannot_be_read_is_shown_as_such_and_fails_no_run(
    sandbox: Sandbox, pipeline: Pipeline, database: Database
):
    sandbox.add_order(status="UNSHIPPED")
    pipeline.tick("drain_notifications_sensor")
    with database.begin() as connection:
        connection.execute(text("alter table pipeline.parked_messages rename to away"))
    try:
        assert pipeline.run("refresh_reports")
    finally:
        with database.begin() as connection:
            connection.execute(text("alter table pipeline.away rename to parked_messages"))
    record = pipeline.instance.get_latest_materialization_event(dg.AssetKey("order_board"))
    assert record is not None
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    assert "ProgrammingError" in str(shown["parked_messages_could_not_be_read"].value)
    assert [name for name in shown if name.endswith("_could_not_be_read")] == ["parked_messages_could_not_be_read"]
    assert shown["to_ship"].value == 1
    can = shown["warehouse_capabilities"]
    assert isinstance(can, dg.TableMetadataValue)
    assert {one.data["capability"]: one.data["who"] for one in can.records} == {
        **dict.fromkeys(("hold", "cancel", "erase_pii"), "the pipeline"),
        **dict.fromkeys(("webhooks", "acknowledge", "stock"), "nobody"),
    }
    board = shown["board"]
    assert isinstance(board, dg.TableMetadataValue)
    (waits,) = board.records
    assert waits.data.items() >= {"amazon_status": "UNSHIPPED", "fulfillment_state": "accepted", "orders": 1}.items()
    assert re.fullmatch(r"\d+ s", str(waits.data["oldest"]))


def test_what_a_run_that_ships_shows_is_its_own_work_alone(sandbox: Sandbox, pipeline: Pipeline):
    sandbox.add_order(status="UNSHIPPED")
    pipeline.tick("drain_notifications_sensor")
    # What the push changed is decided about once more; then there is nothing to do.
    for _ in range(2):
        pipeline.run("sync_orders")
    for asset in ("orders", "fulfillment_queue", "wms_orders"):
        record = pipeline.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert record is not None
        assert record.asset_materialization is not None
        counts = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        assert not any(counts.values()), f"{asset} had nothing to do, and counts nothing else"
