"""What was begun is ended, whatever comes between: a return, quiet hours, other rules, other settings, a defect."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from orders_pipeline.alerts.kinds import NOBODY, QUIET_FOR, Found
from orders_pipeline.alerts.reconcile import evaluate, reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerting import deliver
from orders_pipeline.operations.alerting.alerts import ALERTS
from orders_pipeline.operations.alerting.channel import ChannelFailed
from orders_pipeline.operations.alerting.words import Message
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations.alerting.told import (
    LATE,
    PAUSED,
    pass_time,
    refuse,
    rows,
    rules,
    settings_for,
    tell,
)
from orders_pipeline_tests.slack import Slack

# From which on what returns is another alert.
LATER = f"{QUIET_FOR.total_seconds() + 120} seconds"


def titles(slack: Slack) -> list[str]:
    return [told.splitlines()[0] for told in slack.told]


def open_kinds(database: Database) -> list[str]:
    evaluate(database, NOBODY, ALERTS)
    return [row.key for row in rows(database, "alerts") if row.closed_at is None]


# --- it returns


def test_a_cause_that_returns_as_the_same_is_not_told_again(database: Database, mail: MailServer):
    for _ in range(3):
        refuse(database, "111-1")
        tell(database, settings_for(None, mail))
        refuse(database)
        tell(database, settings_for(None, mail))
        pass_time(database, "10 minutes")
        tell(database, settings_for(None, mail))
    assert [one["Subject"][:7] for one in mail.mails] == ["[error]"]


def test_no_two_mails_have_one_id(database: Database, mail: MailServer):
    """Who reads mail drops the second."""
    mail.refuses = "badly"
    refuse(database, "111-1", code="badly")
    with database.transaction(SELLER) as tx:
        reconcile(tx, LATE, [Found("badly", {"order_id": "badly"})])
    tell(database, settings_for(None, mail))
    refuse(database)
    with database.transaction(SELLER) as tx:
        reconcile(tx, LATE, [])
    for _ in range(2):
        tell(database, settings_for(None, mail))
        pass_time(database, LATER)
    ids = [one["Message-ID"] for one in mail.mails]
    assert len(ids) == len(set(ids)) == 4


# --- quiet hours


def test_a_channel_that_failed_is_not_mended_by_quiet_hours(database: Database, slack: Slack, tmp_path: Path):
    slack.status = 404
    refuse(database, "111-1", severity="warning")
    for _ in range(2):
        tell(database, settings_for(slack))
        pass_time(database, "65 seconds")
    assert "alert.not_delivered:slack" in open_kinds(database)
    now = database.now()
    begin, end = ((now + timedelta(minutes=minutes)).strftime("%H:%M") for minutes in (-5, 60))
    night = rules(tmp_path, f'quiet_hours: {{from: "{begin}", until: "{end}"}}')
    tell(database, settings_for(slack, rules_file=night))
    assert slack.asked == 2
    assert "alert.not_delivered:slack" in open_kinds(database)
    refuse(database)
    tell(database, settings_for(slack))
    assert slack.asked == 3, "it is told once they are over"


# --- other rules


def test_what_a_muted_pause_holds_up_is_told(database: Database, slack: Slack, mail: MailServer, tmp_path: Path):
    file = rules(tmp_path, "kinds: {dependency.paused: {channels: [email]}}")
    with database.transaction(SELLER) as tx:
        reconcile(tx, PAUSED, [Found("warehouse", {"name": "warehouse"})])
        reconcile(tx, LATE, [Found("111-2", {"order_id": "111-2"})])
    tell(database, settings_for(slack, mail, rules_file=file))
    assert titles(slack) == ["[error] Order 111-2 is late."]
    assert [one["Subject"] for one in mail.mails] == ["[error] warehouse has refused everything."]


def test_what_comes_back_to_a_channel_is_not_new_there_and_its_end_is_told(
    database: Database, slack: Slack, tmp_path: Path
):
    file = rules(tmp_path, "severities: {warning: {channels: [email]}}")
    for severity in ("error", "warning", "error", "warning"):
        refuse(database, "111-1", severity=severity)
        tell(database, settings_for(slack, rules_file=file))
        pass_time(database, LATER)
    assert [title[:8] for title in titles(slack)] == ["[error] "]
    refuse(database)
    tell(database, settings_for(slack, rules_file=file))
    pass_time(database, LATER)
    tell(database, settings_for(slack, rules_file=file))
    assert [title[:7] for title in titles(slack)] == ["[error]", "[over] "]


def test_what_was_missed_is_told_as_the_worst_that_it_was(database: Database, slack: Slack):
    slack.status = 503
    for severity in ("warning", "error", "info"):
        refuse(database, "111-1", severity=severity)
        tell(database, settings_for(slack))
    refuse(database)
    slack.status = 200
    pass_time(database, "10 minutes")
    tell(database, settings_for(slack))
    assert "• [error] The warehouse does not take order 111-1" in slack.told[0]


# --- other settings


def test_two_processes_with_other_settings_do_not_make_each_other_repeat(
    database: Database, slack: Slack, mail: MailServer
):
    refuse(database, "111-1")
    for _ in range(3):
        tell(database, settings_for(slack))
        tell(database, settings_for(None, mail))
        pass_time(database, "30 minutes")
    assert (len(slack.told), len(mail.told)) == (1, 1)


# --- a defect


class Broken:
    name: Literal["slack"] = "slack"

    def send(self, message: Message, *, seconds: float) -> None:
        raise RuntimeError("not for anybody's eyes")


def test_a_defect_in_a_channel_is_an_alert(database: Database):
    refuse(database, "111-1")
    for _ in range(2):
        told = tell(database, settings_for(), channels=[Broken()])
        assert "slack: a defect of this program" in told.as_sentence()
        pass_time(database, "65 seconds")
    assert "alert.not_delivered:slack" in open_kinds(database)
    (channel,) = rows(database, "alert_channels")
    assert "not for anybody's eyes" not in channel.failure


def test_a_channel_that_hangs_for_good_is_an_alert(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deliver, "LONGEST_SECONDS", 0.3)
    over = threading.Event()

    class Stuck(Broken):
        def send(self, message: Message, *, seconds: float) -> None:
            over.wait(20)
            raise ChannelFailed("it was stuck")

    refuse(database, "111-1")
    try:
        for _ in range(2):
            tell(database, settings_for(), channels=[Stuck()])
            pass_time(database, "65 seconds")
        assert "alert.not_delivered:slack" in open_kinds(database)
    finally:
        over.set()
        for thread in threading.enumerate():
            if thread.name == "alerts slack":
                thread.join()
