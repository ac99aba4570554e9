"""Who can write one of the places that keep the audit log cannot change what it says: one run of the checks is red.

Each attack is carried out as somebody with all rights and this source code would, and judged by the real checks.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs, default_resources
from orders_pipeline.privacy.audit_export.export import export_day
from orders_pipeline.privacy.audit_export.targets import FolderTarget
from orders_pipeline_tests.audit.tampering import as_superuser, recompute_everything, write, write_days_ago
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER

CHECKS = {
    name: dg.AssetCheckKey(dg.AssetKey(asset), name)
    for asset, name in (
        ("pii_access_log", "audit_chain_is_intact"),
        ("pii_access_log", "audit_log_is_retained"),
        ("audit_exports", "audit_is_exported"),
    )
}
ENVIRONMENT = {
    "AMAZON_LWA_CLIENT_ID": "amzn1.application-oa2-client.test",
    "AMAZON_LWA_CLIENT_SECRET": "amzn1.oa2-cs.v1.0123456789abcdef",
    "AMAZON_LWA_REFRESH_TOKEN": "Atzr|refresh",
    "AMAZON_SELLER_ID": SELLER,
    "AMAZON_MARKETPLACE_ID": MARKETPLACE,
    "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/orders",
    "WMS_BASE_URL": "https://warehouse.test",
    "WMS_TOKEN": "token",
}
OLD_ANCHOR = (
    "insert into audit.anchors (entry_id, entry_hash, newest_at, purged_at, purged_by) select entry_id, entry_hash, "
    "{}, clock_timestamp() - interval '1 hour', 'job:pii_retention' from audit.entries where entry_id = 50; "
    "delete from audit.entries where entry_id <= 50"
)


@pytest.fixture
def folder(database_url: str, dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies go, by default: in the data folder."""
    places = {"ORDERS_DATABASE_URL": database_url, "DAGSTER_POSTGRES_URL": dagster_url}
    for name, value in {**ENVIRONMENT, **places, "ORDERS_DATA_DIR": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "data" / "audit_export"


@pytest.fixture
def days(database: Database, folder: Path) -> list[date]:
    """Sixty entries of three days that were exported, and two of today."""
    audit = AuditLog(database)
    for number in range(3):
        write_days_ago(database, audit, 1, *(f"{number}-{entry}" for entry in range(20)))
    today = database.now().date()
    exported = [today - timedelta(days=back) for back in (3, 2, 1)]
    for day in exported:
        export_day(database, audit, FolderTarget(folder), day)
    write(audit, "111-1", "111-2")
    return exported


def red(instance: dg.DagsterInstance, *names: str) -> dict[str, str]:
    """Evaluate the checks as the nightly job does: those that are red, with what they say."""
    chosen = {CHECKS[name] for name in names or CHECKS}
    job = build_defs().resolve_implicit_global_asset_job_def().get_subset(asset_check_selection=chosen)
    evaluations = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert len(evaluations) == len(chosen)
    return {one.asset_check_key.name: one.description or "" for one in evaluations if not one.passed}


def materialize_access_log(instance: dg.DagsterInstance) -> None:
    job = build_defs().resolve_implicit_global_asset_job_def()
    log = dg.AssetKey("pii_access_log")
    assert (
        job.get_subset(asset_selection={log}, asset_check_selection=set()).execute_in_process(instance=instance).success
    )


def test_an_untouched_log_with_its_copies_is_green(days: list[date], instance: dg.DagsterInstance):
    assert red(instance) == {}


@pytest.mark.parametrize(
    ("newest_at", "exported", "says"),
    [
        # It says that they were old: but no export of that day has them, or there is none.
        ("clock_timestamp() - interval '2 years'", True, "no export of that day"),
        ("clock_timestamp() - interval '2 years'", False, "no export of that day"),
        ("at", True, "younger than 12 months"),
    ],
)
def test_a_forged_anchor_does_not_account_for_deleted_entries(
    database: Database,
    folder: Path,
    days: list[date],
    instance: dg.DagsterInstance,
    newest_at: str,
    exported: bool,
    says: str,
):
    if not exported:
        for path in folder.iterdir():
            path.unlink()
    as_superuser(database, OLD_ANCHOR.format(newest_at))
    found = red(instance)
    assert says in found["audit_chain_is_intact"]
    assert "audit_is_exported" in found


def test_a_forged_anchor_is_not_excused_by_one_from_the_future(
    database: Database, days: list[date], instance: dg.DagsterInstance
):
    as_superuser(
        database,
        "insert into audit.anchors values (1, 'x', now() - interval '3 years', now() + interval '9 years', 'x'); "
        "insert into audit.anchors select entry_id, entry_hash, at, now(), 'x' from audit.entries where entry_id = 50; "
        "delete from audit.entries where entry_id <= 50",
    )
    found = red(instance)
    assert "12 months were purged: yes" in found["audit_log_is_retained"]
    assert found.keys() == CHECKS.keys()


@pytest.mark.parametrize("attack", ["delete from audit.entries where entry_id > 45", "delete from audit.entries"])
def test_a_log_that_was_cut_and_made_to_fit_is_found_by_its_copies(
    database: Database, days: list[date], instance: dg.DagsterInstance, attack: str
):
    as_superuser(database, attack)
    recompute_everything(database)
    write(AuditLog(database), *(f"x-{number}" for number in range(80)))
    found = red(instance, "audit_chain_is_intact", "audit_is_exported")
    assert "the export of" in found["audit_chain_is_intact"]
    assert "no longer has" in found["audit_is_exported"]


def test_what_was_reported_by_hand_pushes_no_remembered_head_out_of_sight(
    database: Database, folder: Path, instance: dg.DagsterInstance
):
    audit = AuditLog(database)
    write(audit, *(f"111-{number}" for number in range(9)))
    materialize_access_log(instance)
    head = audit.head()
    assert head is not None
    as_superuser(database, "delete from audit.entries where entry_id > 4")
    now = audit.head()
    assert now is not None
    for _ in range(60):
        instance.report_runless_asset_event(
            dg.AssetMaterialization("pii_access_log", metadata={"head": f"{now.entry_id}:{now.entry_hash.hex()}"})
        )
    found = red(instance, "audit_chain_is_intact")
    assert "what Dagster remembers of run" in found["audit_chain_is_intact"]
    # Nor does a head that was made up raise a false alarm.
    as_superuser(database, "delete from audit.entries")
    instance.wipe_assets([dg.AssetKey("pii_access_log")])
    write(audit, "111-1")
    invented = dg.AssetMaterialization("pii_access_log", metadata={"head": f"1:{'ab' * 32}"})
    instance.report_runless_asset_event(invented)
    assert red(instance, "audit_chain_is_intact") == {}


def test_a_day_that_somebody_reported_as_exported_is_exported_all_the_same(
    database: Database, days: list[date], instance: dg.DagsterInstance
):
    tomorrow = database.now().date() + timedelta(days=1)
    instance.report_runless_asset_event(
        dg.AssetMaterialization("audit_exports", partition=f"{tomorrow - timedelta(days=1)}")
    )
    repository = build_defs().get_repository_def()
    schedule = repository.get_schedule_def("nightly_audit_export")
    needed = {resource: default_resources()[resource] for resource in schedule.required_resource_keys}
    at = datetime.combine(tomorrow, datetime.min.time(), UTC) + timedelta(minutes=23)
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        resources=needed,
        repository_def=build_defs().get_repository_def(),
    ) as context:
        asked = schedule.evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in asked] == [f"{tomorrow - timedelta(days=1)}"]


def test_a_day_that_the_log_says_was_exported_and_that_is_nowhere_is_found(
    database: Database, folder: Path, instance: dg.DagsterInstance
):
    # The pipeline's own role may append: it cannot make a day look exported that is not.
    AuditLog(database).record(
        None, action="export_audit", account_id="*", purpose="a copy", outcome="done",
        detail={"day": f"{database.now().date() - timedelta(days=5)}", "entries": 1, "head_entry": 1},
    )  # fmt: skip
    found = red(instance, "audit_is_exported")
    assert "all of it is no longer there" in found["audit_is_exported"]


def test_a_clock_that_stepped_back_over_midnight_is_no_alarm(
    database: Database, folder: Path, instance: dg.DagsterInstance
):
    audit = AuditLog(database)
    write_days_ago(database, audit, 1, "111-1", "111-2", "111-3", "111-4")
    today = database.now().date()
    days = [today - timedelta(days=back) for back in (2, 1)]
    for entry, at in enumerate(
        (f"{days[0]} 23:59:58+00", f"{days[1]} 00:00:00.2+00", f"{days[0]} 23:59:59.9+00", f"{days[1]} 00:00:01+00"), 1
    ):
        as_superuser(database, f"update audit.entries set at = '{at}' where entry_id = {entry}")
    recompute_everything(database)
    for day in days:
        export_day(database, audit, FolderTarget(folder), day)
    assert red(instance) == {}
