"""What PostgreSQL does for each statement that the code sends: every one is explained right before it is executed.

In its own transaction, with its own parameters and upon what it meets there, by EXPLAIN (ANALYZE) within a savepoint
that is rolled back: what is counted are the rows that were really read.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

import orders_pipeline

# More than is on its way in the store of the test, and far less than there ever was.
ROWS_AT_MOST = 2_000
_PACKAGE = f"{Path(orders_pipeline.__file__).parent}/"
_EXPLAINED = re.compile(r"\s*(with|select|insert|update|delete)\b", re.IGNORECASE)
_TESTS = f"{Path(__file__).parent}/"
# Which only hand a statement on: who asks is the caller.
_NOT_THE_CALLER = ("database/engine.py", "database/locks.py")


@dataclass(frozen=True, slots=True)
class Access:
    """One node of a plan that reads a table. `rows`: read, those thrown away included; `loops`: how often it began."""

    table: str
    node: str
    index: str | None
    rows: int
    loops: int
    blocks: int

    @property
    def reads_far(self) -> bool:
        """Whether it reads the table, or an index of it, from end to end, or more rows than there is work.

        An index that is read to its end to find nothing shows by its pages alone.
        """
        return self.node == "Seq Scan" or self.rows > ROWS_AT_MOST or self.blocks > 20 + 5 * (self.rows + self.loops)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it was executed. `caller`: `module.function` within the package."""

    caller: str
    sql: str
    accesses: tuple[Access, ...]

    def far_reads(self, tables: Collection[str]) -> list[Access]:
        """What it reads of these tables from end to end."""
        return [access for access in self.accesses if access.table in tables and access.reads_far]

    def __str__(self) -> str:
        return f"{self.caller}: {' '.join(self.sql.split())[:300]}"


@dataclass
class Statements:
    """What was executed while these were watched."""

    executed: list[Statement] = field(default_factory=list[Statement])

    def far_reads(self, tables: Collection[str]) -> dict[str, str]:
        """By caller, one statement that reads one of these tables from end to end, and how."""
        return {one.caller: f"{one}\n{far}" for one in self.executed if (far := one.far_reads(tables))}


@contextmanager
def watched(engine: Engine) -> Generator[Statements]:
    """Explain what the package (and not a test) sends through this engine."""
    found = Statements()

    def explain(
        _connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
    ) -> None:
        caller = _caller()
        if caller is None or not _EXPLAINED.match(statement) or cursor.connection.autocommit:
            return
        given = parameters[0] if executemany and not isinstance(parameters, dict) else parameters
        cursor.execute("savepoint before_explain")
        cursor.execute(f"explain (analyze, buffers, timing off, format json) {statement}", given)
        (answer,) = cursor.fetchone()
        cursor.execute("rollback to savepoint before_explain")
        (top,) = json.loads(answer) if isinstance(answer, str) else answer
        found.executed.append(Statement(caller, statement, tuple(_accesses(top["Plan"]))))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def _accesses(node: dict[str, Any]) -> Iterator[Access]:
    # The index of a bitmap scan counts to the scan of its table, which is the node above.
    # A branch that was not taken has read nothing.
    if "Relation Name" in node and "Scan" in node["Node Type"] and node["Actual Loops"]:
        thrown_away = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        loops = node["Actual Loops"]
        rows = round((node["Actual Rows"] + thrown_away) * loops)
        blocks = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        yield Access(node["Relation Name"], node["Node Type"], node.get("Index Name"), rows, loops, blocks)
    for below in node.get("Plans", []):
        yield from _accesses(below)


def _caller() -> str | None:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE) and not name.endswith(_NOT_THE_CALLER):
            module = Path(name).relative_to(_PACKAGE).with_suffix("")
            return f"{'.'.join(module.parts)}.{frame.f_code.co_name}"
        if name.startswith(_TESTS) and name != __file__:
            return None
        frame = frame.f_back
    return None
