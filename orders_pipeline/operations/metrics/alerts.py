"""What needs a person now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES
from orders_pipeline.operations.alerting.rows import HEARTBEAT
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded, summed

KINDS = frozenset(kind.name for kind in ALERTS)
COUNTED_AT_MOST = 100_000
CHANNELS = frozenset({"slack", "email", HEARTBEAT})

OPEN = Family(
    "orders_pipeline_alerts_open",
    "gauge",
    'Open alerts by kind; those of no account stand under account "*".',
    ("account", "kind", "severity"),
)
FAILING = Family(
    "orders_pipeline_alert_channel_failing_seconds",
    "gauge",
    "For how long a channel that tells of alerts does not take them: slack, email, heartbeat; 0 where it does.",
    ("channel",),
)

# A kind's name is the first part of the key; of some it has two.
_OPEN = text("""
    select kind, severity, count(*) as alerts from (
      select severity, case when split_part(key, ':', 1) || ':' || split_part(key, ':', 2) = any(:kinds)
        then split_part(key, ':', 1) || ':' || split_part(key, ':', 2) else split_part(key, ':', 1) end as kind
      from pipeline.alerts where closed_at is null and account_id = :account_id limit :at_most) as open
    group by kind, severity
""")
_FAILING = text("""
    select channel, coalesce(extract(epoch from clock_timestamp() - failing_since), 0)::float as seconds
    from pipeline.alert_channels order by channel
""")


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    for account_id in (NOBODY, *account_ids):
        values = {"account_id": account_id, "kinds": sorted(KINDS), "at_most": COUNTED_AT_MOST}
        rows = connection.execute(_OPEN, values).all()
        yield from summed(
            Sample(OPEN, (account_id, bounded(row.kind, KINDS, ()), bounded(row.severity, SEVERITIES, ())), row.alerts)
            for row in rows
        )
    for row in connection.execute(_FAILING):
        if row.channel in CHANNELS:
            yield Sample(FAILING, (row.channel,), max(row.seconds, 0.0))


GROUP = Group("alerts", (OPEN, FAILING), _read)
