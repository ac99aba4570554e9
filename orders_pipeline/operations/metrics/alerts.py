"""What needs a person now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded, summed

KINDS = frozenset(kind.name for kind in ALERTS)
COUNTED_AT_MOST = 100_000

OPEN = Family(
    "orders_pipeline_alerts_open",
    "gauge",
    'Open alerts by kind; those of no account stand under account "*".',
    ("account", "kind", "severity"),
)
UNDELIVERED = Family(
    "orders_pipeline_alerts_undelivered_oldest_age_seconds",
    "gauge",
    "For how long the oldest open alert waits that nobody could be told of; 0 where there is none.",
)

# A kind's name is the first part of the key; of some it has two.
_OPEN = text("""
    select kind, severity, count(*) as alerts from (
      select severity, case when split_part(key, ':', 1) || ':' || split_part(key, ':', 2) = any(:kinds)
        then split_part(key, ':', 1) || ':' || split_part(key, ':', 2) else split_part(key, ':', 1) end as kind
      from pipeline.alerts where closed_at is null and account_id = :account_id limit :at_most) as open
    group by kind, severity
""")
_UNDELIVERED = text("""
    select coalesce(extract(epoch from clock_timestamp() - min(opened_at)), 0)::float from (
      select opened_at from pipeline.alerts where delivered_at is null and closed_at is null
      limit :at_most) as waiting
""")


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    for account_id in (NOBODY, *account_ids):
        values = {"account_id": account_id, "kinds": sorted(KINDS), "at_most": COUNTED_AT_MOST}
        rows = connection.execute(_OPEN, values).all()
        yield from summed(
            Sample(OPEN, (account_id, bounded(row.kind, KINDS, ()), bounded(row.severity, SEVERITIES, ())), row.alerts)
            for row in rows
        )
    waiting = connection.execute(_UNDELIVERED, {"at_most": COUNTED_AT_MOST}).scalar_one()
    yield Sample(UNDELIVERED, (), waiting)


GROUP = Group("alerts", (OPEN, UNDELIVERED), _read)
