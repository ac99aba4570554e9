"""Copies of the audit log outside its database: a file a UTC day, and what it proves about the log from then on.

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
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import IO

from orders_pipeline.audit import rows as queries
from orders_pipeline.audit.lines import verify_lines
from orders_pipeline.audit.log import AuditLog, AuditVerification
from orders_pipeline.audit.rows import ChainEnd
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.audit_export.targets import ExportTarget

FORMAT = "orders_pipeline audit export 1"
CONTENT, MANIFEST = "jsonl.gz", "manifest.json"
_SPOOLED_BYTES = 8 << 20
# An entry has at most some four kilobytes (vault.audit bounds each field).
_LINE_BYTES = 64 << 10
_NO_EXPORT = "(not an audit export)"
_NAME = re.compile(r"audit-(\d{4}-\d{2}-\d{2})\.(jsonl\.gz|manifest\.json)")


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
    return f"audit-{day.isoformat()}.{CONTENT}"


def manifest_name(day: date) -> str:
    return f"audit-{day.isoformat()}.{MANIFEST}"


def export_day(database: Database, audit: AuditLog, target: ExportTarget, day: date) -> Manifest:
    """Write one UTC day that is over, once; a day that is there already is only compared with the log.

    Raises AuditExportRefused (the day is not over, was purged, or was exported with other content) and
    ExportUnavailable.
    """
    begins = datetime.combine(day, time(), UTC)
    if database.now() < begins + timedelta(days=1):
        raise AuditExportRefused(f"The UTC day {day} is not over: it is exported when it is.")
    with database.begin() as connection:
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
        account_id="*",
        purpose="audit export",
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
        is_one = _is_manifest_of(manifest, day)
    except (TypeError, ValueError):
        is_one, manifest = False, None
    if not is_one:
        raise AuditExportRefused(
            f"{manifest_name(day)} in {target.where} is not the manifest of that day: it was altered."
        )
    return manifest


def _is_manifest_of(manifest: Manifest, day: date) -> bool:
    numbers = (manifest.entries, manifest.head_entry)
    if manifest.day != day.isoformat() or any(type(number) is not int or number < 0 for number in numbers):
        return False
    return len(bytes.fromhex(manifest.head_hash)) == (32 if manifest.head_entry else 0)


def verify_export(content: bytes, after: ChainEnd | None = None) -> AuditVerification:
    """Prove a day's file by itself: that nothing in it was changed, left out or put in between."""
    return verify_lines(lines_of(content), after)


def days_of(names: Iterable[str], suffix: str) -> set[date]:
    """The days of the files with that ending, among all that are there."""
    found = (_NAME.fullmatch(name) for name in names)
    return {day for name in found if name and name[2] == suffix and (day := day_named(name[1])) is not None}


def day_named(text: str) -> date | None:
    """The day, written as in a file's name; None for what is no day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


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
    with database.begin() as connection:
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
    for line in lines_of(there or b""):
        digest.update(f"{line}\n".encode())
    if digest.hexdigest() != manifest.lines_sha256:
        raise AuditExportRefused(
            f"{day} was exported to {target.where} before, with other entries than the log has now. Nothing was "
            "written over. Keep both as they are, and treat it as an incident (runbook, 'Audit')."
        )


def lines_of(content: bytes) -> Iterator[str]:
    """The lines of a day's file, a few kilobytes at a time: what was put in its place may be of any size."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            # By line feeds only: an entry may hold other characters that Python takes for the end of a line.
            while line := unpacked.readline(_LINE_BYTES):
                if not line.endswith(b"\n"):
                    yield _NO_EXPORT
                    return
                yield line[:-1].decode("utf-8")
    except (OSError, EOFError, ValueError, zlib.error):
        yield _NO_EXPORT


def _encoded(manifest: Manifest) -> bytes:
    return (json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n").encode()
