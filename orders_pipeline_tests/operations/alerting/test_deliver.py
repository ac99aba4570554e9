"""Each cause is told once through every channel, nothing is lost while a channel is away, and none holds up another."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY, Found
from orders_pipeline.alerts.reconcile import evaluate, reconcile
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerting import deliver
from orders_pipeline.operations.alerting.alerts import ALERTS
from orders_pipeline.operations.alerting.channel import ChannelFailed
from orders_pipeline.operations.alerting.words import Message
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.hostile_server import HostileServer
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations.alerting.told import (
    LATE,
    PAUSED,
    REFUSED,
    pass_time,
    refuse,
    rows,
    rules,
    settings_for,
    tell,
)
from orders_pipeline_tests.slack import Slack


def refuse_many(database: Database, number: int) -> None:
    refuse(database, *(f"111-{n:07d}-0000000" for n in range(number)))


def test_one_order_is_one_message_through_each_channel_until_it_is_over(
    database: Database, slack: Slack, mail: MailServer, caplog: pytest.LogCaptureFixture
):
    settings = settings_for(slack, mail)
    refuse(database, "111-1")
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert tell(database, settings).as_sentence() == "1 new alerts; messages: 1 to email, 1 to slack."
        assert tell(database, settings).as_sentence() == "Nothing new."
    assert caplog.text.count("Correct it.") == 1
    assert slack.told == [
        (
            "[error] The warehouse does not take order 111-1: unknown_sku.\nWhat to do: Correct it.\n"
            f"<https://orders.shop.example/board?q=111-1&amp;open={SELLER}:111-1|Order board> · "
            "<https://docs.shop.example/runbook.md#push|Runbook: Push>"
        )
    ]
    assert mail.told[0].endswith(
        f"What to do: Correct it.\n\nOrder board: https://orders.shop.example/board?q=111-1&open={SELLER}:111-1\n"
        "Runbook: Push: https://docs.shop.example/runbook.md#push\n"
    )
    refuse(database)
    assert tell(database, settings).as_sentence() == "Nothing new.", "it may return at once"
    pass_time(database, "17 minutes")
    tell(database, settings)
    tell(database, settings)
    assert [told.splitlines()[0] for told in slack.told[1:]] == [
        "[over] The warehouse does not take order 111-1: unknown_sku."
    ]
    assert len(mail.told) == 2
    assert mail.mails[1]["In-Reply-To"] == mail.mails[0]["Message-ID"]
    assert rows(database, "alert_deliveries") == []


def test_three_hundred_alerts_are_one_message_and_one_when_they_are_over(database: Database, slack: Slack):
    refuse_many(database, 300)
    tell(database, settings_for(slack))
    (told,) = slack.told
    assert told.startswith("[error] 300 alerts order.refused. The first: The warehouse does not take order 111-0000000")
    assert "… and 297 more: 111-0000003-0000000, " in told
    assert "<https://orders.shop.example/board?needs=tracking|Order board>" in told
    refuse(database)
    tell(database, settings_for(slack))
    pass_time(database, "17 minutes")
    tell(database, settings_for(slack))
    assert len(slack.told) == 2
    assert slack.told[1].startswith("[over] 300 alerts order.refused. The first: ")


def test_a_warehouse_that_is_away_is_one_message_with_all_that_it_holds_up(database: Database, slack: Slack):
    with database.transaction(SELLER) as tx:
        reconcile(tx, PAUSED, [Found("warehouse", {"name": "warehouse"})])
        reconcile(tx, LATE, [Found(f"111-{n}", {"order_id": f"111-{n}"}) for n in range(299)])
    tell(database, settings_for(slack))
    assert [told.splitlines()[:2] for told in slack.told] == [
        [
            "[error] warehouse has refused everything.",
            "What waits for it: 299 order.late (111-0, 111-1, 111-10, 111-11, 111-12 …).",
        ]
    ]


def test_growth_and_reminders_are_told_once_each(database: Database, slack: Slack):
    settings = settings_for(slack)
    refuse_many(database, 3)
    tell(database, settings)
    refuse_many(database, 5)
    tell(database, settings)
    assert len(slack.told) == 1
    refuse_many(database, 40)
    tell(database, settings)
    tell(database, settings)
    assert slack.told[1].startswith("[error, 40 now, 3 when last told] 40 alerts order.refused.")
    refuse_many(database, 42)
    pass_time(database, "61 minutes")
    tell(database, settings)
    assert slack.told[2].startswith("[error, more of it] 42 alerts")
    pass_time(database, "239 minutes")
    tell(database, settings)
    assert len(slack.told) == 3
    pass_time(database, "1 minute")
    tell(database, settings)
    tell(database, settings)
    assert [told.split("]")[0] for told in slack.told[3:]] == ["[error, still open after 5.0 h"]


def test_what_became_worse_is_told_at_once(database: Database, slack: Slack):
    refuse(database, "111-1", severity="warning")
    tell(database, settings_for(slack))
    refuse(database, "111-1", severity="error")
    tell(database, settings_for(slack))
    assert [told.split("]")[0] for told in slack.told] == ["[warning", "[error, was warning"]


@pytest.mark.parametrize("account_id", ["AFORMERSELLER1", NOBODY])
def test_an_alert_about_a_former_account_or_about_none_is_told_too(database: Database, slack: Slack, account_id: str):
    with database.transaction(account_id) as tx:
        reconcile(tx, REFUSED, [Found("1", {"order_id": "1", "code": "x"})])
    refuse(database, "2")
    tell(database, settings_for(slack))
    (told,) = slack.told
    assert told.startswith("[error] 2 alerts order.refused")
    assert ("Accounts: " in told) == (account_id != NOBODY)


def test_without_a_channel_alerts_go_to_the_log(database: Database, caplog: pytest.LogCaptureFixture):
    refuse(database, "111-1")
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert tell(database, settings_for()).logged == 1
    assert caplog.records[0].levelno == logging.ERROR


# --- a channel that is away


def test_while_a_channel_is_away_nothing_is_lost_and_the_other_tells_of_it(
    database: Database, slack: Slack, mail: MailServer
):
    settings = settings_for(slack, mail)
    slack.status = 503
    refuse(database, "111-1")
    for _ in range(2):
        assert "slack: Slack answered 503" in tell(database, settings).as_sentence()
    assert slack.asked == 1, "it is left alone for a while"
    pass_time(database, "65 seconds")
    tell(database, settings)
    evaluate(database, NOBODY, ALERTS)
    tell(database, settings)
    assert [told.splitlines()[0] for told in mail.told] == [
        "[error] The warehouse does not take order 111-1: unknown_sku.",
        mail.mails[1]["Subject"],
    ]
    assert "Alerts cannot be delivered through slack since" in mail.told[1]
    assert "the-secret" not in mail.told[1]
    # What opened and closed meanwhile is told too, and nothing of the channel itself through it.
    refuse(database)
    slack.status = 200
    pass_time(database, "10 minutes")
    tell(database, settings)
    evaluate(database, NOBODY, ALERTS)
    tell(database, settings)
    assert [told.splitlines()[:2] for told in slack.told] == [
        [
            "[over] One alert opened and closed while nothing was told here.",
            "• [error] The warehouse does not take order 111-1: unknown_sku.",
        ]
    ]
    pass_time(database, "17 minutes")
    tell(database, settings)
    assert [mail["Subject"][:7] for mail in mail.mails] == ["[error]", "[error]", "[over] ", "[over] "]
    assert len(slack.told) == 1


def test_a_channel_waits_as_long_as_it_was_asked_to(database: Database, slack: Slack):
    slack.status, slack.headers = 429, {"Retry-After": "120"}
    refuse(database, "111-1")
    tell(database, settings_for(slack))
    slack.status = 200
    pass_time(database, "115 seconds")
    tell(database, settings_for(slack))
    assert (slack.asked, slack.told) == (1, [])
    pass_time(database, "6 seconds")
    tell(database, settings_for(slack))
    assert len(slack.told) == 1


def test_a_channel_that_is_away_is_asked_ever_more_rarely_but_every_five_minutes(database: Database, slack: Slack):
    slack.status = 404
    refuse(database, "111-1")
    waits: list[float] = []
    for _ in range(6):
        tell(database, settings_for(slack))
        (channel,) = rows(database, "alert_channels")
        waits.append(round((channel.next_try_at - database.now()).total_seconds()))
        pass_time(database, "6 minutes")
    assert waits == [30, 60, 120, 240, 300, 300]


def test_a_hanging_channel_holds_up_neither_the_other_nor_the_tick(
    database: Database, mail: MailServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deliver, "MESSAGE_SECONDS", 0.4)
    refuse(database, "111-1")
    server: HostileServer
    with HostileServer.answering(lambda _: server.drip(b"HTTP/1.1 200 OK\r\n", b"X")) as server:
        hook = settings_for(None, mail).model_copy(update={"slack_webhook_url": SecretStr(server.url)})
        begun = time.monotonic()
        told = tell(database, hook)
        assert time.monotonic() - begun < 2
        assert told.channels["slack"].failure is not None
        assert len(mail.told) == 1
        tell(database, hook)
        assert server.connections == 1, "the next tick leaves it alone"


def test_a_channel_that_never_ends_is_left_alone(database: Database, mail: MailServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deliver, "LONGEST_SECONDS", 0.5)
    over = threading.Event()

    class Stuck:
        name: Literal["slack"] = "slack"

        def send(self, message: Message, *, seconds: float) -> None:
            over.wait(20)
            raise ChannelFailed("it was stuck")

    refuse(database, "111-1")
    (by_mail,) = deliver.open_channels(settings_for(None, mail))
    try:
        begun = time.monotonic()
        told = tell(database, settings_for(), channels=[Stuck(), by_mail])
        assert time.monotonic() - begun < 2
        assert told.channels["slack"].failure == "no answer within 0.5 s"
        assert len(mail.told) == 1
    finally:
        over.set()
        for thread in threading.enumerate():
            if thread.name == "alerts slack":
                thread.join()


def test_one_call_begins_no_message_after_its_budget_and_the_next_goes_on(database: Database, slack: Slack):
    with database.transaction(NOBODY) as tx:
        reconcile(tx, PAUSED, [Found(f"d{n}", {"name": f"d{n}"}) for n in range(5)])
    # Each message takes ten seconds of this clock.
    ticks = iter(range(0, 1000, 10))
    counts = [
        tell(database, settings_for(slack), budget_seconds=18, clock=lambda: next(ticks)).channels["slack"].sent
        for _ in range(3)
    ]
    assert counts == [2, 2, 1]
    assert len(slack.told) == 5


def test_a_text_that_is_refused_is_told_in_other_words_and_stops_no_other(
    database: Database, slack: Slack, mail: MailServer
):
    refuse(database, "111-1", code="badly")
    with database.transaction(SELLER) as tx:
        reconcile(tx, LATE, [Found("111-2", {"order_id": "111-2"})])
    slack.refuses = mail.refuses = "badly"
    tell(database, settings_for(slack, mail))
    for told in (slack.told, mail.told):
        assert sorted("An alert has a text" in one for one in told) == [False, True]
    assert tell(database, settings_for(slack, mail)).as_sentence() == "Nothing new."


def test_a_channel_that_refuses_every_text_is_away(database: Database, slack: Slack):
    slack.status = 400
    refuse(database, "111-1")
    assert "to a text without anybody's words too" in tell(database, settings_for(slack)).as_sentence()


def test_a_channel_that_is_taken_out_of_the_settings_is_forgotten(database: Database, slack: Slack, mail: MailServer):
    slack.status = 404
    refuse(database, "111-1")
    tell(database, settings_for(slack, mail))
    pass_time(database, "61 minutes")
    tell(database, settings_for(None, mail))
    assert [row.channel for row in rows(database, "alert_channels")] == ["email"]
    assert {row.channel for row in rows(database, "alert_deliveries")} == {"email"}


# --- several processes, and one that dies


# Each of these processes is gone once it has sent a message, before it could note it.
_IS_KILLED = """
import os, signal, sys
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerting import deliver
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.settings import load_settings

deliver.note_told = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
deliver.tell_people(Database(sys.argv[1]), load_settings().alerts, ALERTS, all_is_well=True)
"""


def test_after_a_kill_between_sending_and_noting_one_message_comes_twice_and_no_more(
    database: Database, database_url: str, slack: Slack
):
    with database.transaction(NOBODY) as tx:
        reconcile(tx, PAUSED, [Found(f"d{n}", {"name": f"d{n}"}) for n in range(3)])
    environment = {"SLACK_WEBHOOK_URL": slack.url.get_secret_value(), "ORDERS_ENV_FILE": "/dev/null"}
    command = [sys.executable, "-c", _IS_KILLED, database_url]
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == -signal.SIGKILL
    assert len(slack.told) == 1
    tell(database, settings_for(slack))
    assert len(slack.told) == 1, "its lease lasts"
    pass_time(database, "61 seconds")
    tell(database, settings_for(slack))
    tell(database, settings_for(slack))
    titles = [told.splitlines()[0] for told in slack.told]
    assert len(titles) == 4
    assert len(set(titles)) == 3


@pytest.mark.parametrize("leased", ["interval '1 year'", "- interval '1 second'"])
def test_a_lease_that_is_over_or_that_no_clock_gave_counts_for_nothing(database: Database, slack: Slack, leased: str):
    refuse(database, "111-1")
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into pipeline.alert_channels (channel, leased_until, next_try_at) "
                f"values ('slack', clock_timestamp() + {leased}, clock_timestamp() + {leased})"
            )
        )
    tell(database, settings_for(slack))
    assert len(slack.told) == 1


def test_processes_that_tell_at_once_tell_it_once(database: Database, slack: Slack, mail: MailServer):
    refuse_many(database, 20)
    with database.transaction(NOBODY) as tx:
        reconcile(tx, PAUSED, [Found(f"d{n}", {"name": f"d{n}"}) for n in range(5)])
    ready = threading.Barrier(3)

    def work() -> None:
        ready.wait()
        for _ in range(3):
            tell(database, settings_for(slack, mail))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(slack.told) == len(mail.told) == 6


# --- rules


def test_rules_say_what_goes_where(database: Database, slack: Slack, mail: MailServer, tmp_path: Path):
    file = rules(
        tmp_path,
        "severities: {error: {channels: [email]}}\n"
        "kinds: {order.late: {channels: []}, order.refused: {severity: info}}",
    )
    with database.transaction(SELLER) as tx:
        reconcile(tx, LATE, [Found("111-2", {"order_id": "111-2"})])
        reconcile(tx, PAUSED, [Found("amazon", {"name": "amazon"})])
    refuse(database, "111-1")
    tell(database, settings_for(slack, mail, rules_file=file))
    assert _titles(slack.told) == ["[info] The warehouse does not take order 111-1: unknown_sku."]
    assert sorted(_titles(mail.told)) == [
        "[error] amazon has refused everything.", "[info] The warehouse does not take order 111-1: unknown_sku.",
    ]  # fmt: skip


def test_what_goes_elsewhere_from_now_on_is_not_told_to_be_over(database: Database, slack: Slack, tmp_path: Path):
    refuse(database, "111-1")
    tell(database, settings_for(slack))
    file = rules(tmp_path, "kinds: {order.refused: {channels: [email]}}")
    tell(database, settings_for(slack, rules_file=file))
    pass_time(database, "10 minutes")
    tell(database, settings_for(slack, rules_file=file))
    assert len(slack.told) == 1


def test_a_wrong_file_is_an_alert_and_changes_nothing(database: Database, slack: Slack, tmp_path: Path):
    file = rules(tmp_path, "severities:\n  error: {channels: [slak]}")
    told = tell(database, settings_for(slack, rules_file=file))
    assert "line 2: severities.error.channels.0 must be slack or email" in told.as_sentence()
    evaluate(database, NOBODY, ALERTS)
    tell(database, settings_for(slack, rules_file=file))
    assert slack.told[0].startswith(f"[error] The rules of alerts cannot be read. {file}: line 2: ")
    rules(tmp_path, "severities:\n  error: {channels: [slack]}")
    tell(database, settings_for(slack, rules_file=file))
    evaluate(database, NOBODY, ALERTS)
    assert [row.key for row in rows(database, "alerts") if row.closed_at is None] == []


# --- no buyer's data


def test_a_secret_or_an_address_in_an_alert_is_masked(database: Database, slack: Slack, mail: MailServer):
    refuse(database, "111-1", code="Bearer abcdefgh12345 to jane.planted@buyer.example\x1b[2J\u202e")
    tell(database, settings_for(slack, mail))
    for told in (*slack.told, *mail.told):
        assert "abcdefgh12345" not in told
        assert "jane.planted" not in told
        assert "\x1b" not in told
        assert "\u202e" not in told


def _titles(told: Sequence[str]) -> list[str]:
    return [one.splitlines()[0] for one in told]
