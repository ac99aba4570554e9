"""What a message says: the same for every channel, each of which only sets it.

Each word of it was bounded and cleaned when the alert was stored; it passes the log's filter once more.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from orders_pipeline.alerts.kinds import NOBODY, AlertKind
from orders_pipeline.audit.redaction import redact
from orders_pipeline.model.durations import duration
from orders_pipeline.model.untrusted_text import bounded_text, escaped
from orders_pipeline.operations.alerting.groups import Group, OpenAlert
from orders_pipeline.operations.alerting.plan import Event, Planned, Told
from orders_pipeline.operations.alerting.rows import Wanted

# Of a cause with many alerts, so many are shown.
ALERTS_SHOWN = 3
SUBJECTS_SHOWN = 5
MISSED_SHOWN = 10
LONGEST_LINE = 500
RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True, slots=True)
class Link:
    """Where to look further; without `url` its words alone are shown."""

    words: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Base URLs of the web port and of the runbook; None: not linked to."""

    ui: str | None = None
    runbook: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What one message says. `thread`: the same for every message about one cause, from its opening to its end."""

    title: str
    lines: Sequence[str] = ()
    links: Sequence[Link] = ()
    thread: str = ""
    number: int = 0

    @property
    def text(self) -> str:
        return "\n".join((self.title, *self.lines))


def words_of(group: Group) -> str:
    """The cause in one line, which does not change while it stays as it is."""
    first = group.alerts[0].message
    if len(group.alerts) == 1 and group.alerts[0].stands_for == 1:
        return _clean(first)
    number = sum(one.stands_for for one in group.alerts)
    return _clean(f"{number} alerts {group.kind}. The first: {first}")


def wanted(group: Group) -> Wanted:
    """What a channel is to know of this cause."""
    return Wanted(group.key, group.kind, group.severity, words_of(group), group.count, group.opened_at)


def compose(planned: Planned, kinds: Mapping[str, AlertKind], places: Places, now: datetime) -> Message:
    """The message about one cause, about one that is over, or about those that were missed."""
    known = planned.told[0] if planned.told else None
    if planned.event is Event.MISSED:
        return _missed(planned.told, places)
    if planned.group is None:
        assert known is not None
        ended_at = known.absent_since or now
        after = duration((ended_at - known.opened_at).total_seconds())
        return Message(
            f"[over] {known.told_words or known.words}",
            (f"It was open for {after}.",),
            _links(known.kind, (), kinds, places),
            _thread(known.key, known.opened_at),
            known.messages,
        )
    group = planned.group
    return Message(
        f"[{_why(planned, group, known, now)}] {words_of(group)}",
        _lines(group, now),
        _links(group.kind, group.alerts, kinds, places),
        _thread(group.key, group.opened_at if known is None else known.opened_at),
        0 if known is None else known.messages,
    )


def refused_text(message: Message, severity: str, places: Places) -> Message:
    """In the place of a message whose text a channel does not take."""
    return Message(
        f"[{severity}] An alert has a text that is not taken here. It is on the order board, and in the log.",
        links=_board(places),
        thread=message.thread,
        number=message.number,
    )


def runbook_link(section: str, places: Places) -> Link:
    """The section of the runbook, as GitHub and most others make an anchor of a heading."""
    anchor = re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-")
    return (
        Link(f"Runbook: {section}", f"{places.runbook}#{anchor}")
        if places.runbook
        else Link(f'Runbook: {RUNBOOK}, "{section}"')
    )


def _why(planned: Planned, group: Group, known: Told | None, now: datetime) -> str:
    if known is None or planned.event is Event.NEW:
        return group.severity
    match planned.event:
        case Event.WORSE:
            return f"{group.severity}, was {known.told_severity}"
        case Event.GREW:
            return f"{group.severity}, {group.count} now, {known.told_alerts} when last told"
        case Event.MORE:
            return f"{group.severity}, more of it"
        case _:
            return f"{group.severity}, still open after {duration((now - group.opened_at).total_seconds())}"


def _lines(group: Group, now: datetime) -> list[str]:
    lines: list[str] = []
    others = group.alerts[1:]
    if others:
        lines += [f"• {_line(one.message)}" for one in others[: ALERTS_SHOWN - 1]]
        if (more := sum(one.stands_for for one in others[ALERTS_SHOWN - 1 :])) > 0:
            named = [one.subject for one in others[ALERTS_SHOWN - 1 :] if one.stands_for == 1][:SUBJECTS_SHOWN]
            lines.append(f"… and {more} more{': ' if named else ''}{', '.join(named)}")
        lines.append(f"The oldest is open for {duration((now - group.opened_at).total_seconds())}.")
    if group.consequences:
        by_kind = Counter[str]()
        for one in group.consequences:
            by_kind[one.kind] += one.stands_for
        named = [one.subject for one in group.consequences if one.stands_for == 1][:SUBJECTS_SHOWN]
        counted = ", ".join(f"{number} {kind}" for kind, number in by_kind.most_common())
        lines.append(f"What waits for it: {counted} ({', '.join(named)}{' …' if len(group.consequences) > 5 else ''}).")
    accounts = sorted({one.account_id for one in (*group.alerts, *group.consequences)} - {NOBODY})
    if len(accounts) > 1:
        lines.append(f"Accounts: {', '.join(accounts)}.")
    lines.append(f"What to do: {group.alerts[0].action}")
    return [_clean(line) for line in lines]


def _missed(told: Sequence[Told], places: Places) -> Message:
    shown = [f"• [{one.severity}] {_line(one.words)}" for one in told[:MISSED_SHOWN]]
    more = [f"… and {len(told) - len(shown)} more."] if len(told) > len(shown) else []
    number = f"{len(told)} alerts" if len(told) != 1 else "One alert"
    return Message(
        f"[over] {number} opened and closed while nothing was told here.",
        [_clean(line) for line in (*shown, *more)],
        _board(places),
        # An alert that is missed twice may have opened once.
        _thread("missed", max(one.absent_since or one.opened_at for one in told)),
    )


def _links(kind: str, alerts: Sequence[OpenAlert], kinds: Mapping[str, AlertKind], places: Places) -> tuple[Link, ...]:
    known = kinds.get(kind)
    look = _look(alerts, known.board_filter if known else None, places)
    return (*look, runbook_link(known.runbook if known else "Alerts", places))


def _look(alerts: Sequence[OpenAlert], board_filter: str | None, places: Places) -> tuple[Link, ...]:
    """The one place that the alerts are about, or the board for several orders."""
    paths = list(dict.fromkeys(one.link for one in alerts if one.link))
    if places.ui is None or not paths:
        return ()
    if len(paths) > 1 and all(path.startswith("/board") for path in paths):
        return _board(places, board_filter)
    words = "Order board" if paths[0].startswith("/board") else "Run" if paths[0].startswith("/runs") else "Dagster UI"
    return (Link(words, f"{places.ui}{paths[0]}"),)


def _board(places: Places, board_filter: str | None = None) -> tuple[Link, ...]:
    path = f"/board?{board_filter}" if board_filter else "/board"
    return () if places.ui is None else (Link("Order board", f"{places.ui}{path}"),)


def _line(text: str) -> str:
    return bounded_text(text, LONGEST_LINE) or ""


def _clean(text: str) -> str:
    return escaped(redact(text))


def _thread(key: str, opened_at: date) -> str:
    return hashlib.sha256(f"{key} {opened_at.isoformat()}".encode()).hexdigest()[:32]


def digest_message(title: str, lines: Sequence[str], places: Places, day: date) -> Message:
    """A digest in the words that its caller counted."""
    shown = [_clean(_line(line)) for line in lines]
    return Message(title, shown, _board(places), _thread("digest", day))
