"""Copies of the audit log outside its database: a file a UTC day, and what it proves about the log from then on.

Belongs here: exporting a day that is over, reading it back, holding the log against what was exported. Elsewhere: a
line's form and its proof (vault.audit_lines), where files are kept (export_targets), showing it (defs.audit_exports).

Two files a day, and neither is ever written over:
`audit-2026-11-21.jsonl.gz`, the entries in the chain's order, and `audit-2026-11-21.manifest.json`, written after it,
with the chain's head at the end of the day. A head that is kept elsewhere is what a chain lacks by itself: with it a
log whose end was cut off, or that was recomputed from some entry on, no longer verifies.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import IO

from orders_pipeline.compliance import rules
from orders_pipeline.compliance.export_targets import ExportTarget, ExportUnavailable
from orders_pipeline.compliance.outcome import CheckOutcome
from orders_pipeline.store import audit as queries
from orders_pipeline.store.audit import ChainEnd
from orders_pipeline.store.database import Database
from orders_pipeline.vault.audit import AuditLog, AuditVerification
from orders_pipeline.vault.audit_lines import verify_lines

FORMAT = "orders_pipeline audit export 1"
# What the check looks back at; older days were looked at before, and the newest head vouches for all before it.
DAYS_LOOKED_AT = 40
# The nightly export, and two hours for it to be late.
EXPORT_PATIENCE = timedelta(hours=26)
_SPOOLED_BYTES = 8 << 20


class AuditExportRefused(Exception):
    """The day was not exported; the message says why and what to do. What was exported before is as it was."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a day's file holds. Hashes are hex; `head_entry` 0: the log was empty until the day's end."""

    day: str
    entries: int
    first_entry: int | None
    head_entry: int
    head_hash: str
    lines_sha256: str
    chain_intact: bool
    format: str = FORMAT

    @property
    def head(self) -> ChainEnd | None:
        return ChainEnd(self.head_entry, bytes.fromhex(self.head_hash)) if self.head_entry else None


def content_name(day: date) -> str:
    return f"audit-{day.isoformat()}.jsonl.gz"


def manifest_name(day: date) -> str:
    return f"audit-{day.isoformat()}.manifest.json"


def export_day(database: Database, audit: AuditLog, target: ExportTarget, day: date) -> Manifest:
    """Write one UTC day that is over, once; a day that is there already is only compared with the log.

    Raises AuditExportRefused (the day is not over, was purged, or was exported with other content) and
    ExportUnavailable.
    """
    begins = datetime.combine(day, time(), UTC)
    if database.now() < begins + timedelta(days=1):
        raise AuditExportRefused(f"The UTC day {day} is not over: it is exported when it is.")
    with database.transaction() as connection:
        # Who began to write before midnight has committed when this lock is ours; who writes later writes later times.
        queries.wait_for_writers(connection)
        purged_until = queries.purged_until(connection)
    if purged_until is not None and purged_until >= begins:
        raise AuditExportRefused(
            f"Entries of {day} were purged by age at {purged_until:%Y-%m-%d}: what is left is not that day's log."
        )
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
        manifest = _write(database, audit, day, file)
        file.seek(0)
        written = target.put(content_name(day), file)
    if not written:
        _compare(target, day, manifest)
    target.put(manifest_name(day), io.BytesIO(_encoded(manifest)))
    if read_manifest(target, day) != manifest:
        raise AuditExportRefused(
            f"The manifest of {day} in {target.where} does not say what the log says now: see the runbook, 'Audit'."
        )
    audit.record(
        None,
        action="export_audit",
        seller_id="*",
        purpose="a copy outside the database",
        outcome="done" if written else "was_there",
        detail={"day": manifest.day, "entries": manifest.entries, "head_entry": manifest.head_entry},
    )
    return manifest


def read_manifest(target: ExportTarget, day: date) -> Manifest | None:
    """A day's manifest; None if the day was not exported. Raises AuditExportRefused for what is none."""
    content = target.get(manifest_name(day))
    if content is None:
        return None
    try:
        manifest = Manifest(**json.loads(content))
        bytes.fromhex(manifest.head_hash)
    except (TypeError, ValueError):
        raise AuditExportRefused(f"{manifest_name(day)} in {target.where} is not a manifest: it was altered.") from None
    return manifest


def verify_export(content: bytes, after: ChainEnd | None = None) -> AuditVerification:
    """Prove a day's file by itself: that nothing in it was changed, left out or put in between."""
    return verify_lines(_lines(content), after)


def exported_head(target: ExportTarget, today: date) -> ChainEnd | None:
    """The newest head that was exported before today: a witness for all of the chain until then. None: there is none.

    Raises AuditExportRefused, ExportUnavailable.
    """
    for back in range(1, DAYS_LOOKED_AT + 1):
        manifest = read_manifest(target, today - timedelta(days=back))
        if manifest is not None:
            return manifest.head
    return None


def audit_is_exported(database: Database, target: ExportTarget) -> CheckOutcome:
    """Every day of the last weeks is kept outside the database too, and the log still says what was exported."""
    now = database.now()
    with database.transaction() as connection:
        oldest = queries.oldest_at(connection)
    last = (now - EXPORT_PATIENCE).date() - timedelta(days=1)
    first = max(oldest.date() if oldest else now.date(), last - timedelta(days=DAYS_LOOKED_AT - 1))
    expected = missing = different = 0
    problem = ""
    try:
        for day in _days(first, last):
            expected += 1
            manifest = read_manifest(target, day)
            missing += manifest is None
            if manifest is not None and manifest.head is not None:
                with database.transaction() as connection:
                    different += queries.entry_end(connection, manifest.head.entry_id) != manifest.head
    except (ExportUnavailable, AuditExportRefused) as error:
        problem = f" {error}"
    return CheckOutcome(
        name="audit_is_exported",
        passed=not missing and not different and not problem,
        severity="ERROR" if different else "WARN",
        description=f"Of the last {expected} days {missing} are not in {target.where}, and {different} end in another "
        f"entry than the log now has.{problem}",
        what_to_do="Missing: materialize their partitions of audit_exports. Another entry: the log was changed since; "
        "treat it as an incident (24 hours; runbook, 'Audit').",
        source=rules.LOG_RETENTION,
        numbers={"days": expected, "missing": missing, "different": different, "reachable": not problem},
    )


def _write(database: Database, audit: AuditLog, day: date, file: IO[bytes]) -> Manifest:
    digest = hashlib.sha256()
    first: int | None = None
    entries = 0

    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:

        def written() -> Iterator[str]:
            nonlocal first, entries
            for line in audit.export(day):
                encoded = f"{line}\n".encode()
                digest.update(encoded)
                packed.write(encoded)
                first = json.loads(line)["entry_id"] if first is None else first
                entries += 1
                yield line

        lines = written()
        verified = verify_lines(lines)
        # A broken chain is exported all the same: it is the evidence.
        for _ in lines:
            pass
    with database.transaction() as connection:
        head = queries.head_before(connection, datetime.combine(day + timedelta(days=1), time(), UTC))
    return Manifest(
        day=day.isoformat(),
        entries=entries,
        first_entry=first,
        head_entry=head.entry_id if head else 0,
        head_hash=head.entry_hash.hex() if head else "",
        lines_sha256=digest.hexdigest(),
        chain_intact=verified.ok,
    )


def _compare(target: ExportTarget, day: date, manifest: Manifest) -> None:
    there = target.get(content_name(day))
    digest = hashlib.sha256()
    for line in _lines(there or b""):
        digest.update(f"{line}\n".encode())
    if digest.hexdigest() != manifest.lines_sha256:
        raise AuditExportRefused(
            f"{day} was exported to {target.where} before, with other entries than the log has now. Nothing was "
            "written over. Keep both as they are, and treat it as an incident (runbook, 'Audit')."
        )


def _lines(content: bytes) -> list[str]:
    try:
        # By line feeds only: an entry may hold other characters that Python takes for the end of a line.
        return gzip.decompress(content).decode("utf-8").split("\n")[:-1]
    except (OSError, EOFError, ValueError):
        return ["(not an audit export)"]


def _encoded(manifest: Manifest) -> bytes:
    return (json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n").encode()


def _days(first: date, last: date) -> Iterator[date]:
    day = first
    while day <= last:
        yield day
        day += timedelta(days=1)
