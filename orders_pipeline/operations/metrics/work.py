"""The work queue, what it waits for, and when each scheduled work was last done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded, new_words, summed
from orders_pipeline.operations.overdue import SCHEDULED
from orders_pipeline.work.jobs import (
    BACKFILLED,
    DEPENDENCIES,
    KEYS,
    NOTIFICATIONS,
    REGULATED_INFO,
    Queue,
    quota_of,
    spare_quota_of,
)
from orders_pipeline.work.pauses import PauseKind

COUNTED_AT_MOST = 100_000
# No lease is longer; beyond it are jobs that wait for their time.
LONGEST_LEASE = "1 hour"
KNOWN_DEPENDENCIES = frozenset(
    {
        KEYS,
        NOTIFICATIONS,
        REGULATED_INFO,
        *(one for needed in DEPENDENCIES.values() for one in needed),
        *(quota for queue in Queue for quota in (quota_of(queue), spare_quota_of(queue)) if quota is not None),
    }
)

JOBS = Family(
    "orders_pipeline_jobs",
    "gauge",
    "Jobs of the work queue: due (could be done now, pauses aside), leased, parked. What waits for its time does not "
    "count.",
    ("account", "queue", "state"),
)
JOBS_AGE = Family(
    "orders_pipeline_jobs_oldest_due_age_seconds",
    "gauge",
    "For how long the oldest due job could have been done, those of a backfill aside; 0 where none is due.",
    ("account", "queue"),
)
PAUSED = Family(
    "orders_pipeline_dependency_paused",
    "gauge",
    "1 while work waits for this: a limit (its end is known) or a refusal (a success ends it).",
    ("account", "dependency", "kind"),
)
DONE_AGE = Family(
    "orders_pipeline_work_done_age_seconds",
    "gauge",
    "How long ago a work that starts by itself was last done, or, before the first time, since when it is awaited.",
    ("account", "work"),
)
MESSAGES_PARKED = Family(
    "orders_pipeline_messages_parked",
    "gauge",
    "Messages of the queue that could not be read, were set aside, and were not replayed.",
    ("account",),
)
DEPTH = Family(
    "orders_pipeline_notification_queue_messages",
    "gauge",
    "Messages on the account's SQS queue, as SQS said when it was asked last: visible, in_flight, delayed.",
    ("account", "state"),
)
DEPTH_AGE = Family(
    "orders_pipeline_notification_queue_measured_age_seconds",
    "gauge",
    "How long ago SQS was asked for it; once a minute while the sensor runs.",
    ("account",),
)

_JOBS = text(f"""
    select queue, due.jobs as due, due.age, leased.jobs as leased, parked.jobs as parked
    from unnest(cast(:queues as text[])) as queue
    cross join lateral (
      select count(*) as jobs, coalesce(extract(epoch from statement_timestamp()
        - min(at) filter (where priority > {BACKFILLED})), 0)::float as age from (
        select coalesce(leased_until, due_at) as at, priority from pipeline.jobs j where j.account_id = :account_id
        and j.queue = queue.queue and parked_at is null and coalesce(leased_until, due_at) <= statement_timestamp()
        order by coalesce(leased_until, due_at) limit :at_most) as counted) as due
    cross join lateral (
      select count(*) as jobs from (
        select from pipeline.jobs j where j.account_id = :account_id and j.queue = queue.queue and parked_at is null
        and leased_until is not null and coalesce(leased_until, due_at) > statement_timestamp()
        and coalesce(leased_until, due_at) < statement_timestamp() + interval '{LONGEST_LEASE}'
        limit :at_most) as counted) as leased
    left join (
      select j.queue as of, count(*) as jobs from pipeline.jobs j
      where j.account_id = :account_id and parked_at is not null group by j.queue) as parked on parked.of = queue
""")  # noqa: S608  # our own constant
# A limit ends by itself; a refusal's time is only that of the next try.
_PAUSED = text("""
    select dependency, kind, (kind = 'refusal' or until > clock_timestamp())::int as paused
    from pipeline.paused_dependencies where account_id = :account_id and until is not null
""")
_DONE = text("""
    select work, extract(epoch from clock_timestamp() - coalesce(done_at, watched_since))::float as age
    from pipeline.work_done where account_id = :account_id and work = any(:works)
""")
_MESSAGES = text("""
    select count(*) from pipeline.parked_messages where account_id = :account_id and replayed_at is null
    and parked_at > statement_timestamp() - interval '14 days'
""")
_DEPTH = text("""
    select visible, in_flight, delayed, extract(epoch from clock_timestamp() - measured_at)::float as age
    from pipeline.notification_queues where account_id = :account_id
""")


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    for account_id in account_ids:
        values = {"account_id": account_id}
        queues = {"queues": [str(queue) for queue in Queue], "at_most": COUNTED_AT_MOST}
        for row in connection.execute(_JOBS, {**values, **queues}):
            yield Sample(JOBS, (account_id, row.queue, "due"), row.due)
            yield Sample(JOBS, (account_id, row.queue, "leased"), row.leased)
            yield Sample(JOBS, (account_id, row.queue, "parked"), row.parked or 0)
            yield Sample(JOBS_AGE, (account_id, row.queue), row.age)
        pauses = connection.execute(_PAUSED, values).all()
        new = new_words((row.dependency for row in pauses), KNOWN_DEPENDENCIES)
        kinds = [str(kind) for kind in PauseKind]
        yield from summed(
            Sample(PAUSED, (account_id, bounded(row.dependency, KNOWN_DEPENDENCIES, new), row.kind), row.paused)
            for row in pauses
            if row.kind in kinds
        )
        for row in connection.execute(_DONE, {**values, "works": [one.work for one in SCHEDULED]}):
            yield Sample(DONE_AGE, (account_id, row.work), row.age)
        yield Sample(MESSAGES_PARKED, (account_id,), connection.execute(_MESSAGES, values).scalar_one())
        for row in connection.execute(_DEPTH, values):
            yield Sample(DEPTH, (account_id, "visible"), row.visible)
            yield Sample(DEPTH, (account_id, "in_flight"), row.in_flight)
            yield Sample(DEPTH, (account_id, "delayed"), row.delayed)
            yield Sample(DEPTH_AGE, (account_id,), row.age)


GROUP = Group("work", (JOBS, JOBS_AGE, PAUSED, DONE_AGE, MESSAGES_PARKED, DEPTH, DEPTH_AGE), _read)
