"""The compliance job: what an auditor opens. All green over a day that went well; red where it was tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.defs.compliance_checks import LOG_CHECKS, RETENTION_CHECKS
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.store.database import Database
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at


@pytest.fixture
def pipeline(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    with Sandbox(time_scale=100) as sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch, DAGSTER_POSTGRES_URL=database_url)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        for _ in range(3):
            sandbox.add_order(status="UNSHIPPED")
        running = Pipeline(instance)
        running.tick("drain_notifications_sensor")
        yield running


def _checks(pipeline: Pipeline) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for asset, names in (("pii_retention", RETENTION_CHECKS), ("pii_access_log", LOG_CHECKS)):
        for name in names:
            record = pipeline.instance.get_latest_asset_check_evaluation_record(
                dg.AssetCheckKey(dg.AssetKey(asset), name)
            )
            assert record is not None, name
            assert record.evaluation is not None, name
            found[name] = record.evaluation.passed
    return found


def test_after_an_ordinary_day_every_check_is_green(pipeline: Pipeline):
    assert pipeline.run("check_compliance")
    assert _checks(pipeline) == dict.fromkeys([*RETENTION_CHECKS, *LOG_CHECKS], True)


def test_a_changed_audit_entry_and_a_changed_record_each_turn_their_check_red(pipeline: Pipeline, database: Database):
    with database.transaction() as connection:
        connection.execute(text("alter table audit.entries disable trigger all"))
        connection.execute(text("update audit.entries set purpose = 'nothing to see' where entry_id = 2"))
        connection.execute(text("alter table audit.entries enable trigger all"))
        connection.execute(
            text(
                "update vault.records set ciphertext = set_byte(ciphertext, 0, (get_byte(ciphertext, 0) + 1) % 256) "
                "where kind = 'shipping_details' and subject_id = "
                "(select min(subject_id) from vault.records where kind = 'shipping_details')"
            )
        )
    assert pipeline.run("check_compliance")
    checks = _checks(pipeline)
    assert not checks["audit_chain_is_intact"]
    assert not checks["every_record_opens"]
    assert checks["nothing_past_its_time"]


def test_a_dry_run_shows_what_would_go_and_changes_nothing(pipeline: Pipeline, database: Database):
    with database.transaction() as connection:
        connection.execute(text("update pipeline.orders set status = 'CANCELLED'"))
        before = connection.execute(text("select count(*) from vault.records")).scalar_one()
    job = pipeline.repository.get_job("check_compliance")
    config = {"ops": {"pii_retention": {"config": {"dry_run": True}}}}
    result = job.execute_in_process(instance=pipeline.instance, run_config=config)
    assert result.success
    metadata = result.asset_materializations_for_node("pii_retention")[0].metadata
    assert metadata["would_shred"].value == 3
    with database.transaction() as connection:
        assert connection.execute(text("select count(*) from vault.records")).scalar_one() == before
