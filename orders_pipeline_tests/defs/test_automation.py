"""What starts by the clock: at its time, once, with the tags of its run; also in a shop where nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.automation import CONDITION_SENSORS, JOBS
from orders_pipeline.defs.checks import FLOW_CHECKS
from orders_pipeline.defs.operations import failed_runs
from orders_pipeline.defs.privacy_checks import EXPORT_CHECKS, HISTORY_CHECKS, LOG_CHECKS, RETENTION_CHECKS

MIDNIGHT = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _requested_over_a_day(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """When each asset and check is asked for, looking every half minute at the times around each cron's."""
    definitions = build_defs()
    found: dict[str, list[str]] = {}
    cursor = None
    for minute in (0, 17, 18, 41, 42, 77, 78, 101, 102, 209, 210, 233, 234):
        at = MIDNIGHT + timedelta(minutes=minute, seconds=20)
        result = dg.evaluate_automation_conditions(definitions, instance, evaluation_time=at, cursor=cursor)
        cursor = result.cursor
        for one in result.results:
            if not one.true_subset.is_empty:
                name = one.key.name if isinstance(one.key, dg.AssetCheckKey) else one.key.to_user_string()
                found.setdefault(name, []).append(f"{at:%H:%M}")
    return found


def test_each_is_asked_for_at_its_time_and_once_though_nothing_upstream_changed(instance: dg.DagsterInstance):
    found = _requested_over_a_day(instance)
    sweeps = {"order_sweeps", "notifications_miss_nothing", "notifications_are_not_silent"}
    flow = FLOW_CHECKS.resolve_checks(build_defs().resolve_asset_graph())
    reports = {"order_board", "fba_shipments"} | {key.name for key in flow}
    # Hours that went by unseen are asked for once, at the next look.
    expected = {name: ["00:17", "01:17", "03:29"] for name in sweeps}
    expected |= {name: ["00:41", "01:41", "03:29", "03:53"] for name in reports}
    expected |= {name: ["03:29"] for name in ("pii_retention", "pii_access_log", *LOG_CHECKS, *EXPORT_CHECKS)}
    expected |= {name: ["03:29"] for name in RETENTION_CHECKS}
    expected |= {name: ["03:53"] for name in ("dagster_history", *HISTORY_CHECKS)}
    assert found == expected


def test_no_asset_that_ships_waits_for_the_clock():
    graph = build_defs().resolve_asset_graph()
    for name in (
        "orders",
        "fulfillment_queue",
        "wms_orders",
        "wms_shipments",
        "shipment_confirmations",
        "audit_exports",
    ):
        assert graph.get(dg.AssetKey(name)).automation_condition is None


def test_both_sensors_run_from_the_first_start_and_each_has_what_is_its_own():
    repository = build_defs().get_repository_def()
    targets: list[set[object]] = []
    for name in CONDITION_SENSORS:
        sensor = repository.get_sensor_def(name)
        assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.run_tags["dagster/priority"] == "-1", "those that ship come first"
        assert int(sensor.run_tags["dagster/max_runtime"]) == (900 if name.startswith("hourly") else 7200)
        selection = sensor.asset_selection
        graph = repository.asset_graph
        targets.append({*selection.resolve(graph), *selection.resolve_checks(graph)})
    hourly, nightly = targets
    assert not hourly & nightly
    graph = repository.asset_graph
    everything = (*graph.materializable_asset_keys, *graph.asset_check_keys)
    conditioned = {key for key in everything if graph.get(key).automation_condition is not None}
    assert conditioned <= hourly | nightly


def test_a_run_that_a_condition_asked_for_is_one_of_its_job(instance: dg.DagsterInstance):
    """Its failure is the job's alert, and the job's success by hand ends it."""
    repository = build_defs().get_repository_def()
    job = repository.get_job("__ASSET_JOB")

    def ended(event: dg.DagsterEventType, asset: str) -> str:
        run = instance.create_run_for_job(
            job, asset_selection=frozenset({dg.AssetKey(asset)}), tags={"dagster/sensor_name": "nightly_assets_sensor"}
        )
        instance.report_dagster_event(dg.DagsterEvent(event_type_value=event.value, job_name=job.name), run.run_id)
        return run.run_id

    failed = ended(dg.DagsterEventType.RUN_FAILURE, "pii_retention")
    ended(dg.DagsterEventType.RUN_SUCCESS, "order_board")
    (found,) = failed_runs(instance, JOBS)
    assert found.subject == "shred_expired_pii"
    assert found.values["run_id"] == failed
    by_hand = instance.create_run_for_job(repository.get_job("shred_expired_pii"))
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name="shred_expired_pii"),
        by_hand.run_id,
    )
    assert failed_runs(instance, JOBS) == []


def test_a_red_check_is_counted_again_while_its_asset_is_made_so_that_the_red_stays_and_ends_in_time(
    instance: dg.DagsterInstance,
):
    """Dagster shows no result from before the asset's newest materialization."""
    definitions = build_defs()
    asset, check = dg.AssetKey("orders"), "events_are_applied"
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    cursor = None

    def asked(minute: int) -> bool:
        nonlocal cursor
        at = tomorrow + timedelta(minutes=minute, seconds=20)
        result = dg.evaluate_automation_conditions(
            definitions,
            instance,
            asset_selection=dg.AssetSelection.checks(dg.AssetCheckKey(asset, check)),
            evaluation_time=at,
            cursor=cursor,
        )
        cursor = result.cursor
        return result.total_requested > 0

    def counted(passed: bool) -> None:
        instance.report_runless_asset_event(dg.AssetCheckEvaluation(asset, check, passed, metadata={}))

    def made() -> None:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset))

    made()
    counted(passed=True)
    assert not asked(1)
    made()
    assert not asked(12), "what is green is counted hourly"
    counted(passed=False)
    assert asked(22)
    assert not asked(23)
    made()
    assert asked(32), "still red, and its asset was made since it was asked for"
    assert not asked(40), "nothing was made since: the result is shown"
    counted(passed=True)
    made()
    assert asked(42), "the hour's"
    assert not asked(52), "it is over"
