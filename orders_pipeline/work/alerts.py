"""The alerts about pending work: what was set aside, and what all of it waits for."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.work.jobs import DEPENDENCIES, KEYS, NOTIFICATIONS, REGULATED_INFO, Queue
from orders_pipeline.work.pauses import PauseKind


def _needs(subject: str) -> Collection[str]:
    return next((needed for queue, needed in DEPENDENCIES.items() if subject.startswith(f"{queue}:")), ())


PARKED = AlertKind(
    name="work.parked",
    severity="error",
    query=text("""
select queue || ':' || subject as subject, queue, subject as job, coalesce(last_error, 'no reason was given') as reason,
  case when queue <> :report then split_part(subject, ':', 1) end as order_id
from pipeline.jobs where account_id = :account_id and parked_at is not null
order by parked_at
""").bindparams(report=str(Queue.REPORT)),
    message="The work {queue} on {job} was set aside: {reason}",
    action="Mend the cause, then replay it with the job replay_parked.",
    runbook="Work that waits",
    waits_for=_needs,
)

# The first pauses last seconds, and most end by themselves. A spent quota ends at a known time, and is no alert. Nor is
# a pause whose last job was withdrawn: nothing tries whether it is over, and nobody waits for it.
PAUSED = AlertKind(
    name="dependency.paused",
    severity="error",
    query=text("""
select dependency as subject, dependency, reason, to_char(since at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as since
from pipeline.paused_dependencies p
where account_id = :account_id and kind = :refusal and until is not null
  -- These have alerts of their own (vault, intake).
  and dependency <> all(:others) and since < clock_timestamp() - interval '5 minutes'
  and exists (
    select from jsonb_each(cast(:needs as jsonb)) as need(queue, dependencies)
    -- One queue after the other, each by its index: as a plain join, all jobs are read.
    cross join lateral (
      select from pipeline.jobs j where j.account_id = p.account_id and j.queue = need.queue and j.parked_at is null
        and j.due_at < statement_timestamp() - interval '5 minutes' limit 1) waiting
    where need.dependencies ? p.dependency)
""").bindparams(
        refusal=str(PauseKind.REFUSAL),
        others=[KEYS, NOTIFICATIONS, REGULATED_INFO],
        needs=json.dumps({queue: sorted(needed) for queue, needed in DEPENDENCIES.items()}),
    ),
    message="{dependency} has refused everything since {since} UTC, and what needs it waits: {reason}",
    action="Mend what it says; orders-pipeline doctor tells more. It is tried again by itself, and the first success "
    "lets all of it go on.",
    runbook="Work that waits",
    is_cause=True,
)

ALERTS = (PARKED, PAUSED)
