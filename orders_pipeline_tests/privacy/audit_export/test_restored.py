"""A log that a restore from a backup cut off takes back from its copies what it lacks, and nothing else."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import open_erasures
from orders_pipeline.privacy.audit_export.copies import audit_is_exported
from orders_pipeline.privacy.audit_export.export import AuditExportRefused, content_name, export_day
from orders_pipeline.privacy.audit_export.restored import restore_log
from orders_pipeline.privacy.audit_export.targets import FolderTarget
from orders_pipeline_tests.audit.tampering import as_superuser, write, write_days_ago
from orders_pipeline_tests.conftest import SELLER

LEFT = 4


@pytest.fixture
def target(tmp_path: Path) -> FolderTarget:
    return FolderTarget(tmp_path / "audit_export")


def _ask(audit: AuditLog, order_id: str | None, *, everything: bool = False) -> None:
    detail = {"erasure": 1, "whole_seller": order_id is None, "everything": everything}
    audit.record(
        None,
        action="erase",
        account_id=SELLER,
        order_id=order_id,
        purpose="a ticket",
        outcome="requested",
        detail=detail,
    )


@pytest.fixture
def days(database: Database, audit: AuditLog, target: FolderTarget) -> list[date]:
    """Three days that were exported; the dump was taken on the first, after four entries."""
    write_days_ago(database, audit, 1, *(f"111-{number}" for number in range(6)))
    write_days_ago(database, audit, 1, "112-1", "112-2")
    _ask(audit, "113-1")
    _ask(audit, None, everything=True)
    write_days_ago(database, audit, 1)
    today = database.now().date()
    exported = [today - timedelta(days=back) for back in (3, 2, 1)]
    for day in exported:
        export_day(database, audit, target, day)
    as_superuser(database, f"delete from audit.entries where entry_id > {LEFT}")
    return exported


def test_what_was_exported_comes_back_to_the_letter(
    database: Database, audit: AuditLog, target: FolderTarget, days: list[date]
):
    assert not audit_is_exported(database, audit, target).passed
    restored = restore_log(database, audit, target)
    assert (restored.entries, restored.through) == (10 - LEFT, days[-1])
    assert audit.verify().ok
    for day in days:
        # It is compared with what is there, and is the same.
        export_day(database, audit, target, day)
    assert audit_is_exported(database, audit, target).passed
    assert restore_log(database, audit, target).entries == 0


def test_requests_to_erase_since_the_backup_are_asked_for_again_as_of_their_time(
    database: Database, audit: AuditLog, target: FolderTarget, days: list[date]
):
    lost = restore_log(database, audit, target).erasures
    assert [(one.order_id, one.everything) for one in lost] == [("113-1", False), (None, True)]
    with database.transaction(SELLER) as tx:
        found = [(one.order_id, one.everything, one.requested_at) for one in open_erasures(tx)]
    assert found == [(one.order_id, one.everything, one.requested_at) for one in lost]
    assert {requested_at.date() for *_, requested_at in found} == {days[-1]}


@pytest.mark.parametrize("number", [LEFT + 1, 11])
def test_a_log_that_went_on_by_itself_is_refused_and_nothing_is_written_over(
    number: int, database: Database, audit: AuditLog, target: FolderTarget, days: list[date]
):
    """Where it is shorter than the copies by now, and where it is longer."""
    write(audit, *(f"114-{entry}" for entry in range(number - LEFT)))
    copies = {name: target.get(name) for name in target.names()}
    with pytest.raises(AuditExportRefused, match="Did anything run since the database was restored"):
        restore_log(database, audit, target)
    with pytest.raises(AuditExportRefused, match="with other entries than the log has now"):
        export_day(database, audit, target, days[0])
    check = audit_is_exported(database, audit, target)
    assert (check.passed, check.severity) == (False, "ERROR")
    assert {name: target.get(name) for name in target.names()} == copies
    assert audit.verify().entries == number


def test_a_copy_that_was_altered_gives_nothing_back(
    database: Database, audit: AuditLog, target: FolderTarget, days: list[date], tmp_path: Path
):
    path = tmp_path / "audit_export" / content_name(days[1])
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"112-2", b"112-3")))
    with pytest.raises(AuditExportRefused, match="Nothing was changed"):
        restore_log(database, audit, target)
    path.unlink()
    with pytest.raises(AuditExportRefused, match="Nothing was changed"):
        restore_log(database, audit, target)
    with database.begin() as connection:
        assert connection.execute(text("select max(entry_id) from audit.entries")).scalar_one() == LEFT
