"""Queries of Dagster's own tables: which runs and events are old, and deleting them.

The newest event of each kind of each asset and partition stays, however old, and its run with it: it is what the UI
shows as the state of the asset. Without it a partition would count as never materialized, and be asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AnyRow

# Events that were reported without a run, as sensors do, carry this instead of a run's id.
RUNLESS = ""
_ENDED = "('SUCCESS', 'FAILURE', 'CANCELED')"
_BACKFILL_ENDED = "('COMPLETED', 'COMPLETED_SUCCESS', 'COMPLETED_FAILED', 'FAILED', 'CANCELED')"
# Dagster keeps its times as UTC without saying so; a run that ended before Dagster noted ends has only its creation.
_ENDED_AT = "coalesce(to_timestamp(r.end_time), r.create_timestamp at time zone 'UTC')"

# What may go of an event: all but the newest of its kind for its asset and partition. Two cases, for two indexes.
_NOT_THE_NEWEST = """(
  e.asset_key is null
  or e.partition is null and exists (select from event_logs n where n.asset_key = e.asset_key
     and n.dagster_event_type = e.dagster_event_type and n.partition is null and n.id > e.id)
  or e.partition is not null and exists (select from event_logs n where n.asset_key = e.asset_key
     and n.dagster_event_type = e.dagster_event_type and n.partition = e.partition and n.id > e.id))"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """How much of Dagster's history a table holds, and of the last day. `oldest_at` is aware, UTC."""

    name: str
    rows: int
    bytes: int
    oldest_at: datetime | None
    rows_of_the_last_day: int

    @property
    def bytes_of_the_last_day(self) -> int:
        """Its share of the table and its indexes."""
        return round(self.bytes * self.rows_of_the_last_day / self.rows) if self.rows else 0


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What is older goes. `frequent`: of runs of `frequent_jobs` that succeeded, and of events without a run."""

    all: datetime
    frequent: datetime
    frequent_jobs: Sequence[str]

    def values(self) -> dict[str, Any]:
        return {
            "cutoff": self.all,
            "frequent_cutoff": self.frequent,
            "frequent_jobs": list(self.frequent_jobs),
            "succeeded": "SUCCESS",
        }


_IS_OLD = f"""
    r.status in {_ENDED} and ({_ENDED_AT} < :cutoff or r.status = :succeeded
      and r.pipeline_name = any(:frequent_jobs) and {_ENDED_AT} < :frequent_cutoff)"""


def old_runs(connection: Connection, cutoffs: Cutoffs, after: int, limit: int) -> Sequence[AnyRow]:
    """(id, run_id) of the next runs that ended before their cutoff, by id."""
    return _rows(
        connection,
        f"select r.id, r.run_id from runs r where {_IS_OLD} and r.id > :after order by r.id limit :limit",  # noqa: S608
        {**cutoffs.values(), "after": after, "limit": limit},
    )


def delete_runs(connection: Connection, run_ids: Sequence[str]) -> tuple[int, int]:
    """Delete what may go of these runs; (events, runs) that went. A run of which an event stays, stays."""
    events = _delete_events(connection, "e.run_id = any(:run_ids)", {"run_ids": list(run_ids)})
    runs = connection.execute(
        text("""
            delete from runs r where r.run_id = any(:run_ids)
            and not exists (select from event_logs e where e.run_id = r.run_id)
        """),
        {"run_ids": list(run_ids)},
    ).rowcount
    return events, runs


def old_runless_events(connection: Connection, cutoff: datetime, after: int, limit: int) -> Sequence[AnyRow]:
    """(id) of the next events from before the cutoff that belong to no run, by id."""
    return _rows(
        connection,
        """
            select e.id from event_logs e where e.run_id = :runless and e.id > :after
            and e.timestamp < cast(:cutoff as timestamptz) at time zone 'UTC' order by e.id limit :limit
        """,
        {"runless": RUNLESS, "cutoff": cutoff, "after": after, "limit": limit},
    )


def delete_runless_events(connection: Connection, ids: Sequence[int]) -> int:
    """Delete what may go of these events; how many went."""
    return _delete_events(connection, "e.id = any(:ids)", {"ids": list(ids)})


def delete_old_check_results(connection: Connection, cutoff: datetime, limit: int) -> int:
    """Delete results of asset checks from before the cutoff, but the newest of each check and status; how many went."""
    return connection.execute(
        text("""
            with newest as (select max(id) as id from asset_check_executions
            group by asset_key, check_name, partition, execution_status)
            delete from asset_check_executions where id in (select c.id from asset_check_executions c
            where c.create_timestamp < cast(:cutoff as timestamptz) at time zone 'UTC'
            and not exists (select from newest where newest.id = c.id) order by c.id limit :limit)
        """),
        {"cutoff": cutoff, "limit": limit},
    ).rowcount


def delete_old_backfills(connection: Connection, cutoff: datetime) -> int:
    """Delete backfills that ended before the cutoff and of which no run is left; how many went."""
    return connection.execute(
        text(f"""
            with gone as (delete from bulk_actions b
            where b.status in {_BACKFILL_ENDED} and b.timestamp < cast(:cutoff as timestamptz) at time zone 'UTC'
            and not exists (select from runs r where r.backfill_id = b.key) returning b.key),
            tags as (delete from backfill_tags t using gone where t.backfill_id = gone.key)
            select count(*) from gone
        """),  # noqa: S608  # our own constants
        {"cutoff": cutoff},
    ).scalar_one()


def count_overdue(connection: Connection, cutoffs: Cutoffs) -> tuple[int, int]:
    """(runs, events without a run) from before their cutoff that a pruning would delete."""
    runs = connection.execute(
        text(f"""
            select count(*) from runs r where {_IS_OLD} and not exists
            (select from event_logs e where e.run_id = r.run_id and not {_NOT_THE_NEWEST})
        """),  # noqa: S608  # our own constants
        cutoffs.values(),
    ).scalar_one()
    events = connection.execute(
        text(f"""
            select count(*) from event_logs e where e.run_id = :runless
            and e.timestamp < cast(:cutoff as timestamptz) at time zone 'UTC' and {_NOT_THE_NEWEST}
        """),  # noqa: S608  # our own constants
        {"runless": RUNLESS, "cutoff": cutoffs.frequent},
    ).scalar_one()
    return int(runs), int(events)


def history_sizes(connection: Connection) -> list[TableSize]:
    """The tables that grow with every run, tick and event, the largest first."""
    sizes: list[TableSize] = []
    for name, at in (
        ("runs", "create_timestamp"),
        ("event_logs", "timestamp"),
        ("asset_check_executions", "create_timestamp"),
        ("job_ticks", "create_timestamp"),
        ("bulk_actions", "timestamp"),
    ):
        row = connection.execute(
            text(f"""
                select count(*), pg_total_relation_size('{name}'), min({at}) at time zone 'UTC',
                count(*) filter (where {at} at time zone 'UTC' > statement_timestamp() - interval '1 day') from {name}
            """)  # noqa: S608  # our own constants
        ).one()
        sizes.append(TableSize(name, *row))
    return sorted(sizes, key=lambda size: -size.bytes)


def runs_of_the_last_day(connection: Connection, limit: int) -> Sequence[AnyRow]:
    """(job, runs, events, bytes) by job: what its runs of the last day wrote into the event log, most first."""
    return _rows(
        connection,
        """
            select r.pipeline_name as job, count(distinct r.run_id) as runs, count(e.id) as events,
            coalesce(sum(pg_column_size(e.*)), 0) as bytes
            from runs r left join event_logs e using (run_id)
            where r.create_timestamp at time zone 'UTC' > statement_timestamp() - interval '1 day'
            group by r.pipeline_name order by bytes desc limit :limit
        """,
        {"limit": limit},
    )


def _delete_events(connection: Connection, which: str, values: Mapping[str, Any]) -> int:
    return connection.execute(
        text(f"""
            with gone as (delete from event_logs e where {which} and {_NOT_THE_NEWEST} returning e.id),
            tags as (delete from asset_event_tags t using gone where t.event_id = gone.id) select count(*) from gone
        """),  # noqa: S608  # our own constants
        dict(values),
    ).scalar_one()


def _rows(connection: Connection, statement: str, values: Mapping[str, Any]) -> Sequence[AnyRow]:
    return list(connection.execute(text(statement), dict(values)))
