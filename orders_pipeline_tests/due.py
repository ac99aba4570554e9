"""Time passes for pending work: a test does not wait for a backoff, a lease or a pause."""

from __future__ import annotations

from sqlalchemy import Connection, text

_DUE = """update pipeline.jobs set due_at = clock_timestamp(),
  leased_until = case when leased_until is not null then clock_timestamp() end where parked_at is null"""
_OVER = "update pipeline.paused_dependencies set until = clock_timestamp() where until is not null"


def make_jobs_due(connection: Connection) -> None:
    """Every job that is not parked is due, every lease has run out, and every pause is over and may be probed."""
    connection.execute(text(_DUE))
    connection.execute(text(_OVER))
