"""Queries of clocks: Amazon's, as its answers tell it, beside the database's; and stored times that are still to come.

The database's clock decides between processes, and may itself be wrong. Amazon's Date header, which comes with every
answer, is the one clock from outside. What the retention takes for now is the later of the two: a database clock that
was set back (a restore, a wrong NTP server) keeps nothing longer. One that is ahead destroys early, and is an alert.
The newest Date counts, not the latest: a wrong one is mended by the next answer. One that is more than a
day ahead is believed only when answers agreed on it for an hour: a single wrong header must not destroy everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import Database

AMAZON = "amazon"
RETENTION_NOW = (
    "greatest(clock_timestamp(), (select amazon_time from pipeline.clock_readings where source = 'amazon' "
    "and (ahead_since is null or read_at >= ahead_since + interval '1 hour') limit 1))"
)
# Clocks of one server that is kept in step by NTP differ by less.
TOLERANCE = timedelta(minutes=1)

_NOW, _NULL = "clock_timestamp()", "null"
# Every stored time that is past when it is written and that decides how long something is kept. What takes the place of
# one that is still to come: now, the first moment at which it is known to be wrong; or nothing, where Amazon says it
# again.
_PAST_TIMES: dict[str, dict[str, str]] = {
    "vault.records": {"first_stored_at": _NOW, "stored_at": _NOW},
    "vault_keys.pending_shreds": {"shredded_at": _NOW},
    "pipeline.orders": {
        "first_seen_at": _NOW,
        "purchased_at": _NULL,
        "delivered_at": _NULL,
        "seen_on_its_way_at": _NULL,
        "reduced_at": _NOW,
    },
    "pipeline.fulfillment_orders": {"changed_at": _NOW},
    "pipeline.shipment_confirmations": {"reported_at": _NOW},
    # Erased in the future is not erased: the warehouse is asked again.
    "pipeline.wms_orders": {
        "first_attempt_at": _NOW,
        "sent_at": _NOW,
        "accepted_at": _NOW,
        "erase_requested_at": _NOW,
        "erased_at": _NULL,
    },
    "pipeline.erasures": {"requested_at": _NOW, "shredded_at": _NULL, "finished_at": _NULL},
    "pipeline.order_events": {"received_at": _NOW},
    "pipeline.wms_shipments": {"received_at": _NOW},
    "pipeline.fba_shipments": {"received_at": _NOW},
    "pipeline.parked_messages": {"parked_at": _NOW, "replayed_at": _NOW},
    "pipeline.search_windows": {"started_at": _NOW},
    "pipeline.report_requests": {"requested_at": _NOW},
    "pipeline.alerts": {"opened_at": _NOW, "last_seen_at": _NOW},
    "pipeline.client_secrets": {"first_seen_at": _NOW},
}
# What a clock that was ahead put off for years: jobs, leases and pauses; none of them waits for more than a day.
_WAITS: dict[str, dict[str, str]] = {
    "pipeline.jobs": {"due_at": "true", "leased_until": "true"},
    "pipeline.paused_dependencies": {"until": "true"},
}
_WAIT_AT_MOST = "interval '1 day'"


def _wrong(table: str) -> dict[str, str]:
    """SQL by column: whether its time cannot be."""
    waits = _WAITS.get(table, {}).items()
    return {name: f"{name} > g.limit_at" for name in _PAST_TIMES.get(table, {})} | {
        name: f"({name} > g.limit_at + {_WAIT_AT_MOST} and {which})" for name, which in waits
    }


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The newest answer of Amazon's that told the time. `ahead`: by how much the database's clock was ahead of it."""

    amazon_time: datetime
    read_at: datetime

    @property
    def ahead(self) -> timedelta:
        return self.read_at - self.amazon_time


def note_reading(connection: Connection, amazon_time: datetime) -> None:
    """Keep what Amazon's clock said at this moment of the database's."""
    connection.execute(
        text("""
            insert into pipeline.clock_readings as r (source, amazon_time, ahead_since)
            values (:source, :amazon_time,
            case when :amazon_time > clock_timestamp() + interval '1 day' then clock_timestamp() end)
            on conflict (source) do update set amazon_time = excluded.amazon_time, read_at = clock_timestamp(),
            ahead_since = case when excluded.ahead_since is not null
            then coalesce(r.ahead_since, excluded.ahead_since) end
        """),
        {"source": AMAZON, "amazon_time": amazon_time},
    )


def reading(connection: Connection) -> ClockReading | None:
    """The newest reading; None before the first."""
    row = connection.execute(
        text("select amazon_time, read_at from pipeline.clock_readings where source = :source"), {"source": AMAZON}
    ).one_or_none()
    return None if row is None else ClockReading(*row)


def retention_now(connection: Connection) -> datetime:
    """What the retention takes for now: the database's clock, or Amazon's where that is later."""
    return connection.execute(text(f"select {RETENTION_NOW}")).scalar_one()  # our own constant


def now_for_retention(database: Database) -> datetime:
    """The same, in a transaction of its own."""
    with database.begin() as connection:
        return retention_now(connection)


def count_future_times(connection: Connection) -> dict[str, int]:
    """How many stored times are still to come, by table; tables without any are left out."""
    found: dict[str, int] = {}
    for table in (*_PAST_TIMES, *_WAITS):
        counts = " + ".join(f"count(*) filter (where {wrong})" for wrong in _wrong(table).values())
        statement = f"select {counts} from {table} cross join {_LIMIT} g"  # noqa: S608  # our own constants
        found[table] = int(connection.execute(text(statement), {"tolerance": TOLERANCE}).scalar_one())
    return {table: count for table, count in found.items() if count}


def mend_future_times(connection: Connection) -> dict[str, int]:
    """Put every stored time that is still to come in its place; how many, by table.

    Tables that this login may not change are left as they are, and the check counts them.
    """
    mended = count_future_times(connection)
    for table in list(mended):
        if not connection.execute(
            text("select has_any_column_privilege(cast(:table as text), 'UPDATE')"), {"table": table}
        ).scalar_one():
            del mended[table]
            continue
        wrong, instead = _wrong(table), _PAST_TIMES.get(table, {})
        sets = [
            f"{name} = case when {case} then {instead.get(name, _NOW)} else {name} end" for name, case in wrong.items()
        ]
        connection.execute(
            text(f"update {table} set {', '.join(sets)} from {_LIMIT} g where {' or '.join(wrong.values())}"),  # noqa: S608
            {"tolerance": TOLERANCE},
        )
    return mended


def mended_since(connection: Connection, age: timedelta) -> int:
    """How many times were mended in that time, as the audit log says."""
    return int(
        connection.execute(
            text("""
                select coalesce(sum((detail->>'times')::bigint), 0) from audit.entries
                where action = 'mend_times' and outcome = 'done' and at > statement_timestamp() - :age
            """),
            {"age": age},
        ).scalar_one()
    )


_LIMIT = f"(select {RETENTION_NOW} + :tolerance as limit_at)"
