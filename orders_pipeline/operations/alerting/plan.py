"""What a channel is to be told now: a decision from what is open, what it was told, the rules and the time.

Nothing else goes into it, and nothing comes of it but the list: who asks again before anything was told gets the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from orders_pipeline.alerts.kinds import QUIET_FOR, SEVERITIES, Severity, is_worse
from orders_pipeline.operations.alerting.groups import Group
from orders_pipeline.operations.alerting.moments import newest_moment
from orders_pipeline.operations.alerting.rules import AlertRules, Rule

# A cause that ended is over once its alerts cannot return as the same ones any more, a look or two later.
OVER_AFTER = QUIET_FOR + timedelta(minutes=1)
# It grew by much, and is told at once: twice as many as were told of, and ten more.
GROWN_TIMES, GROWN_BY = 2, 10
ONE_DAY = timedelta(days=1)
# Stands among the causes for the digest of a day, which is never over.
DIGEST = "digest"


class Event(StrEnum):
    """Why a message goes out."""

    NEW = "new"
    WORSE = "worse"
    GREW = "grew"
    MORE = "more"
    STILL = "still open"
    OVER = "over"
    # Opened and closed while nobody could be told, or in quiet hours; all such are one message.
    MISSED = "missed"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Told:
    """What a channel knows of one cause. `told_at` is None while it waits to be told."""

    key: str
    kind: str
    severity: Severity
    words: str
    alerts: int
    opened_at: datetime
    absent_since: datetime | None = None
    told_at: datetime | None = None
    told_severity: Severity | None = None
    told_words: str | None = None
    told_alerts: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """One message. `group` is None where none of it is open any more."""

    event: Event
    severity: Severity
    group: Group | None = None
    told: Sequence[Told] = ()


def plan(
    channel: str, groups: Sequence[Group], told: Mapping[str, Told], rules: AlertRules, now: datetime
) -> list[Planned]:
    """The messages of this channel, in the order in which they go out: the worst first. `now`: aware."""
    planned: list[Planned] = []
    open_keys = {group.key for group in groups}
    for group in groups:
        rule = rules.rule_of(group.kind, group.severity)
        if channel not in rule.channels or rules.is_held_back(group.severity, now):
            continue
        known = told.get(group.key)
        if (event := _event(group, known, rule, now)) is not None:
            planned.append(Planned(event, group.severity, group, () if known is None else (known,)))
    missed: list[Told] = []
    for one in told.values():
        if one.key in open_keys or one.kind == DIGEST:
            continue
        severity = one.told_severity or one.severity
        if rules.is_held_back(severity, now):
            continue
        if one.told_at is None:
            missed.append(one)
        elif one.absent_since is not None and now - one.absent_since >= OVER_AFTER:
            planned.append(Planned(Event.OVER, severity, told=(one,)))
    if missed:
        worst = max(missed, key=lambda one: SEVERITIES.index(one.severity))
        planned.append(Planned(Event.MISSED, worst.severity, told=tuple(missed)))
    planned.sort(key=lambda one: -SEVERITIES.index(one.severity))
    if is_digest_due(channel, told.get(DIGEST), rules, now):
        planned.append(Planned(Event.DIGEST, "info"))
    return planned


def is_digest_due(channel: str, told: Told | None, rules: AlertRules, now: datetime) -> bool:
    """Whether the digest of the newest of its times was not sent: once each, also after a night without power."""
    if rules.digest is None or channel not in rules.digest.channels:
        return False
    due_at = newest_moment(now, rules.digest.at, rules.zone)
    return told is None or told.told_at is None or told.told_at < due_at


def _until_reminder(wanted: timedelta, age: timedelta) -> timedelta:
    """Some causes last for weeks, since a package has to come back: after the first day once a day is enough."""
    return wanted if age < ONE_DAY else max(wanted, ONE_DAY)


def _event(group: Group, known: Told | None, rule: Rule, now: datetime) -> Event | None:
    if known is None or known.told_at is None:
        return Event.NEW
    since = now - known.told_at
    if known.told_severity is not None and is_worse(group.severity, known.told_severity):
        return Event.WORSE
    if group.count >= max(GROWN_TIMES * known.told_alerts, known.told_alerts + GROWN_BY):
        return Event.GREW
    if since >= rule.more_after and (group.count > known.told_alerts or group.has_news_since(known.told_at)):
        return Event.MORE
    if rule.remind_after is not None and since >= _until_reminder(rule.remind_after, now - known.opened_at):
        return Event.STILL
    return None
