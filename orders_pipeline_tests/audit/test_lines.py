"""An exported day proves itself: no database is needed to see that nothing in it was changed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders_pipeline.audit.lines import verify_lines
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.audit.rows import ChainEnd
from orders_pipeline.database.engine import Database
from orders_pipeline_tests.audit.tampering import write

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
DETAIL = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXT,
    max_size=5,
)


def exported(database: Database, audit: AuditLog) -> list[str]:
    return list(audit.export(database.now().date()))


@given(purpose=TEXT, seller=TEXT, order=st.none() | st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True), detail=DETAIL)
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_database_hashed_is_hashed_the_same_from_its_line(
    database: Database,
    audit: AuditLog,
    purpose: str,
    seller: str,
    order: str | None,
    detail: dict[str, int | str | bool | None],
):
    if not purpose.strip():
        return
    entry = AuditEntry(action="push", account_id=seller, purpose=purpose, outcome="done", order_id=order, detail=detail)
    audit.record_many(None, [entry])
    lines = exported(database, audit)
    found = verify_lines(lines)
    assert (found.ok, found.entries, found.head) == (True, len(lines), audit.head()), found


def changed(name: str, value: object) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        lines[2] = json.dumps({**json.loads(lines[2]), name: value})

    return change


@pytest.mark.parametrize(
    "tamper",
    [
        changed("actor", "user:somebody"),
        changed("purpose", "another"),
        changed("outcome", "done"),
        changed("order_id", None),
        changed("detail", {"a": 1}),
        changed("at", "2026-11-20T10:00:00+00:00"),
        changed("entry_id", 77),
        changed("entry_hash", "00" * 32),
        changed("previous_hash", "00" * 32),
        lambda lines: lines.pop(2),
        lambda lines: lines.insert(2, lines[1]),
        lambda lines: lines.reverse(),
        lambda lines: lines.insert(2, "not an entry"),
        lambda lines: lines.insert(2, "{}"),
    ],
)
def test_a_line_that_was_changed_left_out_or_put_in_is_found(
    database: Database, audit: AuditLog, tamper: Callable[[list[str]], None]
):
    write(audit, "111-1", "111-2", "111-3", "111-4", "111-5")
    lines = exported(database, audit)
    assert verify_lines(lines).ok
    tamper(lines)
    found = verify_lines(lines)
    assert not found.ok
    assert found.why


def test_a_days_lines_follow_from_the_day_before_or_from_nothing(database: Database, audit: AuditLog):
    write(audit, "111-1", "111-2", "111-3")
    lines = exported(database, audit)
    first = json.loads(lines[0])
    before = ChainEnd(first["entry_id"], bytes.fromhex(first["entry_hash"]))
    assert verify_lines(lines[1:], before).ok
    assert not verify_lines(lines[2:], before).ok
    assert not verify_lines(lines[1:], ChainEnd(first["entry_id"], bytes(32))).ok
    assert verify_lines([]).ok
