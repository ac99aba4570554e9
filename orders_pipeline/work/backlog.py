"""What is pending, for sensors, alerts, the board and metrics; and when there will be something to claim."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.work.jobs import Job, Queue, dependencies_of, job_of, spare_quota_of
from orders_pipeline.work.tables import jobs


@dataclass(frozen=True, slots=True)
class Backlog:
    """One queue's pending jobs by state. `oldest_due_at`: since when the oldest due job could have been claimed."""

    queue: Queue
    due: int
    leased: int
    waiting: int
    parked: int
    oldest_due_at: datetime | None


_BACKLOG = text("""
    with moment as materialized (select clock_timestamp() as now)
    select j.queue,
           count(*) filter (where parked_at is null and coalesce(leased_until, due_at) <= now) as due,
           count(*) filter (where parked_at is null and leased_until > now) as leased,
           count(*) filter (where parked_at is null and leased_until is null and due_at > now) as waiting,
           count(*) filter (where parked_at is not null) as parked,
           min(coalesce(leased_until, due_at))
               filter (where parked_at is null and coalesce(leased_until, due_at) <= now) as oldest_due_at
    from pipeline.jobs j cross join moment where j.account_id = :account_id group by j.queue
""")


def backlog(tx: AccountTransaction) -> list[Backlog]:
    """Every queue in its order, the empty ones too. It counts all pending rows: not for the hot path."""
    counted = {row.queue: row for row in tx.execute(_BACKLOG, {"account_id": tx.account_id})}
    found: list[Backlog] = []
    for queue in Queue:
        row = counted.get(queue)
        if row is None:
            found.append(Backlog(queue, 0, 0, 0, 0, None))
        else:
            found.append(Backlog(queue, row.due, row.leased, row.waiting, row.parked, row.oldest_due_at))
    return found


def parked(tx: AccountTransaction, *, queue: Queue | None = None, limit: int = 100) -> list[Job]:
    """Jobs that were given up, with their reason (`last_error`), the longest parked first."""
    statement = select(jobs).where(jobs.c.account_id == tx.account_id, jobs.c.parked_at.is_not(None))
    if queue is not None:
        statement = statement.where(jobs.c.queue == queue)
    return [job_of(row) for row in tx.execute(statement.order_by(jobs.c.parked_at, jobs.c.subject).limit(limit))]


def accounts_with_due(connection: Connection, queue: Queue) -> list[str]:
    """The accounts, also former ones, of which a job of this queue is due, whatever is paused."""
    statement = text("""
        select distinct account_id from pipeline.jobs where queue = :queue and parked_at is null
        and coalesce(leased_until, due_at) <= clock_timestamp() order by 1
    """)
    return list(connection.execute(statement, {"queue": queue}).scalars())


def parked_of_others(connection: Connection, account_ids: Collection[str]) -> Sequence[AnyRow]:
    """(account_id, parked, queues) of every account but these that has parked jobs."""
    statement = text("""
        select account_id, count(*) as parked, string_agg(distinct queue, ', ' order by queue) as queues
        from pipeline.jobs where parked_at is not null and account_id <> all(:account_ids) group by 1 order by 1
    """)
    return connection.execute(statement, {"account_ids": list(account_ids)}).all()


_NEXT_DUE = text("""
    select j.queue, greatest(j.next_at, p.until) as next_at,
           extract(epoch from greatest(j.next_at, p.until) - clock_timestamp())::float as seconds
    from (
        select need.queue, need.dependencies, case when spare.until is null then (
            select coalesce(leased_until, due_at) from pipeline.jobs
            where account_id = :account_id and queue = need.queue and parked_at is null
            order by coalesce(leased_until, due_at) limit 1)
        -- The oldest are mostly those that wait for a spare token, and not to be read to be passed over: the others are
        -- found by their priority, which `offset 0` keeps from being a filter.
        else least((
            select min(at) from (
                select coalesce(leased_until, due_at) as at from pipeline.jobs
                where account_id = :account_id and queue = need.queue and parked_at is null and priority >= 0
                offset 0) as live), (
            select spare.until from pipeline.jobs
            where account_id = :account_id and queue = need.queue and parked_at is null and priority < 0
            order by priority desc limit 1)) end as next_at
        from (select key as queue, value as dependencies from jsonb_each(cast(:needs as jsonb))) as need
        -- What only a backfill asks for waits for a token that live work leaves.
        left join pipeline.paused_dependencies spare on spare.account_id = :account_id
          and spare.dependency = cast(:spares as jsonb) ->> need.queue and spare.until > clock_timestamp()) as j
    cross join lateral (
        select max(greatest(d.until, probe.leased_until)) as until from pipeline.paused_dependencies d
        -- While one job tries whether the dependency is mended, no other is claimed.
        left join pipeline.jobs probe on probe.account_id = d.account_id and probe.queue = d.probe_queue
          and probe.subject = d.probe_subject and probe.lease_id = d.probe_lease_id
        where d.account_id = :account_id and j.dependencies ? d.dependency) as p
    where j.next_at is not null
""")


def next_due(tx: AccountTransaction, queues: Collection[Queue] = tuple(Queue)) -> datetime | None:
    """When the next job of these queues can be claimed (a past time: now), pauses minded; None if nothing is pending.

    A job in hand counts with the end of its lease.
    """
    return min((row.next_at for row in _next_due(tx, queues)), default=None)


def seconds_until_due(tx: AccountTransaction, queues: Collection[Queue]) -> dict[str, float]:
    """For each of these queues that has a job, in how many seconds the next can be claimed; zero or less: now."""
    return {row.queue: row.seconds for row in _next_due(tx, queues)}


def _next_due(tx: AccountTransaction, queues: Collection[Queue]) -> Sequence[AnyRow]:
    needs = {str(queue): sorted(dependencies_of(queue)) for queue in queues}
    spares = {str(queue): spare_quota_of(queue) for queue in queues}
    values = {"account_id": tx.account_id, "needs": json.dumps(needs), "spares": json.dumps(spares)}
    return tx.execute(_NEXT_DUE, values).all()
