"""Hold the audit log and its copies outside against each other, so that neither can be changed alone.

A chain that was cut off, purged behind a forged anchor or recomputed holds by itself. So every day since the first
export must have its copy, every copy must be what its manifest says and follow from the day before, and the log must
still have each day's last entry. What was purged by age must stand in the copy of its day.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from orders_pipeline.audit import rows as queries
from orders_pipeline.audit.lines import verify_lines
from orders_pipeline.audit.log import AuditLog, AuditVerification
from orders_pipeline.audit.rows import Anchor, ChainEnd
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.audit_export.export import (
    CONTENT,
    MANIFEST,
    AuditExportRefused,
    Manifest,
    content_name,
    day_named,
    days_of,
    lines_of,
    read_manifest,
)
from orders_pipeline.privacy.audit_export.targets import ExportTarget, ExportUnavailable
from orders_pipeline.privacy.check_result import CheckResult

# The nightly export, and two hours for it to be late.
EXPORT_PATIENCE = timedelta(hours=26)
# As long as the log itself is kept; older copies are the bucket's to expire.
DAYS_RETAINED = 730
# The log must have what was written in these days, whatever an anchor says: nothing younger may be purged.
DAYS_NEVER_PURGED = 364
# Where nothing was ever exported, so many days are called missing.
DAYS_BEFORE_THE_FIRST = 40
# Read again in every pass; of the older copies those whose turn it is come first, so that each is read within four
# weeks even where the time is never enough for all.
DAYS_ALWAYS_READ = 40
TURN_DAYS = 28
READ_SECONDS = 600.0
# An object store answers one reader after the other in some fifty milliseconds.
READERS = 8
# Of what is wrong, so many are named: a person needs the first ones.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Witness:
    """An entry as it was seen from outside, when, and by whom (`where`, for people)."""

    end: ChainEnd
    seen_at: datetime
    where: str


@dataclass(slots=True)
class CopiesFound:
    """`problems` are sentences about what was changed; `missing` days were never exported."""

    days: int = 0
    missing: list[date] = field(default_factory=list[date])
    problems: list[str] = field(default_factory=list[str])
    read: int = 0
    unread: int = 0
    unread_due: int = 0


def newest_manifest(target: ExportTarget, today: date) -> Manifest | None:
    """The newest day before today that was exported. Raises AuditExportRefused, ExportUnavailable."""
    days = [day for day in days_of(target.names(), MANIFEST) if day < today]
    return read_manifest(target, max(days)) if days else None


def newest_witness(target: ExportTarget, today: date) -> Witness | None:
    """The newest exported head: it vouches for all of the chain until then."""
    manifest = newest_manifest(target, today)
    if manifest is None or manifest.head is None:
        return None
    day = date.fromisoformat(manifest.day)
    return Witness(manifest.head, datetime.combine(day, datetime.min.time(), UTC), f"the export of {manifest.day}")


def anchor_problem(database: Database, target: ExportTarget) -> str | None:
    """What is wrong with where the log begins, if its head was purged: the copy of that day must have the entry."""
    with database.begin() as connection:
        anchor = queries.newest_anchor(connection)
    if anchor is None:
        return None
    day = anchor.newest_at.astimezone(UTC).date()
    says = f"The log begins after entry {anchor.end.entry_id}, which it says was written on {day}"
    if anchor.newest_at > database.now() - timedelta(days=DAYS_NEVER_PURGED):
        return f"{says}: that is younger than 12 months, and never purged."
    content = target.get(content_name(day))
    if content is None:
        return f"{says}: there is no export of that day that could confirm it."
    return None if _holds(content, anchor) else f"{says}: the export of that day has no such entry."


def audit_is_exported(
    database: Database, audit: AuditLog, target: ExportTarget, *, read_seconds: float = READ_SECONDS
) -> CheckResult:
    """Every day since the first export is kept outside the database too, unchanged, and the log still agrees."""
    problem = ""
    found = CopiesFound()
    try:
        found = copies_found(database, audit, target, read_seconds=read_seconds)
    except ExportUnavailable as error:
        problem = f" {error}"
    shown = f": {'; '.join(found.problems[:SHOWN])}" if found.problems else ""
    return CheckResult(
        name="audit_is_exported",
        passed=not found.missing and not found.problems and not found.unread_due and not problem,
        severity="ERROR" if found.problems else "WARN",
        description=f"Of {found.days} days since the first export {len(found.missing)} were never copied to "
        f"{target.where}. {found.read} copies were read again and held against the log, {found.unread} were left for "
        f"another night; {len(found.problems)} things were changed{shown}.{problem}",
        what_to_do="Never copied: materialize their partitions of audit_exports. Changed: somebody changed the log or "
        "its copies; treat it as an incident (24 hours; runbook, 'Audit').",
        source=rules.LOG_RETENTION,
        numbers={
            "days": found.days,
            "missing": len(found.missing),
            "different": len(found.problems),
            "read_again": found.read,
            "left_for_another_night": found.unread,
            "reachable": not problem,
        },
    )


def copies_found(
    database: Database, audit: AuditLog, target: ExportTarget, *, read_seconds: float = READ_SECONDS
) -> CopiesFound:
    """Look at every copy since the first export. Raises ExportUnavailable."""
    now = database.now()
    with database.begin() as connection:
        oldest, anchor = queries.oldest_at(connection), queries.newest_anchor(connection)
        exported = {day for day in map(day_named, queries.exported_days(connection)) if day is not None}
    names = target.names()
    contents, manifests = days_of(names, CONTENT), days_of(names, MANIFEST)
    last = (now - EXPORT_PATIENCE).date() - timedelta(days=1)
    begins = [oldest.astimezone(UTC).date() if oldest else now.date()]
    known = exported | contents | manifests
    begins = [*begins, *known] if known else [max(*begins, last - timedelta(days=DAYS_BEFORE_THE_FIRST - 1))]
    # Yesterday's copy is looked at too, if it is there already.
    days = [*_days(max(min(begins), last - timedelta(days=DAYS_RETAINED - 1)), last)]
    days += [day for day in sorted(known) if last < day < now.date()]
    found = CopiesFound(days=len(days))
    for day in days:
        if day in contents and day in manifests:
            continue
        if day in contents or day in manifests or day in exported:
            what = "its entries" if day in manifests else "its manifest" if day in contents else "all of it"
            found.problems.append(f"{day} was exported, and {what} is no longer there")
        else:
            found.missing.append(day)
    read = _manifests(target, [day for day in days if day in manifests], found)
    _hold_log_against(database, read, anchor, now.date(), found)
    _read_contents(
        _Copies(audit, target, read), [day for day in read if day in contents], now.date(), read_seconds, found
    )
    return found


def _manifests(target: ExportTarget, days: Sequence[date], found: CopiesFound) -> dict[date, Manifest]:
    def read(day: date) -> Manifest | str:
        try:
            manifest = read_manifest(target, day)
        except AuditExportRefused as error:
            return str(error)
        return manifest or f"the manifest of {day} is no longer there"

    with ThreadPoolExecutor(READERS) as pool:
        answers = dict(zip(days, pool.map(read, days), strict=True))
    found.problems += [answer for answer in answers.values() if isinstance(answer, str)]
    return {day: answer for day, answer in answers.items() if not isinstance(answer, str)}


def _hold_log_against(
    database: Database, manifests: Mapping[date, Manifest], anchor: Anchor | None, today: date, found: CopiesFound
) -> None:
    """The log must have each day's last entry, unless the day is old enough to have been purged."""
    heads = {day: manifest.head for day, manifest in manifests.items() if manifest.head is not None}
    with database.begin() as connection:
        there = queries.entry_hashes(connection, [head.entry_id for head in heads.values()])
    for day, head in heads.items():
        if there.get(head.entry_id) == head.entry_hash:
            continue
        purged = anchor is not None and head.entry_id <= anchor.end.entry_id and head.entry_id not in there
        if purged and (today - day > timedelta(days=DAYS_NEVER_PURGED) or not manifests[day].entries):
            continue
        found.problems.append(f"{day} ends in entry {head.entry_id}, which the log no longer has as it was exported")


def _read_contents(copies: _Copies, days: Sequence[date], today: date, seconds: float, found: CopiesFound) -> None:
    ends_at = time.monotonic() + seconds
    newest = today - timedelta(days=DAYS_ALWAYS_READ)

    def due(day: date) -> bool:
        return day >= newest or day.toordinal() % TURN_DAYS == today.toordinal() % TURN_DAYS

    def read(day: date) -> str | None:
        return _NO_TIME if time.monotonic() >= ends_at else copies.problem(day)

    order = sorted(days, key=lambda day: (not due(day), -day.toordinal()))
    with ThreadPoolExecutor(READERS) as pool:
        for day, problem in zip(order, pool.map(read, order), strict=True):
            if problem == _NO_TIME:
                found.unread += 1
                found.unread_due += due(day)
                continue
            found.read += 1
            if problem is not None:
                found.problems.append(problem)


_NO_TIME = "there was no time to read it"


@dataclass(frozen=True, slots=True)
class _Copies:
    audit: AuditLog
    target: ExportTarget
    manifests: Mapping[date, Manifest]

    def problem(self, day: date) -> str | None:
        """What is wrong with a day's file by itself, against its manifest, and against the day before."""
        manifest, before = self.manifests[day], self.manifests.get(day - timedelta(days=1))
        content = self.target.get(content_name(day))
        if content is None:
            return f"{day} was exported, and its entries are no longer there"
        digest = _Digest(lines_of(content))
        verified = verify_lines(digest, before.head if before is not None else None)
        for _ in digest:
            pass
        if (digest.hex(), digest.lines) != (manifest.lines_sha256, manifest.entries):
            return f"the copy of {day} is not what its manifest says"
        if not manifest.chain_intact:
            return self._broken_when_exported(day, content, manifest)
        if not verified.ok:
            return f"the copy of {day} does not hold: {_problem_of(verified)}"
        # A day without entries ends where the day before it ended.
        ends = verified.head if digest.lines or before is not None else manifest.head
        return None if ends == manifest.head else f"the copy of {day} ends in another entry than its manifest says"

    def _broken_when_exported(self, day: date, content: bytes, manifest: Manifest) -> str | None:
        """A clock that steps back over midnight leaves an entry out of its order: then the log still says the same."""
        every_line_holds = all(verify_lines([line]).ok for line in lines_of(content))
        now = _Digest(self.audit.export(day))
        for _ in now:
            pass
        if every_line_holds and now.hex() == manifest.lines_sha256:
            return None
        return f"the chain of {day} was broken already when it was exported"


class _Digest:
    """Passes lines on, and hashes and counts them as an export does."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._digest = hashlib.sha256()
        self.lines = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._digest.update(f"{line}\n".encode())
            self.lines += 1
            yield line

    def hex(self) -> str:
        return self._digest.hexdigest()


def _problem_of(verified: AuditVerification) -> str:
    return f"entry {verified.first_bad}: {verified.why}" if verified.first_bad else str(verified.why)


def _holds(content: bytes, anchor: Anchor) -> bool:
    verified = verify_lines(lines_of(content))
    if not verified.ok:
        return False
    for line in lines_of(content):
        entry = json.loads(line)
        if int(entry["entry_id"]) == anchor.end.entry_id:
            same_time = datetime.fromisoformat(entry["at"]) == anchor.newest_at
            return same_time and bytes.fromhex(entry["entry_hash"]) == anchor.end.entry_hash
    return False


def _days(first: date, last: date) -> Iterator[date]:
    day = first
    while day <= last:
        yield day
        day += timedelta(days=1)
