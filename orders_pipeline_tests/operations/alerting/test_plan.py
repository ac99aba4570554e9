"""What a channel is told: a table of what is open, what it was told, the rules and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.alerts.kinds import Severity
from orders_pipeline.operations.alerting.groups import Group, OpenAlert
from orders_pipeline.operations.alerting.plan import DIGEST, OVER_AFTER, Event, Told, plan
from orders_pipeline.operations.alerting.rules import AlertRules

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# Of the defaults: error reminds after 4 h and tells of more after 1 h, warning after 24 h and 4 h, info never.
KIND = "order.late"


def group(count: int = 1, severity: Severity = "error", *, newest: timedelta = 1_000 * HOUR, key: str = KIND) -> Group:
    """`newest`: how long ago its newest alert was opened; the others long before."""
    ages = [newest, *[2_000 * HOUR] * (count - 1)]
    alerts = [OpenAlert("A", KIND, str(n), severity, f"Order {n}.", "Ship.", NOW - age) for n, age in enumerate(ages)]
    return Group(key, KIND, severity, alerts)


def told(
    ago: timedelta | None, *, alerts: int = 1, severity: Severity = "error", key: str = KIND,
    age: timedelta = 20 * HOUR, **more: Any,
) -> Told:  # fmt: skip
    return Told(
        key, KIND, severity, "Words.", alerts, NOW - age, told_at=None if ago is None else NOW - ago,
        told_severity=None if ago is None else severity, told_words="Words.", told_alerts=alerts, **more,
    )  # fmt: skip


def events(groups: list[Group], known: list[Told], rules: AlertRules | None = None, now: datetime = NOW) -> list[Event]:
    return [one.event for one in plan("slack", groups, {one.key: one for one in known}, rules or AlertRules(), now)]


@pytest.mark.parametrize(
    ("opened", "known", "expected"),
    [
        # What nobody was told of.
        (group(), None, Event.NEW),
        (group(), told(None), Event.NEW),
        # Told, and still the same: nothing, until the reminder.
        (group(), told(MINUTE), None),
        (group(), told(4 * HOUR - MINUTE), None),
        (group(), told(4 * HOUR), Event.STILL),
        (group(severity="warning"), told(23 * HOUR, severity="warning"), None),
        (group(severity="warning"), told(24 * HOUR, severity="warning"), Event.STILL),
        # After the first day once a day.
        (group(), told(5 * HOUR, age=30 * HOUR), None),
        (group(), told(24 * HOUR, age=30 * HOUR), Event.STILL),
        (group(severity="info"), told(900 * HOUR, severity="info"), None),
        # Worse is told at once, better is not told.
        (group(severity="error"), told(MINUTE, severity="warning"), Event.WORSE),
        (group(severity="warning"), told(MINUTE, severity="error"), None),
        # Growth by much, at once: twice as many, and ten more.
        (group(300), told(MINUTE, alerts=1), Event.GREW),
        (group(11), told(MINUTE, alerts=1), Event.GREW),
        (group(10), told(MINUTE, alerts=1), None),
        (group(59), told(MINUTE, alerts=30), None),
        (group(60), told(MINUTE, alerts=30), Event.GREW),
        # Once: it was told with as many.
        (group(300), told(MINUTE, alerts=300), None),
        # Some more are told together, an hour after what was told last.
        (group(2, newest=MINUTE), told(HOUR - MINUTE, alerts=1), None),
        (group(2, newest=MINUTE), told(HOUR, alerts=1), Event.MORE),
        (group(1, newest=MINUTE), told(HOUR, alerts=1), Event.MORE),
        (group(1, newest=2 * HOUR), told(HOUR, alerts=1), None),
        (group(1, newest=2 * HOUR), told(HOUR, alerts=3), None),
    ],
)
def test_what_is_open_is_told_when_it_is_news(opened: Group, known: Told | None, expected: Event | None):
    assert events([opened], [] if known is None else [known]) == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        # It may return at once.
        (told(HOUR, absent_since=NOW - OVER_AFTER + MINUTE), []),
        (told(HOUR, absent_since=NOW - OVER_AFTER), [Event.OVER]),
        (told(None, absent_since=NOW), [Event.MISSED]),
    ],
)
def test_what_ended_is_told_once_it_is_over(known: Told, expected: list[Event]):
    assert events([], [known]) == expected


def test_all_that_was_missed_is_one_message():
    known = [told(None, key=f"k{number}", absent_since=NOW) for number in range(40)]
    (missed,) = plan("slack", [], {one.key: one for one in known}, AlertRules(), NOW)
    assert len(missed.told) == 40


NIGHT = AlertRules.model_validate({"quiet_hours": {"from": "22:00", "until": "07:00"}, "time_zone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("severity", "hour", "expected"),
    [
        # Berlin is an hour ahead.
        ("error", 23, [Event.NEW]),
        ("warning", 20, [Event.NEW]),
        ("warning", 21, []),
        ("warning", 5, []),
        ("warning", 6, [Event.NEW]),
    ],
)
def test_in_quiet_hours_only_the_severe_goes_out(severity: Severity, hour: int, expected: list[Event]):
    assert events([group(severity=severity)], [], NIGHT, NOW.replace(hour=hour)) == expected


def test_in_quiet_hours_the_end_of_what_is_not_severe_waits_too():
    night, day = NOW.replace(hour=23), NOW.replace(hour=23) + 8 * HOUR
    for known, event in (
        (told(HOUR, severity="warning", absent_since=NOW), Event.OVER),
        (told(None, severity="warning", absent_since=NOW), Event.MISSED),
    ):
        assert events([], [known], NIGHT, night) == []
        assert events([], [known], NIGHT, day) == [event]
    assert events([], [told(HOUR, absent_since=NOW)], NIGHT, night) == [Event.OVER]


def test_a_rule_of_a_kind_stands_before_that_of_its_severity():
    rules = AlertRules.model_validate(
        {
            "severities": {"error": {"channels": ["email"], "remind_after": "1h"}},
            "kinds": {KIND: {"channels": ["slack"]}, "order.refused": {"channels": [], "remind_after": "never"}},
        }
    )
    assert rules.rule_of(KIND, "error").channels == ("slack",)
    assert rules.rule_of(KIND, "error").remind_after == HOUR
    assert rules.rule_of("order.refused", "error").remind_after is None
    assert events([group()], [], rules) == [Event.NEW]
    other = Group("package.late", "package.late", "error", group().alerts)
    assert events([other], [], rules) == [], "it goes by email"


def test_the_worst_goes_first_and_the_digest_last():
    rules = AlertRules.model_validate({"digest": {"at": "08:00"}})
    known = [told(HOUR, key="gone", severity="warning", absent_since=NOW - HOUR)]
    opened = [group(severity="info", key="i"), group(severity="error", key="e")]
    assert events(opened, known, rules) == [Event.NEW, Event.OVER, Event.NEW, Event.DIGEST]


@pytest.mark.parametrize(
    ("told_hours_ago", "is_due"),
    # It is noon; the newest 08:00 was four hours ago.
    [(None, True), (3, False), (4, False), (5, True), (24 * 9, True)],
)
def test_a_digest_is_due_once_after_each_of_its_times(told_hours_ago: int | None, is_due: bool):
    rules = AlertRules.model_validate({"digest": {"at": "08:00", "channels": ["slack"]}})
    known = [] if told_hours_ago is None else [told(told_hours_ago * HOUR, key=DIGEST)]
    known = [Told(DIGEST, DIGEST, "info", "", 0, NOW, told_at=one.told_at) for one in known]
    assert events([], known, rules) == ([Event.DIGEST] if is_due else [])
    elsewhere = AlertRules.model_validate({"digest": {"at": "08:00", "channels": ["email"]}})
    assert events([], [], elsewhere) == []
