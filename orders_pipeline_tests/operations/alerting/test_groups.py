"""Alerts of one cause are one group, and what a paused dependency holds up belongs to the pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orders_pipeline.alerts.kinds import Severity
from orders_pipeline.operations.alerting.groups import OpenAlert, group
from orders_pipeline.operations.alerts import ALERTS

KINDS = {kind.name: kind for kind in ALERTS}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def alert(
    kind: str, subject: str = "", *, minutes_ago: int = 5, severity: Severity = "error", stands_for: int = 1,
    account: str = "A",
) -> OpenAlert:  # fmt: skip
    opened_at = NOW - timedelta(minutes=minutes_ago)
    message = f"{kind} {subject}"
    return OpenAlert(account, kind, subject, severity, message, "Mend it.", opened_at, stands_for=stands_for)


def told(_: OpenAlert) -> bool:
    return True


def test_alerts_of_one_kind_are_one_group_and_causes_are_one_each():
    found = [alert("order.refused", str(n)) for n in range(300)]
    found += [alert("run.failed", job) for job in ("sync_orders", "refresh_reports")]
    groups = {one.key: one for one in group(found, KINDS, told)}
    assert groups.keys() == {"order.refused", "run.failed:sync_orders", "run.failed:refresh_reports"}
    assert groups["order.refused"].count == 300


def test_what_a_paused_dependency_holds_up_is_told_with_the_pause():
    found = [
        alert("dependency.paused", "warehouse"),
        *[alert("order.late", str(n), minutes_ago=2) for n in range(50)],
        # So many more, which are only counted.
        alert("order.late", "*", stands_for=240, minutes_ago=1),
        *[alert("work.parked", f"push:{n}", minutes_ago=1) for n in range(10)],
        # Of another dependency, of another account, and from long before.
        alert("work.parked", "fetch:1", minutes_ago=1),
        alert("order.late", "9", account="B", minutes_ago=1),
        alert("order.late", "10", minutes_ago=60),
        alert("order.refused", "11", minutes_ago=1),
    ]
    groups = {one.key: one for one in group(found, KINDS, told)}
    assert groups.keys() == {"dependency.paused:warehouse", "work.parked", "order.late", "order.refused"}
    assert groups["dependency.paused:warehouse"].count == 1 + 50 + 240 + 10
    assert [one.subject for one in groups["work.parked"].alerts] == ["fetch:1"]
    assert {one.subject for one in groups["order.late"].alerts} == {"9", "10"}


def test_a_pause_of_which_nobody_is_told_stands_for_nothing_else():
    found = [alert("dependency.paused", "warehouse"), alert("order.late", "1", minutes_ago=2)]
    groups = group(found, KINDS, lambda one: one.kind != "dependency.paused")
    assert [(one.key, one.count) for one in groups] == [("dependency.paused:warehouse", 1), ("order.late", 1)]


def test_once_the_pause_is_over_what_is_left_is_a_cause_of_its_own():
    (late,) = group([alert("order.late", "1")], KINDS, told)
    assert (late.key, list(late.consequences)) == ("order.late", [])


def test_the_worst_and_oldest_stand_first_and_a_group_is_as_bad_as_its_worst():
    found = [alert("order.no_address", "1", severity="warning"), alert("order.no_address", "2", minutes_ago=1)]
    found += [alert("message.parked", "x", severity="warning", minutes_ago=90)]
    found += [alert("dependency.paused", "amazon", severity="warning"), alert("package.late", "1:p")]
    groups = group(found, KINDS, told)
    assert [(one.key, one.severity) for one in groups] == [
        ("dependency.paused:amazon", "error"), ("order.no_address", "error"), ("message.parked:x", "warning"),
    ]  # fmt: skip
    assert [one.subject for one in groups[1].alerts] == ["2", "1"]


def test_an_alert_of_a_kind_that_is_gone_is_told_all_the_same():
    (old,) = group([alert("order.forgotten", "1")], KINDS, told)
    assert old.key == "order.forgotten"
