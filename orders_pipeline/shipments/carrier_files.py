"""Queries of the user's carrier table as it was when it could last be read."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.shipments.tables import carrier_files


def last_good_text(connection: Connection, path: str) -> str | None:
    """What was last read from this file; None if it never could be read."""
    return connection.execute(select(carrier_files.c.content).where(carrier_files.c.path == path)).scalar_one_or_none()


def keep_good_text(connection: Connection, path: str, content: str) -> None:
    """From now on this is what was last read from this file."""
    statement = insert(carrier_files).values(path=path, content=content)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[carrier_files.c.path],
            set_={"content": statement.excluded.content, "read_at": func.clock_timestamp(), "problem": None},
        )
    )


def note_problem(connection: Connection, path: str, problem: str | None) -> None:
    """The file cannot be read now, and why; None: it can, or nobody misses it. Writes nothing where that was known."""
    if problem is None:
        known = update(carrier_files).where(carrier_files.c.path == path, carrier_files.c.problem.is_not(None))
        connection.execute(known.values(problem=None))
        return
    statement = insert(carrier_files).values(path=path, problem=bounded_text(problem, LONGEST_ERROR))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[carrier_files.c.path],
            set_={"problem": statement.excluded.problem},
            where=carrier_files.c.problem.is_distinct_from(statement.excluded.problem),
        )
    )
