"""Queries of the channels, of what each was told, and of the rules as they were last read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.alerts.kinds import SEVERITIES
from orders_pipeline.alerts.tables import alerts
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.database.locks import hold_name
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.operations.alerting.tables import alert_channels, alert_deliveries, alert_rules

# Not a channel for alerts, but leased and put off as they are.
HEARTBEAT = "heartbeat"
# Longer than a process uses a channel in one call; one that died gives it back after this.
LEASE = timedelta(minutes=1)
# A channel that the settings do not have may be another process's; what nobody used for so long is nobody's.
FORGOTTEN_AFTER = timedelta(hours=1)
# The longest that a channel is left alone, whatever it asked for. What is put off for longer was by a wrong clock.
LONGEST_WAIT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One cause that a channel is to know of: how bad it is, in which words, and how many alerts it has."""

    group_key: str
    kind: str
    severity: str
    words: str
    alerts: int
    opened_at: datetime


# --- alerts


def every_open_alert(connection: Connection) -> Sequence[AnyRow]:
    """Open alerts of all accounts and of none, the oldest first."""
    statement = select(alerts).where(alerts.c.closed_at.is_(None)).order_by(alerts.c.opened_at, alerts.c.alert_id)
    return list(connection.execute(statement))


# --- what each channel was told


def note_wanted(
    connection: Connection, wanted: Mapping[str, Collection[Wanted]], open_keys: Mapping[str, Collection[str]]
) -> None:
    """Bring the account of each channel into line with what it is to know of; `open_keys`: each cause there is, by
    channel.

    What it was not told yet waits; what is over is noted as such, since it may return. What goes elsewhere now is
    forgotten if it was not told: else it may come back, and its end is told. A channel that no process used for an
    hour is forgotten if it is not configured here.
    """
    hold_name(connection, "alert deliveries")
    _forget_channels(connection, [*wanted, HEARTBEAT])
    for channel, groups in wanted.items():
        keys = {group.group_key for group in groups}
        of_channel = alert_deliveries.c.channel == channel
        elsewhere = [key for key in open_keys[channel] if key not in keys]
        connection.execute(
            delete(alert_deliveries).where(
                of_channel, alert_deliveries.c.group_key.in_(elsewhere), alert_deliveries.c.told_at.is_(None)
            )
        )
        if groups:
            connection.execute(_WANTED, {"channel": channel, **_columns(groups)})
        connection.execute(
            update(alert_deliveries)
            .where(
                of_channel,
                alert_deliveries.c.group_key.not_in([*keys, *elsewhere]),
                alert_deliveries.c.absent_since.is_(None),
            )
            .values(absent_since=func.clock_timestamp())
        )


def _forget_channels(connection: Connection, configured: Collection[str]) -> None:
    now = func.clock_timestamp()
    # What is leased for longer was by a wrong clock.
    used = alert_channels.c.leased_until.between(now - FORGOTTEN_AFTER, now + LEASE)
    connection.execute(delete(alert_channels).where(alert_channels.c.channel.not_in(configured), used.is_not(True)))
    known = select(alert_channels.c.channel)
    connection.execute(
        delete(alert_deliveries).where(
            alert_deliveries.c.channel.not_in(configured), alert_deliveries.c.channel.not_in(known)
        )
    )


def deliveries(connection: Connection, channel: str) -> Sequence[AnyRow]:
    """What this channel was told of, or is to be told of."""
    return list(
        connection.execute(
            select(alert_deliveries)
            .where(alert_deliveries.c.channel == channel)
            .order_by(alert_deliveries.c.opened_at, alert_deliveries.c.group_key)
        )
    )


def note_told(connection: Connection, channel: str, group: Wanted) -> None:
    """The channel was told of the cause as it is now. The digest is one too: it is told and never over."""
    told = {
        "told_at": func.clock_timestamp(),
        "told_severity": group.severity,
        "told_words": group.words,
        "told_alerts": group.alerts,
    }
    values = {
        "group_key": group.group_key, "kind": group.kind, "severity": group.severity, "words": group.words,
        "alerts": group.alerts, "opened_at": group.opened_at,
    }  # fmt: skip
    statement = insert(alert_deliveries).values(channel=channel, messages=1, **values, **told)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(alert_deliveries.primary_key),
            set_={**told, "messages": alert_deliveries.c.messages + 1},
        )
    )


def forget_told(connection: Connection, channel: str, keys: Collection[str]) -> None:
    """The channel was told that these are over."""
    connection.execute(
        delete(alert_deliveries).where(
            alert_deliveries.c.channel == channel, alert_deliveries.c.group_key.in_(list(keys))
        )
    )


# --- channels


def lease_channel(connection: Connection, channel: str, *, leave_for: timedelta | None = None) -> AnyRow | None:
    """This process alone uses the channel now; None while another does, or it is left alone.

    `leave_for`: nobody uses it again before that, whatever comes of this use.
    """
    now = func.clock_timestamp()
    lease = {"leased_until": now + LEASE}
    if leave_for is not None:
        lease |= {"next_try_at": now + leave_for}
    free = [
        or_(column.is_(None), ~column.between(now, now + longest))
        for column, longest in ((alert_channels.c.leased_until, LEASE), (alert_channels.c.next_try_at, LONGEST_WAIT))
    ]
    statement = insert(alert_channels).values(channel=channel, **lease)
    return connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(alert_channels.primary_key), set_=lease, where=free[0] & free[1]
        ).returning(alert_channels)
    ).one_or_none()


def return_channel(connection: Connection, channel: str, *, has_delivered: bool, is_idle: bool = False) -> None:
    """It is free again, and took a message (`has_delivered`), or had none to take (`is_idle`): nothing waits for it."""
    # Not null: it tells when the channel was used last.
    values: dict[str, object] = {"leased_until": func.clock_timestamp()}
    if has_delivered:
        values["delivered_at"] = func.clock_timestamp()
    if has_delivered or is_idle:
        values |= {"failing_since": None, "failure": None, "attempts": 0}
    connection.execute(update(alert_channels).where(alert_channels.c.channel == channel).values(**values))


def note_failure(
    connection: Connection, channel: str, failure: str, wait: timedelta, *, is_in_use: bool = False
) -> None:
    """It took no message, and why; it is left alone for `wait`. `is_in_use`: it stays leased, for a call goes on."""
    now = func.clock_timestamp()
    connection.execute(
        update(alert_channels)
        .where(alert_channels.c.channel == channel)
        .values(
            leased_until=alert_channels.c.leased_until if is_in_use else now,
            next_try_at=now + min(wait, LONGEST_WAIT),
            attempts=alert_channels.c.attempts + 1,
            failing_since=func.coalesce(alert_channels.c.failing_since, now),
            failure=bounded_text(failure, LONGEST_ERROR),
        )
    )


def failure_of(connection: Connection, channel: str) -> str | None:
    """Why the channel took nothing when it was last used; None if it did."""
    found = select(alert_channels.c.failure).where(alert_channels.c.channel == channel)
    return connection.execute(found).scalar_one_or_none()


def failing_channels(connection: Connection) -> set[str]:
    """The channels that took nothing when they were last used."""
    failing = select(alert_channels.c.channel).where(alert_channels.c.failing_since.is_not(None))
    return set(connection.execute(failing).scalars())


def channel_states(connection: Connection) -> Sequence[AnyRow]:
    """(channel, state, delivered_at, failing_since, failure, waiting): each channel, and how much it is to be told."""
    return list(connection.execute(_STATES))


# --- rules


def last_good_rules(connection: Connection, path: str) -> str | None:
    """What this file said when it was last right; None if it never was."""
    return connection.execute(select(alert_rules.c.content).where(alert_rules.c.path == path)).scalar_one_or_none()


def keep_good_rules(connection: Connection, path: str, content: str) -> None:
    """The file is right, and says this. Writes nothing where that was known."""
    connection.execute(delete(alert_rules).where(alert_rules.c.path != path))
    statement = insert(alert_rules).values(path=path, content=content)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(alert_rules.primary_key),
            set_={"content": content, "problem": None, "read_at": func.clock_timestamp()},
            where=alert_rules.c.content.is_distinct_from(content) | alert_rules.c.problem.is_not(None),
        )
    )


def note_rules_problem(connection: Connection, path: str | None, problem: str | None) -> None:
    """The file is wrong, and how; without a path, there is none. Writes nothing where that was known."""
    if path is None:
        connection.execute(delete(alert_rules))
        return
    connection.execute(delete(alert_rules).where(alert_rules.c.path != path))
    shown = bounded_text(problem, LONGEST_ERROR)
    statement = insert(alert_rules).values(path=path, problem=shown)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(alert_rules.primary_key),
            set_={"problem": shown},
            where=alert_rules.c.problem.is_distinct_from(shown),
        )
    )


# --- statements

# Of what was not told yet, the words are those of now; the worst that it was counts, should it be over before.
_SEVERITY = f"""case when d.told_at is null and array_position(array{list(SEVERITIES)}, d.severity)
    > array_position(array{list(SEVERITIES)}, excluded.severity) then d.severity else excluded.severity end"""
_WANTED = text(f"""
insert into pipeline.alert_deliveries as d (channel, group_key, kind, severity, words, alerts, opened_at)
select :channel, v.group_key, v.kind, v.severity, v.words, v.alerts, v.opened_at
from unnest(
    cast(:keys as text[]), cast(:kinds as text[]), cast(:severities as text[]), cast(:words as text[]),
    cast(:alerts as integer[]), cast(:opened as timestamptz[])
  ) as v(group_key, kind, severity, words, alerts, opened_at)
on conflict (channel, group_key) do update set
  severity = {_SEVERITY}, words = excluded.words, alerts = greatest(d.alerts, excluded.alerts),
  absent_since = null
where (d.severity, d.words, d.absent_since) is distinct from ({_SEVERITY}, excluded.words, null)
  or d.alerts < excluded.alerts
""")  # noqa: S608  # our own words

_STATES = text("""
select c.channel, case when c.failing_since is not null then 'failing'
    when c.delivered_at is not null then 'works' else 'not used yet' end as state,
  c.delivered_at, c.failing_since, c.failure,
  (select count(*) from pipeline.alert_deliveries d where d.channel = c.channel and d.told_at is null) as waiting
from pipeline.alert_channels c order by c.channel
""")


def _columns(groups: Collection[Wanted]) -> dict[str, object]:
    return {
        "keys": [group.group_key for group in groups],
        "kinds": [group.kind for group in groups],
        "severities": [group.severity for group in groups],
        "words": [group.words for group in groups],
        "alerts": [group.alerts for group in groups],
        "opened": [group.opened_at for group in groups],
    }
