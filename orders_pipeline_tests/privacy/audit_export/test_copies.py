"""Every definition that keeps the audit log is compared in full, and every copy of it is read again."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.audit_export.copies import audit_is_exported
from orders_pipeline.privacy.audit_export.export import content_name, export_day, manifest_name
from orders_pipeline.privacy.audit_export.targets import FolderTarget
from orders_pipeline.privacy.checks.checks import audit_log_is_retained
from orders_pipeline_tests.audit.tampering import write, write_days_ago


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit_export"


@pytest.fixture
def days(database: Database, audit: AuditLog, folder: Path) -> list[date]:
    """Thirty entries of three days that were exported, and two of today."""
    for number in range(3):
        write_days_ago(database, audit, 1, *(f"{number}-{entry}" for entry in range(10)))
    today = database.now().date()
    exported = [today - timedelta(days=back) for back in (3, 2, 1)]
    for day in exported:
        export_day(database, audit, FolderTarget(folder), day)
    write(audit, "111-1", "111-2")
    return exported


RECREATED = (
    "drop trigger {name} on audit.{table}; create trigger {name} before {event} on audit.{table} for each {each} "
    "when (false) execute function audit.{function}(); alter table audit.{table} enable always trigger {name}"
)


def recreated(table: str, name: str, event: str, function: str, each: str = "row") -> str:
    return RECREATED.format(table=table, name=name, event=event, function=function, each=each)


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        (recreated("entries", "no_update", "update", "refuse"), "trigger entries.no_update"),
        (recreated("entries", "no_delete", "delete", "refuse_young_or_unanchored"), "trigger entries.no_delete"),
        (recreated("entries", "no_truncate", "truncate", "refuse", "statement"), "trigger entries.no_truncate"),
        (recreated("anchors", "check_anchor", "insert", "check_anchor"), "trigger anchors.check_anchor"),
        (
            (
                "drop trigger no_update on audit.entries; create trigger no_update before update of actor "
                "on audit.entries for each row execute function audit.refuse(); "
                "alter table audit.entries enable always trigger no_update"
            ),
            "trigger entries.no_update",
        ),
        ("alter table audit.entries enable trigger no_delete", "trigger entries.no_delete"),
        ("alter table audit.entries enable replica trigger chain", "trigger entries.chain"),
        ("alter function audit.chain() security invoker", "function chain()"),
        ("alter function audit.check_anchor() set search_path = public", "function check_anchor()"),
        (
            ("create function audit.purge_before(text) returns void language sql security definer "
            "as 'delete from audit.entries'"),
            "function purge_before(text) is not ours",
        ),
        ("alter table audit.entries alter column purpose set default lower('X')", "column entries.purpose"),
        ("alter table audit.entries alter column entry_hash drop not null", "column entries.entry_hash"),
        ("alter table audit.entries add column more text", "column entries.more is not ours"),
        ("alter table audit.anchors drop constraint pk_anchors", "constraint anchors.pk_anchors is not there"),
        ("alter table audit.entries add check (action <> 'x') not valid", "constraint entries.entries_action_check"),
        ("create unique index once on audit.entries (lower(actor), entry_id)", "index once is not ours"),
        ("create table public.more () inherits (audit.entries)", "inheritance more"),
        ("alter table audit.entries enable row level security", "table entries"),
        ("create policy hidden on audit.entries using (action <> 'reveal')", "policy entries.hidden"),
        ("alter table audit.entries set unlogged", "table entries"),
        ("create rule aaa as on insert to audit.entries do instead nothing", "rule entries.aaa"),
        ("create view audit.other as select 1", "table other"),
        (
            ("create function public.mend() returns event_trigger language plpgsql as 'begin end'; "
            "create event trigger mend on ddl_command_end execute function public.mend()"),
            "event trigger mend",
        ),
    ],
)  # fmt: skip
def test_every_definition_that_keeps_the_log_is_compared_in_full(database: Database, statement: str, names: str):
    with database.begin() as connection:
        connection.exec_driver_sql(statement)
    outcome = audit_log_is_retained(database)
    assert (outcome.passed, outcome.severity) == (False, "ERROR")
    assert names in outcome.description


def unlink(*suffixes: str) -> Callable[[Path, list[date]], None]:
    def attack(folder: Path, days: list[date]) -> None:
        for path in folder.iterdir():
            if path.name.endswith(suffixes):
                path.unlink()

    return attack


def lines(folder: Path, day: date) -> list[bytes]:
    return gzip.decompress((folder / content_name(day)).read_bytes()).splitlines(keepends=True)


def rewrite(folder: Path, day: date, retained: list[bytes], **changes: object) -> None:
    """Other entries under this day's name, and a manifest that fits them."""
    (folder / content_name(day)).write_bytes(gzip.compress(b"".join(retained)))
    manifest = json.loads((folder / manifest_name(day)).read_bytes())
    manifest |= {"entries": len(retained), "lines_sha256": hashlib.sha256(b"".join(retained)).hexdigest(), **changes}
    (folder / manifest_name(day)).write_text(json.dumps(manifest))


def flip_a_word(folder: Path, days: list[date]) -> None:
    (folder / content_name(days[0])).write_bytes(
        gzip.compress(b"".join(lines(folder, days[0])).replace(b"push to the warehouse", b"push to a warehouse", 1))
    )


def leave_out(place: slice, **changes: object) -> Callable[[Path, list[date]], None]:
    def attack(folder: Path, days: list[date]) -> None:
        retained = lines(folder, days[1])
        del retained[place]
        rewrite(folder, days[1], retained, **changes)

    return attack


def another_days_files(folder: Path, days: list[date]) -> None:
    for name in (content_name, manifest_name):
        (folder / name(days[1])).write_bytes((folder / name(days[0])).read_bytes())


def not_a_copy(folder: Path, days: list[date]) -> None:
    (folder / content_name(days[1])).write_bytes(gzip.compress(b"x" * 200_000))


@pytest.mark.parametrize(
    "attack",
    [
        unlink("jsonl.gz"),
        unlink("manifest.json"),
        unlink("jsonl.gz", "manifest.json"),
        flip_a_word,
        leave_out(slice(0, 1)),
        leave_out(slice(4, 6)),
        leave_out(slice(9, 10)),
        # With the word that it was so when it was exported.
        leave_out(slice(4, 6), chain_intact=False),
        leave_out(slice(0, 10)),
        another_days_files,
        not_a_copy,
    ],
    ids=[
        "entries",
        "manifests",
        "all",
        "a_word",
        "first",
        "middle",
        "last",
        "said_broken",
        "day",
        "swapped",
        "rubbish",
    ],
)
def test_whoever_writes_the_export_folder_is_found(
    database: Database, audit: AuditLog, folder: Path, days: list[date], attack: Callable[[Path, list[date]], None]
):
    attack(folder, days)
    outcome = audit_is_exported(database, audit, FolderTarget(folder))
    assert (outcome.passed, outcome.severity) == (False, "ERROR")
    assert f"{days[0]:%Y-%m}" in outcome.description, "it says which copy"


def test_copies_that_time_did_not_allow_are_reported_unread(
    database: Database, audit: AuditLog, folder: Path, days: list[date]
):
    outcome = audit_is_exported(database, audit, FolderTarget(folder), read_seconds=0)
    assert (outcome.passed, outcome.severity, outcome.numbers["left_for_another_night"]) == (False, "WARN", 3)
