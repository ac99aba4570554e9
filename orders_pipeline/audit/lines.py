"""Exported audit entries, a JSON object a line, and proving them without the database that they came from.

An auditor needs no more than a day's file: each entry's hash is sha256(previous hash || canonical text), and the text
is made of the fields that the line shows. Verification in any other language is this module's sixty lines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orders_pipeline.audit.log import AuditVerification
from orders_pipeline.audit.rows import ChainEnd

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def canonical(entry: Mapping[str, Any]) -> str:
    """The text that database/migrations/sql/audit.sql hashed for this entry: change neither without the other.

    Raises KeyError, TypeError or ValueError for what is no entry.
    """
    at = datetime.fromisoformat(entry["at"])
    parts = [
        "audit/1",
        str(entry["entry_id"]),
        str((at - _EPOCH) // timedelta(microseconds=1)),
        *(_sized(entry[name]) for name in ("actor", "action", "seller_id")),
        "-" if entry["order_id"] is None else _sized(entry["order_id"]),
        *(_sized(entry[name]) for name in ("purpose", "outcome")),
        _sized(_as_jsonb(entry["detail"])),
    ]
    return ",".join(parts)


def verify_lines(lines: Iterable[str], after: ChainEnd | None = None) -> AuditVerification:
    """Follow the chain through exported lines. `after`: the entry before the first, where it is known."""
    entries, head = 0, after
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            entry_id, text = int(entry["entry_id"]), canonical(entry)
            previous, claimed = bytes.fromhex(entry["previous_hash"]), bytes.fromhex(entry["entry_hash"])
        except (KeyError, TypeError, ValueError):
            return AuditVerification(False, entries, None, f"line {number} is not an audit entry", head)
        if head is not None and entry_id != head.entry_id + 1:
            return AuditVerification(False, entries, entry_id, "entries before it are missing", head)
        if head is not None and previous != head.entry_hash:
            return AuditVerification(False, entries, entry_id, "it does not follow from the entry before it", head)
        if hashlib.sha256(previous + text.encode("utf-8")).digest() != claimed:
            return AuditVerification(False, entries, entry_id, "its content is not what was written", head)
        entries, head = entries + 1, ChainEnd(entry_id, claimed)
    return AuditVerification(True, entries, head=head)


def _sized(value: str) -> str:
    return f"{len(value)}:{value}"


def _as_jsonb(detail: Mapping[str, Any]) -> str:
    """As PostgreSQL writes jsonb: the shorter name first, then by its bytes."""
    names = sorted(detail, key=lambda name: (len(name.encode("utf-8")), name.encode("utf-8")))
    return json.dumps({name: detail[name] for name in names}, ensure_ascii=False, separators=(", ", ": "))
