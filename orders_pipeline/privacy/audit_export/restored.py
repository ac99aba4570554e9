"""After the database was restored from a backup: what its audit log lacks comes back from the log's copies.

The restored log ends where the dump was taken, and the copies go on. As soon as it is written to, it becomes another
log than the one that was exported, and no export agrees with it any more. So this is run before anything else is.

A request to erase and its audit entry are committed together: each request among the entries that come back is one that
the restored database knows nothing of, and it is put back with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain, islice
from typing import Any

from psycopg2 import errorcodes
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from orders_pipeline.audit import rows as queries
from orders_pipeline.audit.lines import verify_lines
from orders_pipeline.audit.log import GENESIS, AuditLog
from orders_pipeline.audit.rows import ChainEnd
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.database.locks import Lock, hold
from orders_pipeline.orders.erasures import insert_erasure
from orders_pipeline.privacy.audit_export.export import (
    MANIFEST,
    AuditExportRefused,
    Manifest,
    content_name,
    days_of,
    lines_of,
    read_manifest,
)
from orders_pipeline.privacy.audit_export.targets import ExportTarget

_NOTHING_DONE = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class LostErasure:
    """A request to erase that was made after the dump. `order_id` is None for a whole seller."""

    account_id: str
    order_id: str | None
    requested_at: datetime
    everything: bool


@dataclass(frozen=True, slots=True)
class RestoredLog:
    """What came back: so many entries, until the end of this day (None: the log lacked nothing), and these requests."""

    entries: int = 0
    through: date | None = None
    erasures: Sequence[LostErasure] = field(default_factory=tuple[LostErasure, ...])


def restore_log(database: Database, audit: AuditLog, target: ExportTarget) -> RestoredLog:
    """Append what the copies have and the log lacks, to the letter, and a word that it was done. Safe to repeat.

    Requests to erase that are among it are asked for again as of their time: from here on nothing of them is stored or
    sent, and the retention carries them out.

    Raises AuditExportRefused where the log is no beginning of what was exported, or this login does not own it, and
    ExportUnavailable.
    """
    with database.begin() as connection:
        # In the order in which everybody takes them.
        hold(connection, Lock.ERASURES)
        hold(connection, Lock.CHAIN)
        head = _head(connection)
        manifests = _manifests_after(connection, target, head)
        if not manifests:
            return RestoredLog()
        lost: list[LostErasure] = []
        lines = chain.from_iterable(_lines_after(target, manifest, head) for manifest in manifests)
        entries = _append(connection, lines, head, lost)
        newest = manifests[-1]
        if _head(connection) != newest.head:
            raise AuditExportRefused(
                f"The copies in {target.where} do not lead to the entry in which {newest.day} ended: a day between is "
                f"missing, or one was altered. {_NOTHING_DONE} Verify each (`orders-pipeline audit verify --file`)."
            )
        for one in lost:
            tx = AccountTransaction(connection, one.account_id)
            insert_erasure(tx, one.order_id, everything=one.everything, requested_at=one.requested_at)
        audit.record(
            connection,
            action="restore_audit",
            account_id="*",
            purpose="the database was restored from a backup",
            outcome="done",
            detail={"entries": entries, "after_entry": head.entry_id, "through": newest.day, "erasures": len(lost)},
        )
    return RestoredLog(entries, date.fromisoformat(newest.day), tuple(lost))


def _head(connection: Connection) -> ChainEnd:
    newest = queries.head(connection)
    if newest is None:
        anchor = queries.newest_anchor(connection)
        newest = anchor.end if anchor else ChainEnd(0, GENESIS)
    return newest


def _manifests_after(connection: Connection, target: ExportTarget, head: ChainEnd) -> list[Manifest]:
    """Those of the days whose last entry is later than the log's, oldest first; the newest other one must agree."""
    later: list[Manifest] = []
    for day in sorted(days_of(target.names(), MANIFEST), reverse=True):
        manifest = read_manifest(target, day)
        if manifest is None or manifest.head is None:
            continue
        if manifest.head.entry_id > head.entry_id:
            later.append(manifest)
            continue
        there = queries.entry_hashes(connection, [manifest.head.entry_id]).get(manifest.head.entry_id)
        if there not in (None, manifest.head.entry_hash):
            raise _went_on(target, manifest.day)
        break
    return later[::-1]


def _lines_after(target: ExportTarget, manifest: Manifest, head: ChainEnd) -> Iterator[str]:
    """The day's lines that the log lacks. Raises AuditExportRefused where it has the last of the others otherwise."""
    for line in lines_of(target.get(content_name(date.fromisoformat(manifest.day))) or b""):
        try:
            entry = json.loads(line)
            end = ChainEnd(int(entry["entry_id"]), bytes.fromhex(entry["entry_hash"]))
        except (KeyError, TypeError, ValueError):
            raise AuditExportRefused(
                f"The copy of {manifest.day} in {target.where} is no audit export. {_NOTHING_DONE}"
            ) from None
        if end.entry_id > head.entry_id:
            yield line
        elif end.entry_id == head.entry_id and end != head:
            raise _went_on(target, manifest.day)


def _append(connection: Connection, lines: Iterator[str], head: ChainEnd, lost: list[LostErasure]) -> int:
    appended = 0
    end: ChainEnd = head
    while batch := list(islice(lines, queries.FETCH_ROWS)):
        verified = verify_lines(batch, end)
        if not verified.ok or verified.head is None:
            raise AuditExportRefused(
                f"The copies do not follow from the log's newest entry ({head.entry_id}), or do not hold: at entry "
                f"{verified.first_bad} {verified.why}. {_NOTHING_DONE} Did anything run since the database was "
                "restored? Then restore it once more, and run this first."
            )
        end = verified.head
        entries = [json.loads(line) for line in batch]
        try:
            appended += queries.append_as_exported(connection, entries)
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != errorcodes.INSUFFICIENT_PRIVILEGE:
                raise
            raise AuditExportRefused(
                f"Only the login that owns the audit log may do this: the one that runs `migrate`. {_NOTHING_DONE}"
            ) from None
        lost += [_lost(entry) for entry in entries if (entry["action"], entry["outcome"]) == ("erase", "requested")]
    return appended


def _lost(entry: Mapping[str, Any]) -> LostErasure:
    everything = bool(entry["detail"].get("everything", False))
    return LostErasure(entry["seller_id"], entry["order_id"], datetime.fromisoformat(entry["at"]), everything)


def _went_on(target: ExportTarget, day: str) -> AuditExportRefused:
    return AuditExportRefused(
        f"The log is not the one whose copies are in {target.where}: it has another entry than {day} was exported "
        f"with. {_NOTHING_DONE} Did anything run since the database was restored? Then restore it once more, and run "
        "this first. If it was not restored, treat it as an incident (runbook, 'Audit')."
    )
