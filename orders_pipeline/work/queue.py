"""The one work queue: claiming, leases, backoff, parking and replay of everything that is pending.

A row is there exactly while work is pending. Enqueue in the transaction that makes the work; lock an order's row before
its jobs. A worker takes a job for the time of its lease, so one that dies gives it back by doing nothing:

    with database.transaction(account_id) as tx:
        save_order(tx, order)
        enqueue(tx, Queue.PUSH, [order.order_id], ship_by=order.ship_by)

    def push(job: Job, seconds: float) -> str:
        answer = warehouse.push(load(job.order_id), timeout=seconds)
        with database.transaction(account_id) as tx:
            save_answer(tx, job.order_id, answer)
            complete(tx, job)
        return answer.word

    tally = run_queue(database, account_id, Queue.PUSH, push, workers=8, lease=PUSH_LEASE, policy=PUSH_POLICY,
                      deadline_seconds=45.0)

All times are the database's. `backlog.py` counts and lists what is pending.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, null, select, text, tuple_, update

from orders_pipeline.database.engine import AccountTransaction, database_now
from orders_pipeline.database.notifications import CHANNEL, notify
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.work.jobs import Job, Queue, dependencies_of, job_of, spare_quota_of
from orders_pipeline.work.pauses import Gate, gate, mark_probe
from orders_pipeline.work.retry import Policy, RetryDecision, decide_retry
from orders_pipeline.work.tables import jobs

ZERO = timedelta()
# A job that lost its lease this often kills whoever takes it; twice, it is suspected, and no two suspects run at once.
MOST_LOST_LEASES, SUSPECT_AT = 5, 2
LEASES_LOST = f"its worker died or hung {MOST_LOST_LEASES} times in a row without an answer"


# In order of subject, as every statement over several: two that overlap wait for each other and never both ways.
# What is due at once is notified by the same statement: whoever listens begins it at the commit.
_ENQUEUE = text("""
    with enqueued as (
    insert into pipeline.jobs as j (account_id, queue, subject, due_at, priority, ship_by)
    select :account_id, :queue, s.subject, clock_timestamp() + :due_in, coalesce(:priority, 0), s.ship_by
    from unnest(cast(:subjects as text[]), cast(:ship_by as timestamptz[])) as s(subject, ship_by)
    order by s.subject collate "C"
    on conflict (account_id, queue, subject) do update set
        version = j.version + 1,
        -- What a worker has in hand is not due again; what is parked was not due at all.
        due_at = case when j.parked_at is not null or j.leased_version = j.version then excluded.due_at
                      else least(j.due_at, excluded.due_at) end,
        priority = greatest(j.priority, cast(:priority as integer)),
        ship_by = coalesce(excluded.ship_by, j.ship_by),
        attempts = case when j.parked_at is null then j.attempts else 0 end,
        lost_leases = case when j.parked_at is null then j.lost_leases else 0 end,
        last_error = case when j.parked_at is null then j.last_error end,
        parked_at = null)
    select pg_notify(:channel, :account_id || ' ' || :queue) where :due_in <= interval '0'
""")


def enqueue(
    tx: AccountTransaction,
    queue: Queue,
    subjects: Collection[str],
    *,
    due_in: timedelta = ZERO,
    priority: int | None = None,
    ship_by: datetime | Mapping[str, datetime | None] | None = None,
) -> None:
    """Make work due; what waits already keeps its earlier time and higher priority, and what is parked starts anew.

    A job that a worker has in hand is done once more after it. `priority`: higher goes first; None keeps it (0 for a
    new job). `ship_by` (aware, UTC; or one a subject) orders jobs of one priority; None keeps it.
    """
    if not subjects:
        return
    named = sorted(set(subjects))
    deadlines = [ship_by.get(subject) for subject in named] if isinstance(ship_by, Mapping) else [ship_by] * len(named)
    values = {"subjects": named, "ship_by": deadlines, "due_in": due_in, "priority": priority}
    tx.execute(_ENQUEUE, {"channel": CHANNEL, "account_id": tx.account_id, "queue": queue, **values})


# The gate was looked at a moment before: a pause that began since is seen together with the jobs that it gave back.
# `statement_timestamp()` stands still: so the planner knows how few of many jobs are due, and takes them from their
# index instead of reading all that wait.
_READY = """
    account_id = :account_id and queue = :queue and parked_at is null
    and coalesce(leased_until, due_at) <= statement_timestamp()
    and not exists (
        select from pipeline.paused_dependencies p
        where p.account_id = :account_id and p.dependency = any(:needed) and p.until > statement_timestamp())
    -- As a value, and not as a condition of each row: so what waits for a spare token is not read to be passed over.
    and priority >= (select case when exists (
        select from pipeline.paused_dependencies p
        where p.account_id = :account_id and p.dependency = cast(:spare as text) and p.until > statement_timestamp())
        then 0 else -32768 end)"""
# A job that lost leases is suspected of killing its workers. Two suspects never run at once: one would be blamed for
# the other's deaths.
_SUSPECT = "(lost_leases > 0 and lost_leases + (leased_until is not null)::int >= :suspect_at)"
_KILLER = "j.lost_leases + (j.leased_until is not null)::int >= :most_lost_leases"
_IN_TURN = "priority desc, ship_by, due_at"
# While a dependency is probed, the job that was refused longest ago tries it: one bad job is not every probe.
_PROBES_IN_TURN = f"refused_at nulls first, {_IN_TURN}"
_CLAIM = """
    with suspect as (
        select subject from pipeline.jobs where {ready} and {suspect} and not exists (
            select from pipeline.jobs other
            where other.account_id = :account_id and other.lost_leases > 0 and other.lost_leases >= :suspect_at
              and other.leased_until > statement_timestamp())
        order by {order} limit 1 for update skip locked),
    others as (
        select subject, priority from pipeline.jobs where {ready} and not {suspect}
        -- From its index: without it, a queue of which all waits is read to its end to find nothing.
        and statement_timestamp() >= (
            select min(coalesce(leased_until, due_at)) from pipeline.jobs
            where account_id = :account_id and queue = :queue and parked_at is null)
        order by {order} limit :limit for update skip locked),
    -- Of those that may have to wait for a spare token, one: it finds out for the others.
    chosen as (select subject from suspect union all select subject from others where priority >= 0
        union all (select subject from others where priority < 0
            limit case when cast(:spare as text) is null then :limit else 1 end) limit :limit)
    update pipeline.jobs j set
        lost_leases = j.lost_leases + (j.leased_until is not null)::int,
        lease_id = case when {killer} then null else gen_random_uuid() end,
        leased_version = case when {killer} then null else j.version end,
        leased_until = case when {killer} then null else clock_timestamp() + :lease end,
        parked_at = case when {killer} then clock_timestamp() end,
        last_error = case when {killer} then :leases_lost else j.last_error end
    from chosen
    where j.account_id = :account_id and j.queue = :queue and j.subject = chosen.subject
    returning j.*
"""
_CLAIM_IN_TURN, _CLAIM_A_PROBE = (
    text(_CLAIM.format(ready=_READY, suspect=_SUSPECT, killer=_KILLER, order=order))
    for order in (_IN_TURN, _PROBES_IN_TURN)
)


def claim(
    tx: AccountTransaction, queue: Queue, *, limit: int, lease: timedelta, dependencies: Collection[str] = ()
) -> list[Job]:
    """Take up to `limit` due jobs for the time of the lease: by priority, then ship-by, then age.

    None while a dependency of the queue (or one of these) is paused; one while it is probed; of those below the usual
    priority none while its spare quota is. A job whose lease ran out counts as due; at the fifth time in a row it is
    parked instead.
    """
    needed = dependencies_of(queue, dependencies)
    found = gate(tx, needed)
    if found is Gate.CLOSED or limit < 1:
        return []
    probes = found is Gate.PROBE
    values = {
        "account_id": tx.account_id,
        "queue": queue,
        "needed": sorted(needed),
        "spare": spare_quota_of(queue),
        "limit": 1 if probes else limit,
        "lease": lease,
        "suspect_at": SUSPECT_AT,
        "most_lost_leases": MOST_LOST_LEASES,
        "leases_lost": LEASES_LOST,
    }
    while True:
        rows = tx.execute(_CLAIM_A_PROBE if probes else _CLAIM_IN_TURN, values).all()
        claimed = [job_of(row) for row in rows if row.parked_at is None]
        if claimed or not rows:
            break
    if probes and claimed:
        lease_id = claimed[0].lease_id
        assert lease_id is not None
        mark_probe(tx, needed, queue=queue, subject=claimed[0].subject, lease_id=lease_id)
    return sorted(claimed, key=_turn)


_CLAIM_THESE = text("""
    with chosen as (
        select subject from pipeline.jobs
        where account_id = :account_id and queue = :queue and subject = any(:subjects) and parked_at is null
          and leased_until is null and lost_leases = 0
        order by subject collate "C" for update skip locked)
    update pipeline.jobs j set
        lease_id = gen_random_uuid(), leased_version = j.version, leased_until = clock_timestamp() + :lease
    from chosen
    where j.account_id = :account_id and j.queue = :queue and j.subject = chosen.subject
    returning j.*
""")


def claim_these(
    tx: AccountTransaction, queue: Queue, subjects: Collection[str], *, lease: timedelta, dependencies: Collection[str]
) -> list[Job]:
    """Take those of these jobs that are free, due or not, while none of the dependencies is paused or probed.

    The queue's own quota is not asked for: these are answered by calls of another. What lost a lease before is left to
    `claim`, one at a time: it may kill its worker, and is not to take others with it.
    """
    if not subjects or gate(tx, dependencies) is not Gate.OPEN:
        return []
    values = {"account_id": tx.account_id, "queue": queue, "subjects": sorted(subjects), "lease": lease}
    return sorted((job_of(row) for row in tx.execute(_CLAIM_THESE, values)), key=_turn)


def renew_all(tx: AccountTransaction, claimed: Collection[Job], *, lease: timedelta) -> None:
    """Begin the leases anew of those of these jobs of one queue that are still held."""
    if not claimed:
        return
    held = [
        jobs.c.account_id == tx.account_id,
        jobs.c.queue == next(iter(claimed)).queue,
        jobs.c.subject.in_([job.subject for job in claimed]),
        jobs.c.lease_id.in_([job.lease_id for job in claimed]),
    ]
    statement = update(jobs).where(_in_order(held), *held)
    tx.execute(statement.values(leased_until=func.clock_timestamp() + lease))


def renew(tx: AccountTransaction, job: Job, *, lease: timedelta) -> bool:
    """Begin the lease anew; False if it was lost, and the job may be another's."""
    return _change(tx, job, leased_until=func.clock_timestamp() + lease)


def complete(tx: AccountTransaction, job: Job) -> bool:
    """The job is done; False, and nothing is changed, if the lease was lost or the job completed before.

    What was enqueued since the claim stays to be done.
    """
    gone = delete(jobs).where(*_leased(tx, job), jobs.c.version == jobs.c.leased_version)
    if tx.execute(gone).rowcount:
        return True
    return _change(tx, job, **_UNLEASED, **_FRESH)


def retry(
    tx: AccountTransaction, job: Job, error: Exception | str, policy: Policy, *, after: timedelta | None = None
) -> RetryDecision | None:
    """Count a failure: the job waits, or is parked when the policy is exhausted. None if the lease was lost.

    `error` holds no buyer's data: it is stored and shown. `after`: not earlier, whatever the policy says.
    """
    past_ship_by = None if job.ship_by is None else database_now(tx.connection) - job.ship_by
    decision = decide_retry(policy, job.attempts, after=after, past_ship_by=past_ship_by)
    if decision.delay is None:
        return decision if park(tx, job, _error_text(error)) else None
    due_at = func.clock_timestamp() + decision.delay
    held = _change(
        tx,
        job,
        **_UNLEASED,
        due_at=_or_newer(due_at),
        attempts=decision.attempts,
        lost_leases=0,
        last_error=_error_text(error),
    )
    return decision if held else None


def release(tx: AccountTransaction, job: Job, *, due_at: datetime | None = None) -> bool:
    """Give the job back without counting an attempt, due at `due_at` (aware, UTC) or as it was. False: lease lost."""
    return _change(tx, job, **_UNLEASED, due_at=_or_newer(due_at or job.due_at))


def release_refused(
    tx: AccountTransaction, job: Job, error: Exception | str, *, due_at: datetime | None = None
) -> bool:
    """Give back a job that met a paused dependency: no attempt; others try before it whether that is mended."""
    noted = {"refused_at": func.clock_timestamp(), "last_error": _error_text(error)}
    return _change(tx, job, **_UNLEASED, due_at=_or_newer(due_at or job.due_at), **noted)


def park(tx: AccountTransaction, job: Job, reason: str) -> bool:
    """Set the job aside until somebody unparks it or its work is enqueued again. False if the lease was lost.

    What was enqueued since the claim has not been tried: then it stays, due, as if it had been parked before.
    """
    is_newer = jobs.c.version != jobs.c.leased_version
    return _change(
        tx,
        job,
        **_UNLEASED,
        attempts=case((is_newer, 0), else_=job.attempts + 1),
        lost_leases=0,
        last_error=_error_text(reason),
        parked_at=case((is_newer, null()), else_=func.clock_timestamp()),
    )


def unpark(tx: AccountTransaction, *, queue: Queue | None = None, subjects: Collection[str] | None = None) -> int:
    """Make parked jobs due now, as if they had never failed: all, of one queue, or these. Returns how many."""
    chosen = [jobs.c.account_id == tx.account_id, jobs.c.parked_at.is_not(None)]
    if queue is not None:
        chosen.append(jobs.c.queue == queue)
    if subjects is not None:
        chosen.append(jobs.c.subject.in_(sorted(set(subjects))))
    statement = update(jobs).where(_in_order(chosen), jobs.c.account_id == tx.account_id, jobs.c.parked_at.is_not(None))
    statement = statement.values(parked_at=None, due_at=func.clock_timestamp(), **_FRESH).returning(jobs.c.queue)
    unparked = list(tx.execute(statement).scalars())
    for name in sorted(set(unparked)):
        notify(tx.connection, tx.account_id, name)
    return len(unparked)


def withdraw(tx: AccountTransaction, queue: Queue, subjects: Collection[str]) -> int:
    """Nothing is to be done any more, whatever was pending; a worker that has the job in hand loses its lease."""
    chosen = [jobs.c.account_id == tx.account_id, jobs.c.queue == queue, jobs.c.subject.in_(sorted(set(subjects)))]
    return tx.execute(delete(jobs).where(_in_order(chosen), jobs.c.account_id == tx.account_id)).rowcount


def withdraw_orders(tx: AccountTransaction, order_ids: Collection[str]) -> int:
    """Nothing is to be done any more about these orders and their packages, in any queue: they are deleted."""
    chosen = [
        jobs.c.account_id == tx.account_id,
        func.split_part(jobs.c.subject, ":", 1).in_(sorted(set(order_ids))),
    ]
    return tx.execute(delete(jobs).where(_in_order(chosen), jobs.c.account_id == tx.account_id)).rowcount


def find(tx: AccountTransaction, queue: Queue, subject: str) -> Job | None:
    """The pending work of one subject: due, leased, waiting, or parked (`parked_at`)."""
    row = tx.execute(
        select(jobs).where(jobs.c.account_id == tx.account_id, jobs.c.queue == queue, jobs.c.subject == subject)
    ).one_or_none()
    return None if row is None else job_of(row)


_UNLEASED: dict[str, Any] = {"lease_id": None, "leased_version": None, "leased_until": None}
_FRESH: dict[str, Any] = {"attempts": 0, "lost_leases": 0, "last_error": None, "refused_at": None}


def _leased(tx: AccountTransaction, job: Job) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.account_id == tx.account_id,
        jobs.c.queue == job.queue,
        jobs.c.subject == job.subject,
        jobs.c.lease_id == job.lease_id,
    )


def _change(tx: AccountTransaction, job: Job, **values: Any) -> bool:
    return bool(tx.execute(update(jobs).where(*_leased(tx, job)).values(**values)).rowcount)


def _or_newer(due_at: Any) -> ColumnElement[datetime]:
    """The earlier of this and what was enqueued since the claim."""
    is_newer = jobs.c.version != jobs.c.leased_version
    return case((is_newer, func.least(jobs.c.due_at, due_at)), else_=due_at)


def _in_order(chosen: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """Locks the chosen rows in the order in which `enqueue` does."""
    locked = (
        select(jobs.c.queue, jobs.c.subject)
        .where(*chosen)
        .order_by(jobs.c.queue, jobs.c.subject.collate("C"))
        .with_for_update()
    )
    return tuple_(jobs.c.queue, jobs.c.subject).in_(locked)


def _turn(job: Job) -> tuple[int, bool, datetime, datetime]:
    return -job.priority, job.ship_by is None, job.ship_by or job.due_at, job.due_at


def _error_text(error: Exception | str) -> str:
    return bounded_text(str(error), LONGEST_ERROR) or type(error).__name__
