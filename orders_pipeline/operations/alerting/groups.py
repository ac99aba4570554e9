"""Open alerts as causes: what people are told of is one cause, however many orders it concerns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from orders_pipeline.alerts.kinds import SEVERITIES, AlertKind, Severity, is_worse, kind_name
from orders_pipeline.alerts.reconcile import THE_OTHERS
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.operations.alerting.rules import AlertRules
from orders_pipeline.work.alerts import PAUSED

# A pause is an alert five minutes after it began; what began to wait for it meanwhile is its consequence too.
PAUSE_IS_SEEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One alert as it is stored. `changed_at`: when it was told anew, having become worse or other."""

    account_id: str
    kind: str
    subject: str
    severity: Severity
    message: str
    action: str
    opened_at: datetime
    link: str | None = None
    stands_for: int = 1
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One cause: the alerts that tell of it, the worst and oldest first. `consequences`: those of other kinds."""

    key: str
    kind: str
    severity: Severity
    alerts: Sequence[OpenAlert]
    consequences: Sequence[OpenAlert] = ()

    @property
    def count(self) -> int:
        """How many alerts it has, those that are only counted among them."""
        return sum(one.stands_for for one in (*self.alerts, *self.consequences))

    @property
    def opened_at(self) -> datetime:
        return min(one.opened_at for one in (*self.alerts, *self.consequences))

    def has_news_since(self, told_at: datetime) -> bool:
        """Whether one was opened since, or became another one than people were told of."""
        return any(
            one.opened_at > told_at or (one.changed_at is not None and one.changed_at > told_at)
            for one in (*self.alerts, *self.consequences)
        )


def read_alerts(rows: Iterable[AnyRow], kinds: Mapping[str, AlertKind], rules: AlertRules) -> list[OpenAlert]:
    """Stored alerts with their kinds, and the severity that the rules give them."""
    found: list[OpenAlert] = []
    for row in rows:
        kind = kind_name(row.key, kinds)
        found.append(
            OpenAlert(
                account_id=row.account_id,
                kind=kind,
                subject=row.key[len(kind) + 1 :],
                severity=rules.severity_of(kind, _severity(row.severity)),
                message=row.message,
                action=row.what_to_do,
                opened_at=row.opened_at,
                link=row.link,
                stands_for=row.stands_for,
                # Told before it was opened cannot be: it was told, and then told anew.
                changed_at=row.delivered_at if row.delivered_at and row.delivered_at > row.opened_at else None,
            )
        )
    return found


def group(
    found: Sequence[OpenAlert], kinds: Mapping[str, AlertKind], is_told: Callable[[OpenAlert], bool]
) -> list[Group]:
    """The causes, the worst first, then the oldest.

    `is_told`: whether who gets these causes is told of alerts such as this one: a pause that is muted stands for
    nothing else.
    """
    paused = {
        (one.account_id, one.subject): one.opened_at - PAUSE_IS_SEEN_AFTER
        for one in found
        if one.kind == PAUSED.name and is_told(one)
    }
    own: defaultdict[str, list[OpenAlert]] = defaultdict(list)
    caused: defaultdict[str, list[OpenAlert]] = defaultdict(list)
    counted = [one for one in found if one.subject == THE_OTHERS]
    for one in found:
        if one in counted:
            continue
        if (dependency := _pause_behind(one, kinds.get(one.kind), paused)) is not None:
            caused[f"{PAUSED.name}:{dependency}"].append(one)
        else:
            own[_key(one, kinds.get(one.kind))].append(one)
    for one in counted:
        # Those that are only counted are where most of their kind are that are told of one by one.
        places = [caused[key] for key in caused] + [own[one.kind]]
        max(places, key=lambda place: sum(other.kind == one.kind for other in place)).append(one)
    groups = [_group(key, alerts, caused.get(key, [])) for key, alerts in own.items() if alerts]
    return sorted(groups, key=lambda one: (-SEVERITIES.index(one.severity), one.opened_at, one.key))


def _group(key: str, alerts: Sequence[OpenAlert], consequences: Sequence[OpenAlert]) -> Group:
    # One that only counts others says nothing of them.
    worst_first = sorted(
        alerts,
        key=lambda one: (one.subject == THE_OTHERS, -SEVERITIES.index(one.severity), one.opened_at, one.subject),
    )
    severity = worst_first[0].severity
    for one in consequences:
        severity = one.severity if is_worse(one.severity, severity) else severity
    return Group(key, worst_first[0].kind, severity, worst_first, sorted(consequences, key=lambda one: one.opened_at))


def _key(one: OpenAlert, kind: AlertKind | None) -> str:
    return f"{one.kind}:{one.subject}" if kind is not None and kind.is_cause and one.subject else one.kind


def _pause_behind(one: OpenAlert, kind: AlertKind | None, paused: Mapping[tuple[str, str], datetime]) -> str | None:
    """The paused dependency that this alert is a consequence of."""
    if kind is None or kind.waits_for is None:
        return None
    for dependency in sorted(kind.waits_for(one.subject)):
        since = paused.get((one.account_id, dependency))
        if since is not None and one.opened_at >= since:
            return dependency
    return None


def _severity(stored: str) -> Severity:
    # Of a release that had others, it is taken for the worst.
    known: Mapping[str, Literal["info", "warning", "error"]] = {"info": "info", "warning": "warning"}
    return known.get(stored, "error")
