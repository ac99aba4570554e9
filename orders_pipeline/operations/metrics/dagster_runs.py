"""Dagster itself: its runs, its daemons, its ticks, from its own storage. It has no metrics of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.operations.metrics.family import OTHER, Family, Group, Sample, summed

IN_FLIGHT = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
PERCENTILES = (50, 95, 100)
# A deployment has some dozen sensors and schedules, and fewer daemons.
NAMES_AT_MOST = 60

RUNS = Family("orders_pipeline_runs", "gauge", "Runs that have not ended, by Dagster's status.", ("status",))
QUEUED_AGE = Family(
    "orders_pipeline_runs_oldest_queued_age_seconds",
    "gauge",
    "For how long the oldest run that waits in Dagster's queue waits; 0 where none does.",
)
WAIT = Family(
    "orders_pipeline_run_wait_seconds",
    "gauge",
    "From a run's being asked for to its start, of those that started in the last 15 minutes; no sample if none did.",
    ("percentile",),
)
ENDED_RUNS = Family(
    "orders_pipeline_runs_ended_last_hour", "gauge", "Runs that ended within the last hour, by status.", ("status",)
)
HEARTBEAT = Family(
    "orders_pipeline_daemon_heartbeat_age_seconds",
    "gauge",
    "How long ago each of Dagster's daemons gave its last sign of life; half a minute to a minute is usual.",
    ("daemon",),
)
TICKS_FAILED = Family(
    "orders_pipeline_ticks_failed_last_hour",
    "gauge",
    "Ticks of a sensor or schedule that failed within the last hour.",
    ("name",),
)

# Dagster keeps its times as UTC without saying so.
_NOW = "statement_timestamp() at time zone 'UTC'"
_RUNS = text(f"""
    select status, count(*) as runs, extract(epoch from {_NOW} - min(create_timestamp))::float as age from runs
    where status = any(:in_flight) group by status
""")  # noqa: S608  # our own constants, here and below
_WAIT = text(f"""
    select percentile_cont(cast(:shares as float8[])) within group (
      order by greatest(start_time - extract(epoch from create_timestamp at time zone 'UTC'), 0)::float8) as waits
    from runs where status = any(:statuses) and update_timestamp > {_NOW} - interval '15 minutes'
    and start_time > extract(epoch from statement_timestamp()) - 900
""")  # noqa: S608
_ENDED = text(f"""
    select status, count(*) as runs from runs where status = any(:ended)
    and update_timestamp > {_NOW} - interval '1 hour' group by status
""")  # noqa: S608
_HEARTBEATS = text(f"""
    select daemon_type, extract(epoch from {_NOW} - timestamp)::float as age from daemon_heartbeats
    order by daemon_type limit :at_most
""")  # noqa: S608
# By the index over each one's own ticks.
_TICKS = text(f"""
    select body, failed from (
      select selector_id, instigator_body as body from instigators order by selector_id limit :at_most) as one
    cross join lateral (
      select count(*) as failed from job_ticks t where t.selector_id = one.selector_id
      and t.timestamp > {_NOW} - interval '1 hour' and t.status = 'FAILURE') as of_it
""")  # noqa: S608


def _read(connection: Connection, _account_ids: Sequence[str]) -> Iterator[Sample]:
    runs = {row.status: row for row in connection.execute(_RUNS, {"in_flight": list(IN_FLIGHT)})}
    for status in IN_FLIGHT:
        yield Sample(RUNS, (status,), runs[status].runs if status in runs else 0)
    yield Sample(QUEUED_AGE, (), max(runs["QUEUED"].age, 0.0) if "QUEUED" in runs else 0.0)
    asked = {"shares": [each / 100 for each in PERCENTILES], "statuses": ["STARTED", "CANCELING", *ENDED]}
    waits = connection.execute(_WAIT, asked).scalar_one()
    for percentile, wait in zip(PERCENTILES, waits or (), strict=False):
        yield Sample(WAIT, (str(percentile),), wait)
    ended = {row.status: row.runs for row in connection.execute(_ENDED, {"ended": list(ENDED)})}
    for status in ENDED:
        yield Sample(ENDED_RUNS, (status,), ended.get(status, 0))
    for row in connection.execute(_HEARTBEATS, {"at_most": NAMES_AT_MOST}):
        yield Sample(HEARTBEAT, (row.daemon_type,), max(row.age, 0.0))
    ticks = connection.execute(_TICKS, {"at_most": NAMES_AT_MOST}).all()
    yield from summed(Sample(TICKS_FAILED, (_name(row.body),), row.failed) for row in ticks)


def _name(body: str) -> str:
    """The sensor's or schedule's name, as Dagster keeps it since its first releases."""
    try:
        name = json.loads(body)["origin"]["job_name"]
    except (ValueError, KeyError, TypeError):
        return OTHER
    return name if isinstance(name, str) else OTHER


GROUP = Group("dagster", (RUNS, QUEUED_AGE, WAIT, ENDED_RUNS, HEARTBEAT, TICKS_FAILED), _read, database="dagster")
