"""Tell people what is open, through every channel that is configured, side by side and within a time.

What each channel was told is in the store, and changes when it has taken the message: what was not taken is sent
later, and a process that is killed between the two sends one message twice at most. A channel is one process's at a
time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.alert_settings import AlertSettings
from orders_pipeline.alerts.kinds import AlertKind, Severity
from orders_pipeline.alerts.rows import take_unlogged_alerts
from orders_pipeline.audit.redaction import redact
from orders_pipeline.database.engine import AnyRow, Database, database_now
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.alerting.alerts import NOT_DELIVERED
from orders_pipeline.operations.alerting.channel import MESSAGE_SECONDS, Channel, ChannelFailed, TextRefused
from orders_pipeline.operations.alerting.digest import digest_told, make_digest
from orders_pipeline.operations.alerting.groups import Group, OpenAlert, group, read_alerts
from orders_pipeline.operations.alerting.heartbeat import call_heartbeat
from orders_pipeline.operations.alerting.plan import DIGEST, Event, Planned, Told, plan
from orders_pipeline.operations.alerting.rows import (
    HEARTBEAT,
    Wanted,
    deliveries,
    every_open_alert,
    failing_channels,
    failure_of,
    forget_told,
    lease_channel,
    note_failure,
    note_told,
    note_wanted,
    return_channel,
)
from orders_pipeline.operations.alerting.rules import AlertRules
from orders_pipeline.operations.alerting.rules_file import rules_in_use
from orders_pipeline.operations.alerting.words import Message, Places, compose, refused_text, wanted
from orders_pipeline.work.workers import error_location

# In which the last message of a channel is begun; Slack takes about one a second.
BUDGET_SECONDS = 4.0
MESSAGES_A_CALL = 20
# The last message, and other words in its place. A thread that still works then is left alone: it waits for a name
# server, say, and its lease keeps others out.
LONGEST_SECONDS = BUDGET_SECONDS + 2 * MESSAGE_SECONDS + 1.0
# A channel that took nothing is left alone for so long, twice as long each time.
FIRST_WAIT, LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=5)
LOGGED_A_CALL = 200
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}

logger = logging.getLogger("orders_pipeline.alerts")


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """What one call did with one channel. `failure`: why it took no more."""

    sent: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What one call did. `rules_problem`: what is wrong with the file of rules."""

    logged: int = 0
    channels: Mapping[str, ChannelOutcome] = field(default_factory=dict[str, ChannelOutcome])
    heartbeat_failure: str | None = None
    rules_problem: str | None = None

    @property
    def problems(self) -> list[str]:
        failed = [f"{name}: {one.failure}." for name, one in self.channels.items() if one.failure]
        beat = [f"heartbeat: {self.heartbeat_failure}."] if self.heartbeat_failure else []
        return [*failed, *beat, *([self.rules_problem] if self.rules_problem else [])]

    def as_sentence(self) -> str:
        """For a sensor's tick."""
        sent = {name: one.sent for name, one in self.channels.items() if one.sent}
        counts = ", ".join(f"{number} to {name}" for name, number in sent.items())
        told = f"{self.logged} new alerts; messages: {counts or 'none'}." if self.logged or sent else "Nothing new."
        return " ".join([told, *self.problems])


def open_channels(settings: AlertSettings) -> list[Channel]:
    """Every channel that is configured. The libraries are imported here: only who sends pays for it."""
    channels: list[Channel] = []
    if settings.slack_webhook_url is not None:
        from orders_pipeline.operations.alerting.slack import SlackChannel

        channels.append(SlackChannel(settings.slack_webhook_url))
    if settings.mailbox is not None:
        from orders_pipeline.operations.alerting.mail import MailChannel

        channels.append(MailChannel(settings.mailbox))
    return channels


def tell_people(
    database: Database,
    settings: AlertSettings,
    kinds: Sequence[AlertKind],
    *,
    all_is_well: bool,
    channels: Sequence[Channel] | None = None,
    budget_seconds: float = BUDGET_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> DeliveryOutcome:
    """Write new alerts to the log, send what each channel is to be told, and call the heartbeat if `all_is_well`.

    Returns within LONGEST_SECONDS, whatever a channel does; what a channel does wrong is in the outcome. Raises
    SQLAlchemyError if the database cannot be reached.
    """
    by_name = {kind.name: kind for kind in kinds}
    use = rules_in_use(database, settings.rules_file, by_name)
    opened = open_channels(settings) if channels is None else channels
    logged = _log_new(database)
    with database.begin() as connection:
        found = read_alerts(every_open_alert(connection), by_name, use.rules)
        causes = {channel.name: _causes(channel, found, by_name, use.rules) for channel in opened}
        note_wanted(
            connection,
            {channel.name: _wanted_by(channel, causes[channel.name], use.rules) for channel in opened},
            {name: [one.key for one in groups] for name, groups in causes.items()},
        )
        failing = failing_channels(connection)
    # A shop in which nobody can be told is not well.
    is_heard = not opened or any(channel.name not in failing for channel in opened)
    outcomes: dict[str, ChannelOutcome] = {}
    beats: list[str] = []
    places = Places(settings.ui_url, settings.runbook_url)

    def serve(channel: Channel) -> None:
        work = _ChannelWork(database, channel, by_name, use.rules, places)
        try:
            outcomes[channel.name] = work.run(begin_before=clock() + budget_seconds, clock=clock)
        except Exception as error:  # noqa: BLE001 - one channel's defect is its own, and is told by the others
            # Without the error's own text.
            logger.error("Alerts through %s met a defect: %s", channel.name, error_location(error))  # noqa: TRY400
            failure = f"a defect of this program: {error_location(error)}"
            outcomes[channel.name] = ChannelOutcome(failure=failure)
            work.note_failure(failure)

    def beat() -> None:
        assert settings.heartbeat_url is not None
        try:
            beats.extend(filter(None, [call_heartbeat(database, settings.heartbeat_url)]))
        except SQLAlchemyError as error:
            beats.append(error_location(error))

    named: dict[str, Callable[[], None]] = {one.name: (lambda one=one: serve(one)) for one in opened}
    if settings.heartbeat_url is not None and all_is_well and is_heard:
        named["heartbeat"] = beat
    unfinished = _side_by_side(named)
    for name in unfinished:
        failure = f"no answer within {LONGEST_SECONDS:g} s"
        if outcomes.setdefault(name, ChannelOutcome(failure=failure)).failure == failure and name != HEARTBEAT:
            with database.begin() as connection:
                note_failure(connection, name, failure, FIRST_WAIT, is_in_use=True)
    failure = beats[0] if beats else None
    return DeliveryOutcome(logged, dict(sorted(outcomes.items())), failure, use.problem)


class _ChannelWork:
    """One channel's messages of one call."""

    def __init__(
        self, database: Database, channel: Channel, kinds: Mapping[str, AlertKind], rules: AlertRules, places: Places
    ) -> None:
        self._database = database
        self._channel = channel
        self._kinds = kinds
        self._rules = rules
        self._places = places
        self._attempts: int | None = None

    def run(self, *, begin_before: float, clock: Callable[[], float]) -> ChannelOutcome:
        """Send until nothing is left, the time is over, or a message was not taken."""
        name = self._channel.name
        with self._database.begin() as connection:
            lease = lease_channel(connection, name)
            if lease is None:
                return ChannelOutcome(failure=failure_of(connection, name))
            self._attempts = lease.attempts
            # Read after the lease: who had it before has told what it told.
            now = database_now(connection)
            found = read_alerts(every_open_alert(connection), self._kinds, self._rules)
            told = {row.group_key: _told(row) for row in deliveries(connection, name)}
        groups = _causes(self._channel, found, self._kinds, self._rules)
        groups = [one for one in groups if not _is_its_own(self._channel, one)]
        sent = 0
        due = plan(name, groups, told, self._rules, now)
        for planned in due[:MESSAGES_A_CALL]:
            if sent and clock() >= begin_before:
                break
            try:
                self._send(self._message(planned, groups, now), planned)
            except ChannelFailed as error:
                self.note_failure(str(error), error.wait)
                return ChannelOutcome(sent, str(error))
            with self._database.begin() as connection:
                self._note(connection, planned, now)
            sent += 1
        is_idle = not due and not self._waits(groups, told, now)
        with self._database.begin() as connection:
            return_channel(connection, name, has_delivered=sent > 0, is_idle=is_idle)
        return ChannelOutcome(sent)

    def note_failure(self, failure: str, wait: timedelta | None = None) -> None:
        """The channel took nothing, and is left alone; nothing is noted where another process has it."""
        if self._attempts is None:
            return
        put_off = wait or min(FIRST_WAIT * 2 ** min(self._attempts, 8), LONGEST_PAUSE)
        with self._database.begin() as connection:
            note_failure(connection, self._channel.name, failure, put_off)

    def _waits(self, groups: Sequence[Group], told: Mapping[str, Told], now: datetime) -> bool:
        """Whether something is to be told later: after the quiet hours, or that it is over."""
        at_any_time = self._rules.model_copy(update={"quiet_hours": None})
        is_ending = any(one.absent_since is not None and one.kind != DIGEST for one in told.values())
        return is_ending or bool(plan(self._channel.name, groups, told, at_any_time, now))

    def _message(self, planned: Planned, groups: Sequence[Group], now: datetime) -> Message:
        if planned.event is not Event.DIGEST:
            return compose(planned, self._kinds, self._places, now)
        day = now.astimezone(self._rules.zone).date()
        return make_digest(self._database, groups, self._kinds, self._places, day)

    def _send(self, message: Message, planned: Planned) -> None:
        try:
            self._channel.send(message, seconds=MESSAGE_SECONDS)
        except TextRefused:
            # This one text's fault: what is behind it must not wait for it for ever.
            try:
                self._channel.send(refused_text(message, planned.severity, self._places), seconds=MESSAGE_SECONDS)
            except TextRefused as error:
                raise ChannelFailed(f"{error}, to a text without anybody's words too") from None

    def _note(self, connection: Connection, planned: Planned, now: datetime) -> None:
        name = self._channel.name
        if planned.event is Event.DIGEST:
            note_told(connection, name, digest_told(now))
        elif planned.group is not None:
            note_told(connection, name, wanted(planned.group))
        else:
            forget_told(connection, name, [one.key for one in planned.told])


def _causes(
    channel: Channel, found: Sequence[OpenAlert], kinds: Mapping[str, AlertKind], rules: AlertRules
) -> list[Group]:
    return group(found, kinds, lambda one: channel.name in rules.rule_of(one.kind, one.severity).channels)


def _wanted_by(channel: Channel, groups: Sequence[Group], rules: AlertRules) -> list[Wanted]:
    return [
        wanted(one)
        for one in groups
        if channel.name in rules.rule_of(one.kind, one.severity).channels and not _is_its_own(channel, one)
    ]


def _is_its_own(channel: Channel, one: Group) -> bool:
    """That a channel takes nothing is told through the others."""
    return one.key == f"{NOT_DELIVERED.name}:{channel.name}"


def _told(row: AnyRow) -> Told:
    return Told(
        key=row.group_key,
        kind=row.kind,
        severity=cast(Severity, row.severity),
        words=row.words,
        alerts=row.alerts,
        opened_at=row.opened_at,
        absent_since=row.absent_since,
        told_at=row.told_at,
        told_severity=cast(Severity | None, row.told_severity),
        told_words=row.told_words,
        told_alerts=row.told_alerts or 0,
        messages=row.messages,
    )


def _log_new(database: Database) -> int:
    """Each new alert is a line of the log; the line is there before it is noted, so that none is lost."""
    with database.begin() as connection:
        new = take_unlogged_alerts(connection, limit=LOGGED_A_CALL)
        for alert in new:
            # Cleaned when it was raised; an earlier release stored alerts as they were.
            text = escaped(redact(f"[{alert.severity}] {alert.message} What to do: {alert.what_to_do}"))
            logger.log(_LEVELS.get(alert.severity, logging.INFO), "%s", text)
    return len(new)


def _side_by_side(works: Mapping[str, Callable[[], None]]) -> list[str]:
    """Do each in a thread; the names of those that did not end within LONGEST_SECONDS."""
    threads: dict[str, threading.Thread] = {}
    for name, work in works.items():
        context = copy_context()
        threads[name] = threading.Thread(target=lambda c=context, w=work: c.run(w), name=f"alerts {name}", daemon=True)
        threads[name].start()
    ends_at = time.monotonic() + LONGEST_SECONDS
    for thread in threads.values():
        thread.join(max(0.0, ends_at - time.monotonic()))
    return [name for name, thread in threads.items() if thread.is_alive()]
