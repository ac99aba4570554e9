"""The compliance job: what an auditor opens. All green over a day that went well; red where it was tampered with."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, make_url, text

from orders_pipeline.audit.log import PERSON_TAG, AuditLog
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs, default_resources
from orders_pipeline.defs.privacy_checks import EXPORT_CHECKS, HISTORY_CHECKS, LOG_CHECKS, RETENTION_CHECKS
from orders_pipeline.operations import watch
from orders_pipeline.operations.overdue import SCHEDULED
from orders_pipeline.privacy.access.client_secret import EXPIRY_NOTICE
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.audit.tampering import as_superuser, recompute_everything, write_days_ago
from orders_pipeline_tests.copied_database import close_for_copies, copied_database
from orders_pipeline_tests.pipeline import Pipeline, pipeline_for, point_environment_at

CHECKS = {
    "pii_retention": RETENTION_CHECKS,
    "pii_access_log": LOG_CHECKS,
    "audit_exports": EXPORT_CHECKS,
    "dagster_history": HISTORY_CHECKS,
}


@dataclass(frozen=True)
class Day:
    """An ordinary day, lived once: three orders are at the warehouse. A test has a copy of what it left."""

    sandbox: Sandbox
    database: str
    data: Path


@pytest.fixture(scope="module")
def day(postgres: EmbeddedPostgres, postgres_admin: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    data = tmp_path_factory.mktemp("day") / "data"
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(time_scale=100))
        url = stack.enter_context(copied_database(postgres, postgres_admin, "template"))
        with pytest.MonkeyPatch.context() as environment, pipeline_for(sandbox, url, data, environment) as pipeline:
            for _ in range(3):
                sandbox.add_order(status="UNSHIPPED")
            pipeline.tick("drain_notifications_sensor")
        assert len(sandbox.warehouse.orders) == 3
        name = make_url(url).database
        assert name is not None
        close_for_copies(postgres_admin, name)
        yield Day(sandbox, name, data)


@pytest.fixture
def sandbox(day: Day) -> Iterator[Sandbox]:
    orders = copy.deepcopy(day.sandbox.warehouse.orders)
    yield day.sandbox
    day.sandbox.warehouse.faults.clear()
    day.sandbox.warehouse.orders.clear()
    day.sandbox.warehouse.orders.update(orders)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, postgres_admin: Engine, day: Day) -> Iterator[str]:
    with copied_database(postgres, postgres_admin, day.database) as url:
        yield url


@pytest.fixture
def pipeline(
    database_url: str,
    dagster_url: str,
    instance: dg.DagsterInstance,
    sandbox: Sandbox,
    day: Day,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Pipeline:
    shutil.copytree(day.data, tmp_path / "data")
    point_environment_at(sandbox, database_url, tmp_path / "data", monkeypatch, DAGSTER_POSTGRES_URL=dagster_url)
    monkeypatch.setattr(watch, "LONGEST_POLL_SECONDS", 0)
    return Pipeline(instance, before_tick=sandbox.queue.await_sent)


def _evaluation(pipeline: Pipeline, asset: str, name: str) -> dg.AssetCheckEvaluation | None:
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    record = pipeline.instance.get_latest_asset_check_evaluation_record(key)
    return record.evaluation if record is not None else None


def _checks(pipeline: Pipeline) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    for asset, names in CHECKS.items():
        for name in names:
            evaluation = _evaluation(pipeline, asset, name)
            found[name] = evaluation.passed if evaluation is not None else None
    return found


def _open_alerts(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(connection.execute(text("select key from pipeline.alerts where closed_at is null")).scalars())


def _metadata(pipeline: Pipeline, asset: str) -> dict[str, Any]:
    event = pipeline.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _ticked(pipeline: Pipeline, name: str, at: datetime) -> list[dg.RunRequest]:
    schedule = pipeline.repository.get_schedule_def(name)
    needed = {resource: default_resources()[resource] for resource in schedule.required_resource_keys}
    with dg.build_schedule_context(
        instance=pipeline.instance, scheduled_execution_time=at, resources=needed, repository_def=pipeline.repository
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def test_after_an_ordinary_day_every_check_is_green_and_names_its_rule(pipeline: Pipeline, database: Database):
    assert pipeline.run("shred_expired_pii")
    assert pipeline.run("prune_history")
    assert _checks(pipeline) == dict.fromkeys(_checks(pipeline), True)
    assert not any(key.startswith("check:") for key in _open_alerts(database))
    for asset, names in CHECKS.items():
        for name in names:
            evaluation = _evaluation(pipeline, asset, name)
            assert evaluation is not None
            source = str(evaluation.metadata["source"].value)
            assert "Policy" in source or "Login" in source
    # Wherever else a check tells a rule, its description does.
    graph = pipeline.repository.asset_graph
    told = 0
    for key in graph.asset_check_keys:
        record = pipeline.instance.get_latest_asset_check_evaluation_record(key)
        if record is None or record.evaluation is None or "source" not in record.evaluation.metadata:
            continue
        source = str(record.evaluation.metadata["source"].value)
        assert source in (graph.get(key).description or "") or source.startswith("a check that"), key
        told += 1
    assert told > 8


def _done(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(connection.execute(text("select work from pipeline.work_done where done_at is not null")).scalars())


def test_scheduled_work_is_recorded_only_when_complete(pipeline: Pipeline, database: Database):
    dry = {"ops": {"pii_retention": {"config": {"dry_run": True}}}}
    job = pipeline.repository.get_job("shred_expired_pii")
    assert job.execute_in_process(instance=pipeline.instance, run_config=dry).success
    assert _done(database) >= {"retention_checks", "audit_checks"}
    assert "retention" not in _done(database)
    for name in ("shred_expired_pii", "prune_history", "sweep_orders", "refresh_reports"):
        assert pipeline.run(name)
    for name in ("frequent_warehouse_erasures", "frequent_authorization_looks", "frequent_client_secrets"):
        _ticked(pipeline, name, datetime.now(UTC))
    (request,) = _ticked(pipeline, "nightly_audit_export", datetime.now(UTC))
    for name in ("drain_notifications_sensor", "poll_warehouse_sensor"):
        pipeline.tick(name)
    export = pipeline.repository.get_job("export_audit_log")
    assert export.execute_in_process(instance=pipeline.instance, partition_key=request.partition_key).success
    assert _done(database) == {one.work for one in SCHEDULED}


def test_an_auditor_evaluates_one_check_without_anything_being_shredded(pipeline: Pipeline, database: Database):
    with database.begin() as connection:
        connection.execute(text("update pipeline.orders set status = 'CANCELLED'"))
    key = dg.AssetCheckKey(dg.AssetKey("pii_retention"), "every_record_opens")
    chosen = build_defs().resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key})
    assert chosen.execute_in_process(instance=pipeline.instance).success
    assert {name for name, passed in _checks(pipeline).items() if passed is not None} == {"every_record_opens"}
    evaluation = _evaluation(pipeline, "pii_retention", "every_record_opens")
    assert evaluation is not None
    assert "has looked at it not yet. Run the job shred_expired_pii" in (evaluation.description or "")
    with database.begin() as connection:
        kept = "select count(*) from vault.records where kind = 'shipping_details'"
        assert connection.execute(text(kept)).scalar_one() == 3


# What a check says is written, and nothing else: its alert (under the alerts' lock), and that a night's checks were
# evaluated. Every run notes its process.
SAID = {"pipeline.alerts", "pipeline.locks", "pipeline.work_done", "pipeline.run_workers"}


def test_no_check_of_the_definitions_writes(pipeline: Pipeline, database: Database):
    with database.begin() as connection:
        # A record that does not open, and a notice that nobody has read.
        connection.execute(text("update vault.records set nonce = ciphertext where kind = 'shipping_details'"))
        connection.execute(
            text(
                "insert into pipeline.parked_messages (parked_id, account_id, message_id, notification_type, reason, "
                "body_bytes) select gen_random_uuid(), account_id, 'm', :kind, 'x', 1 from pipeline.orders limit 1"
            ),
            {"kind": EXPIRY_NOTICE},
        )
    before = _tables(database)
    every = pipeline.repository.asset_graph.asset_check_keys
    chosen = build_defs().resolve_implicit_global_asset_job_def().get_subset(asset_check_selection=set(every))
    evaluated = chosen.execute_in_process(instance=pipeline.instance).get_asset_check_evaluations()
    assert {one.asset_check_key for one in evaluated} == every
    after = _tables(database)
    assert {name for name in before if before[name] != after[name]} <= SAID


def _tables(database: Database) -> dict[str, str]:
    """A hash of everything that each of our tables holds."""
    with database.begin() as connection:
        names = connection.execute(
            text(
                "select format('%I.%I', schemaname, tablename) from pg_tables "
                "where schemaname in ('pipeline', 'vault', 'vault_keys', 'audit')"
            )
        ).scalars()
        return {
            name: connection.execute(
                text(f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {name} t")
            ).scalar_one()
            for name in names.all()
        }


def test_a_check_that_cannot_look_is_red_and_the_others_are_evaluated(
    pipeline: Pipeline, database: Database, tmp_path: Path
):
    (tmp_path / "data" / "keyring.json").chmod(0o644)
    # The retention itself needs no key to shred; the checks after it say what is wrong.
    pipeline.run("shred_expired_pii")
    checks = _checks(pipeline)
    assert (checks["every_record_opens"], checks["roles_are_as_declared"]) == (False, True)
    evaluation = _evaluation(pipeline, "pii_retention", "every_record_opens")
    assert evaluation is not None
    assert "chmod 600" in (evaluation.description or "")
    assert "check:every_record_opens" in _open_alerts(database)
    (tmp_path / "data" / "keyring.json").chmod(0o600)
    assert pipeline.run("shred_expired_pii")
    assert "check:every_record_opens" not in _open_alerts(database)


def test_a_changed_audit_entry_and_a_changed_record_each_turn_their_check_red(pipeline: Pipeline, database: Database):
    with database.begin() as connection:
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
    assert pipeline.run("shred_expired_pii")
    checks = _checks(pipeline)
    assert not checks["audit_chain_is_intact"]
    assert not checks["every_record_opens"]
    assert checks["nothing_past_its_time"]
    assert _open_alerts(database) >= {"check:audit_chain_is_intact", "check:every_record_opens"}


def test_a_log_whose_end_was_cut_off_is_seen_by_what_dagster_remembers(pipeline: Pipeline, database: Database):
    assert pipeline.run("shred_expired_pii")
    as_superuser(database, "delete from audit.entries where entry_id > 3")
    recompute_everything(database)
    assert AuditLog(database).verify().ok, "nobody sees it from inside"
    assert pipeline.run("shred_expired_pii")
    assert not _checks(pipeline)["audit_chain_is_intact"]


def test_each_night_exports_yesterday_and_what_was_missed_since_the_first_export(
    pipeline: Pipeline, database: Database, tmp_path: Path
):
    audit = AuditLog(database)
    write_days_ago(database, audit, 5, "111-1", "111-2")
    night = datetime.now(UTC).replace(hour=0, minute=23)
    days = [f"{night - timedelta(days=back):%Y-%m-%d}" for back in range(4, 0, -1)]
    (first,) = _ticked(pipeline, "nightly_audit_export", night - timedelta(days=3))
    assert first.partition_key == days[0]
    assert pipeline.run("export_audit_log", partition=first.partition_key)
    # Two nights without the daemon.
    missed = [request.partition_key for request in _ticked(pipeline, "nightly_audit_export", night)]
    assert missed == days[1:]
    for day in missed:
        assert pipeline.run("export_audit_log", partition=day)
    assert _ticked(pipeline, "nightly_audit_export", night) == []
    metadata = _metadata(pipeline, "audit_exports")
    assert metadata["chain_intact"] is True
    exported = sorted(path.name for path in (tmp_path / "data" / "audit_export").iterdir())
    assert exported == sorted(f"audit-{day}.{kind}" for day in days for kind in ("jsonl.gz", "manifest.json"))


def test_warehouse_erasures_are_retried_between_nights_while_any_is_due(
    pipeline: Pipeline, sandbox: Sandbox, database: Database
):
    now = datetime.now(UTC)
    assert _ticked(pipeline, "frequent_warehouse_erasures", now) == []
    with database.begin() as connection:
        connection.execute(text("update pipeline.orders set status = 'CANCELLED'"))
        connection.execute(text("update pipeline.fulfillment_orders set state = 'cancelled'"))
    sandbox.warehouse.faults.add("html_500", "erase_pii", times=3)
    assert pipeline.run("shred_expired_pii")
    assert not any(order.erased for order in sandbox.warehouse.orders.values())
    with database.begin() as connection:
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))
        connection.execute(text("update pipeline.paused_dependencies set until = clock_timestamp()"))
    assert len(_ticked(pipeline, "frequent_warehouse_erasures", now)) == 1
    assert pipeline.run("erase_at_warehouse")
    assert all(order.erased for order in sandbox.warehouse.orders.values())
    assert _ticked(pipeline, "frequent_warehouse_erasures", now) == []


def test_a_request_to_erase_is_a_job_that_says_whose_it_is_and_takes_no_free_text(
    pipeline: Pipeline, sandbox: Sandbox, database: Database
):
    order_id = next(iter(sandbox.warehouse.orders))
    result = _erase(pipeline, {"requested_by": "AMAZON", "order_id": order_id})
    assert result.success
    assert {name for name, order in sandbox.warehouse.orders.items() if order.erased} == {order_id}
    assert _who_asked(database, result.run_id) == (f"run:{result.run_id}", "asked by: amazon")


def test_no_job_erases_a_whole_seller_or_replaces_the_keys(pipeline: Pipeline, sandbox: Sandbox):
    order_id = next(iter(sandbox.warehouse.orders))
    for more in (
        {"whole_seller": True},
        {"whole_seller": True, "order_id": order_id},
        {"everything": True},
        {},
        {"order_id": " "},
    ):
        try:
            assert not _erase(pipeline, {"requested_by": "BUYER", **more}).success, more
        except dg.DagsterInvalidConfigError:
            continue
    assert not any(order.erased for order in sandbox.warehouse.orders.values())
    names = {job.name for job in pipeline.repository.get_all_jobs()}
    assert not any("seller" in name or "replace" in name or "lost" in name for name in names), names


def test_a_run_that_a_person_started_by_hand_names_them_in_the_audit_log(
    pipeline: Pipeline, sandbox: Sandbox, database: Database
):
    order_id = next(iter(sandbox.warehouse.orders))
    for tag, expected in (("maria", "person:maria/run:"), ("", "run:"), ("eve run:1", "run:"), ("eve/run:1", "run:")):
        result = _erase(pipeline, {"requested_by": "BUYER", "order_id": order_id}, tags={PERSON_TAG: tag})
        assert _who_asked(database, result.run_id) == (f"{expected}{result.run_id}", "asked by: buyer")


def _erase(pipeline: Pipeline, config: dict[str, Any], tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
    return pipeline.repository.get_job("erase").execute_in_process(
        instance=pipeline.instance,
        run_config={"ops": {"erase_buyers_data": {"config": config}}},
        tags=tags,
        raise_on_error=False,
    )


def _who_asked(database: Database, run_id: str) -> tuple[str, str]:
    requested = "select actor, purpose from audit.entries where action = 'erase' and outcome = 'requested'"
    with database.begin() as connection:
        asked = connection.execute(text(f"{requested} and actor like '%' || :run_id"), {"run_id": run_id}).one()
    return asked.actor, asked.purpose


def test_a_dry_run_shows_what_would_go_and_changes_nothing(pipeline: Pipeline, database: Database):
    with database.begin() as connection:
        connection.execute(text("update pipeline.orders set status = 'CANCELLED'"))
        before = connection.execute(text("select count(*) from vault.records")).scalar_one()
    job = pipeline.repository.get_job("shred_expired_pii")
    config = {"ops": {"pii_retention": {"config": {"dry_run": True}}}}
    result = job.execute_in_process(instance=pipeline.instance, run_config=config)
    assert result.success
    metadata = result.asset_materializations_for_node("pii_retention")[0].metadata
    assert metadata["would_shred"].value == 3
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from vault.records")).scalar_one() == before


def test_a_materialization_that_somebody_reported_by_hand_switches_no_check_off(pipeline: Pipeline):
    assert pipeline.run("shred_expired_pii")
    for metadata in ({}, {"head": "12:not-a-hash"}, {"head": 7}):
        pipeline.instance.report_runless_asset_event(dg.AssetMaterialization("pii_access_log", metadata=metadata))
    assert pipeline.run("shred_expired_pii")
    assert _checks(pipeline)["audit_chain_is_intact"]


def test_a_check_with_a_defect_is_red_and_takes_no_other_checks_word_away(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    def defect(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("of a defect")

    monkeypatch.setattr("orders_pipeline.privacy.checks.checks.every_reading_is_audited", defect)
    assert pipeline.run("shred_expired_pii")
    found = _checks(pipeline)
    assert (found["every_reading_is_audited"], found["audit_chain_is_intact"]) == (False, True)
