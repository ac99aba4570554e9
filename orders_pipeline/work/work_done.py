"""Queries of work that starts by itself: when each was last done, and which is overdue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection, text


def note_done(connection: Connection, seller_id: str, work: str) -> None:
    """This work was done, to its end, at this moment."""
    connection.execute(
        text(
            "insert into pipeline.work_done (seller_id, work, done_at) values (:seller_id, :work, clock_timestamp()) "
            "on conflict (seller_id, work) do update set done_at = excluded.done_at"
        ),
        {"seller_id": seller_id, "work": work},
    )


def overdue(connection: Connection, seller_id: str, allowed: Mapping[str, timedelta]) -> dict[str, timedelta | None]:
    """The works that were not done for longer than allowed, and for how long; None: the time is not known.

    A work that is asked about for the first time is watched from then on: a fresh installation owes nothing yet. Times
    that are still to come are not believed.
    """
    values = {"seller_id": seller_id, "works": list(allowed), "allowed": list(allowed.values())}
    connection.execute(
        text(
            "insert into pipeline.work_done (seller_id, work) "
            "select :seller_id, unnest(cast(:works as text[])) on conflict do nothing"
        ),
        values,
    )
    rows = connection.execute(
        text(
            "select w.work, clock_timestamp() - k.last_at as age from pipeline.work_done w "
            "join unnest(cast(:works as text[]), cast(:allowed as interval[])) as a(work, at_most) using (work) "
            "cross join lateral (select max(t) as last_at from unnest(array[w.watched_since, w.done_at]) as t "
            "where t <= clock_timestamp()) k where w.seller_id = :seller_id "
            "and (k.last_at is null or k.last_at < clock_timestamp() - a.at_most) order by w.work"
        ),
        values,
    )
    return {row.work: row.age for row in rows}
