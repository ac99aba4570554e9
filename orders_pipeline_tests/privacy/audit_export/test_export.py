"""The audit log's copies: a day is written once, never over, and the log is held against them from then on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.audit.lines import canonical
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.database.locks import Lock, hold
from orders_pipeline.defs.resources import s3_client
from orders_pipeline.privacy.audit_export.copies import audit_is_exported, newest_witness
from orders_pipeline.privacy.audit_export.export import (
    AuditExportRefused,
    content_name,
    export_day,
    manifest_name,
    read_manifest,
    verify_export,
)
from orders_pipeline.privacy.audit_export.targets import (
    ExportTarget,
    ExportUnavailable,
    FolderTarget,
    open_export_target,
)
from orders_pipeline.privacy.checks.checks import audit_chain_is_intact
from orders_pipeline.settings import SettingsError, load_settings
from orders_pipeline_tests.audit.tampering import as_superuser, recompute_everything, write, write_days_ago
from orders_pipeline_tests.aws import ThreadedServer

BUCKET = "audit-of-the-shop"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadedServer() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExportTarget:
    """A folder; and an S3 bucket over HTTP, as dagster-aws opens it."""
    if request.param == "folder":
        return FolderTarget(tmp_path / "audit")
    for name, value in {
        "AWS_ENDPOINT_URL_S3": request.getfixturevalue("endpoint"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"{BUCKET}-{tmp_path.name.replace('_', '-').lower()}"[:63].rstrip("-")
    client: Any = s3_client()
    client.create_bucket(Bucket=bucket)
    settings = load_settings({"ORDERS_AUDIT_EXPORT": f"s3://{bucket}/orders/audit"})
    return open_export_target(settings, s3_client)


@pytest.fixture
def yesterday(database: Database, audit: AuditLog) -> date:
    """A log with three entries of yesterday and two of today."""
    write_days_ago(database, audit, 1, "111-1", "111-2", "111-3")
    write(audit, "111-4", "111-5")
    return database.now().date() - timedelta(days=1)


def lines_of(target: ExportTarget, day: date) -> list[dict[str, Any]]:
    content = target.get(content_name(day))
    assert content is not None
    return [json.loads(line) for line in gzip.decompress(content).decode().splitlines()]


def test_a_day_is_exported_once_with_its_head_and_proves_itself(
    database: Database, audit: AuditLog, target: ExportTarget, yesterday: date
):
    manifest = export_day(database, audit, target, yesterday)
    assert (manifest.entries, manifest.first_entry, manifest.head_entry, manifest.chain_intact) == (3, 1, 3, True)
    assert [line["order_id"] for line in lines_of(target, yesterday)] == ["111-1", "111-2", "111-3"]
    content = target.get(content_name(yesterday))
    assert content is not None
    found = verify_export(content)
    assert (found.ok, found.entries, found.head) == (True, 3, manifest.head)
    assert export_day(database, audit, target, yesterday) == manifest
    assert target.get(content_name(yesterday)) == content
    with database.begin() as connection:
        outcomes = connection.execute(
            text("select outcome from audit.entries where action = 'export_audit' order by entry_id")
        ).scalars()
        assert list(outcomes) == ["done", "was_there"]


def test_a_log_that_was_changed_since_is_not_written_over_what_was_exported(
    database: Database, audit: AuditLog, target: ExportTarget, yesterday: date
):
    export_day(database, audit, target, yesterday)
    before = target.get(content_name(yesterday)), target.get(manifest_name(yesterday))
    as_superuser(database, "update audit.entries set order_id = null where entry_id = 2")
    recompute_everything(database)
    assert audit.verify().ok, "by itself the chain holds again"
    with pytest.raises(AuditExportRefused, match="other entries"):
        export_day(database, audit, target, yesterday)
    assert (target.get(content_name(yesterday)), target.get(manifest_name(yesterday))) == before


@pytest.mark.parametrize(
    "tampering",
    [
        "delete from audit.entries where entry_id >= 3",
        "update audit.entries set purpose = 'nothing' where entry_id = 1",
        "delete from audit.entries",
    ],
)
def test_a_log_that_was_cut_off_or_recomputed_is_shown_by_what_was_exported(
    database: Database, audit: AuditLog, tmp_path: Path, yesterday: date, tampering: str
):
    target = FolderTarget(tmp_path / "audit")
    export_day(database, audit, target, yesterday)
    assert audit_is_exported(database, audit, target).passed
    as_superuser(database, tampering)
    recompute_everything(database)
    witness = newest_witness(target, database.now().date())
    assert witness is not None
    assert audit_chain_is_intact(database, audit).passed, "nobody sees it from inside"
    assert not audit_chain_is_intact(database, audit, [witness]).passed
    write(audit, "111-6", "111-7", "111-8", "111-9")
    assert not audit_chain_is_intact(database, audit, [witness]).passed


def test_missing_days_and_other_heads_turn_the_check_red_each_with_its_count(
    database: Database, audit: AuditLog, target: ExportTarget
):
    write_days_ago(database, audit, 1, "111-1")
    write_days_ago(database, audit, 2, "111-2", "111-3")
    today = database.now().date()
    days = [today - timedelta(days=back) for back in (3, 2, 1)]
    outcome = audit_is_exported(database, audit, target)
    # Yesterday's export may still be on its way; the two days before it may not.
    assert not outcome.passed
    assert outcome.numbers["missing"] == outcome.numbers["days"] >= 1
    for day in days:
        export_day(database, audit, target, day)
    assert audit_is_exported(database, audit, target).passed
    as_superuser(database, "update audit.entries set actor = 'user:nobody' where entry_id = 1")
    recompute_everything(database)
    outcome = audit_is_exported(database, audit, target)
    assert (outcome.passed, outcome.severity) == (False, "ERROR")
    assert outcome.numbers["different"] >= 1


def test_a_day_that_is_not_over_or_was_purged_is_refused(database: Database, audit: AuditLog, target: ExportTarget):
    write_days_ago(database, audit, 400, "111-1", "111-2")
    write(audit, "111-3")
    today = database.now().date()
    with pytest.raises(AuditExportRefused, match="not over"):
        export_day(database, audit, target, today)
    assert audit.purge_before(datetime.now(UTC) - timedelta(days=366)) == 2
    with pytest.raises(AuditExportRefused, match="purged"):
        export_day(database, audit, target, today - timedelta(days=400))
    assert target.get(content_name(today)) is None
    quiet = export_day(database, audit, target, today - timedelta(days=1))
    assert (quiet.entries, quiet.first_entry) == (0, None), "a day without entries is said to have none"


def test_a_broken_chain_is_exported_as_it_is_since_it_is_the_evidence(
    database: Database, audit: AuditLog, target: ExportTarget, yesterday: date
):
    as_superuser(database, "update audit.entries set purpose = 'nothing' where entry_id = 2")
    manifest = export_day(database, audit, target, yesterday)
    assert (manifest.entries, manifest.chain_intact) == (3, False)
    content = target.get(content_name(yesterday))
    assert content is not None
    assert verify_export(content).first_bad == 2


def test_an_export_that_was_killed_between_its_two_files_is_completed(
    database: Database, audit: AuditLog, target: ExportTarget, yesterday: date
):
    manifest = export_day(database, audit, FolderTarget(Path(str(yesterday))), yesterday) if False else None
    content = io.BytesIO(gzip.compress("".join(f"{line}\n" for line in audit.export(yesterday)).encode()))
    assert target.put(content_name(yesterday), content)
    assert read_manifest(target, yesterday) is None
    manifest = export_day(database, audit, target, yesterday)
    assert read_manifest(target, yesterday) == manifest


def test_two_at_once_write_one_file(database: Database, audit: AuditLog, target: ExportTarget, yesterday: date):
    with ThreadPoolExecutor(4) as pool:
        manifests = list(pool.map(lambda _: export_day(database, audit, target, yesterday), range(4)))
    assert len(set(manifests)) == 1
    assert len(lines_of(target, yesterday)) == 3


def test_an_entry_committed_after_midnight_is_in_its_own_days_export(
    database: Database, audit: AuditLog, tmp_path: Path, yesterday: date
):
    target = FolderTarget(tmp_path / "audit")
    # Nothing of today yet: the next entry may be yesterday's last.
    as_superuser(database, "delete from audit.entries where entry_id > 3")
    head = audit.head()
    assert head is not None
    entry = {
        "entry_id": 4, "at": f"{yesterday}T23:59:59.999999+00:00", "actor": "job:slow", "action": "push",
        "seller_id": "A1", "order_id": "111-9", "purpose": "late", "outcome": "accepted", "detail": {},
    }  # fmt: skip
    digest = hashlib.sha256(head.entry_hash + canonical(entry).encode()).digest()
    waiting = "select count(*) from pg_locks where relation = 'audit.chain_lock'::regclass and not granted"
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            hold(connection, Lock.CHAIN)
            connection.execute(text("set local session_replication_role = replica"))
            connection.execute(
                text(
                    "insert into audit.entries values (4, :at, :actor, :action, :seller_id, :order_id, :purpose, "
                    ":outcome, '{}', :previous, :digest)"
                ),
                {**entry, "previous": head.entry_hash, "digest": digest},
            )
            exporting = pool.submit(export_day, database, audit, target, yesterday)
            with database.engine.connect() as watching:
                while not watching.execute(text(waiting)).scalar_one():
                    watching.rollback()
            assert target.get(content_name(yesterday)) is None
        manifest = exporting.result(timeout=30)
    assert (manifest.entries, manifest.head_entry, manifest.chain_intact) == (4, 4, True)


def test_a_manifest_that_was_altered_is_said_to_be(
    database: Database, audit: AuditLog, tmp_path: Path, yesterday: date
):
    target = FolderTarget(tmp_path / "audit")
    export_day(database, audit, target, yesterday)
    path = tmp_path / "audit" / manifest_name(yesterday)
    path.write_text("{}")
    with pytest.raises(AuditExportRefused, match="altered"):
        read_manifest(target, yesterday)
    with pytest.raises(AuditExportRefused, match="altered"):
        newest_witness(target, database.now().date())


def test_copies_are_for_their_owner_only(database: Database, audit: AuditLog, tmp_path: Path, yesterday: date):
    export_day(database, audit, FolderTarget(tmp_path / "audit"), yesterday)
    assert (tmp_path / "audit").stat().st_mode & 0o077 == 0
    files = list((tmp_path / "audit").iterdir())
    assert sorted(file.name for file in files) == sorted([content_name(yesterday), manifest_name(yesterday)])
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_place_that_cannot_be_used_is_named_and_nothing_is_written(
    database: Database, audit: AuditLog, tmp_path: Path, yesterday: date
):
    (tmp_path / "file").write_text("in the way")
    target = FolderTarget(tmp_path / "file")
    with pytest.raises(ExportUnavailable, match="ORDERS_AUDIT_EXPORT"):
        export_day(database, audit, target, yesterday)


def test_a_bucket_that_is_not_there_is_named(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    target = open_export_target(load_settings({"ORDERS_AUDIT_EXPORT": "s3://nobodys-bucket"}), s3_client)
    with pytest.raises(ExportUnavailable, match="nobodys-bucket"):
        target.put("x", io.BytesIO(b"x"))
    with pytest.raises(ExportUnavailable, match="NoSuchBucket"):
        target.get("x")


@pytest.mark.parametrize("named", ["https://bucket", "s3://", "ftp://x", "s3:/bucket", "s3:bucket"])
def test_a_wrong_target_is_refused_and_nothing_takes_its_place(named: str, tmp_path: Path):
    settings = load_settings({"ORDERS_AUDIT_EXPORT": named, "ORDERS_DATA_DIR": str(tmp_path)})
    with pytest.raises(SettingsError, match="ORDERS_AUDIT_EXPORT"):
        settings.require_complete()
    with pytest.raises(ExportUnavailable, match=r"ORDERS_AUDIT_EXPORT must be .* Set it right"):
        open_export_target(settings, s3_client)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", ["S3://bucket/logs", "s3://bucket/logs/"])
def test_a_bucket_is_a_bucket_however_it_is_written(named: str):
    target = open_export_target(load_settings({"ORDERS_AUDIT_EXPORT": named}), lambda: None)
    assert target.where == "s3://bucket/logs/"
