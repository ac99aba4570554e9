"""Alerts: each told once, to the log and to Slack; kept until Slack has taken it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from orders_pipeline.alerts.rows import (
    claim_undelivered_alert,
    mark_alert_delivered,
)
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alert_delivery import REFUSED_TEXT, AlertNotDelivered, deliver_alerts
from orders_pipeline_tests.alerts.opened import set_alert
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.hostile_server import HostileServer, answer
from orders_pipeline_tests.slack import Slack


@pytest.fixture
def slack() -> Iterator[Slack]:
    with Slack.listening() as server:
        yield server


def _open(database: Database, key: str = "order.refused:1") -> None:
    with database.transaction(SELLER) as tx:
        set_alert(tx, key)


def test_an_alert_is_delivered_once_until_it_is_closed(
    database: Database, slack: Slack, caplog: pytest.LogCaptureFixture
):
    _open(database)
    _open(database)
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 1
        assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 0
    assert slack.told == ["[error] It broke. What to do: Mend it."]
    assert "Mend it." in caplog.text
    with database.transaction(SELLER) as tx:
        set_alert(tx, "order.refused:1", is_open=False)
    _open(database)
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 1


@pytest.mark.parametrize("account_id", ["AFORMERSELLER1", "*"])
def test_an_alert_about_a_former_seller_or_about_no_seller_is_told_too(
    database: Database, slack: Slack, account_id: str
):
    with database.transaction(account_id) as tx:
        set_alert(tx, "erase.failed:1")
    _open(database)
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 2
    assert len(slack.told) == 2


def test_while_slack_fails_nothing_is_lost_and_its_address_is_not_told(database: Database, slack: Slack):
    _open(database, "first")
    _open(database, "second")
    slack.status = 500
    with pytest.raises(AlertNotDelivered) as refused:
        deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)
    assert "the-secret" not in str(refused.value)
    slack.status = 200
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 2
    assert len(slack.told) == 2


def test_slack_is_given_a_time_and_sends_nobody_elsewhere(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("orders_pipeline.operations.alert_delivery.SLACK_SECONDS", 0.4)
    _open(database)
    server: HostileServer
    with (
        HostileServer.answering(answer(b"ok")) as other,
        HostileServer.answering(lambda _: server.drip(b"HTTP/1.1 200 OK\r\n", b"X")) as server,
    ):
        hook = SecretStr(f"{server.url}/services/the-secret")
        monkeypatch.setenv("http_proxy", other.url)
        with pytest.raises(AlertNotDelivered, match="not whole within"):
            deliver_alerts(database, account_id=SELLER, slack_webhook_url=hook)
        server.answer = lambda _: [answer(b"", "307 Moved", Location=f"{other.url}/services/the-secret")]
        with pytest.raises(AlertNotDelivered, match=r"a redirect to 127\.0\.0\.1") as refused:
            deliver_alerts(database, account_id=SELLER, slack_webhook_url=hook)
        assert other.requests == []
        server.answer = lambda _: [answer(b"ok")]
        assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=hook) == 1
    assert "the-secret" not in f"{refused.value}{caplog.text}"


def test_an_alert_whose_text_slack_refuses_blocks_no_other(database: Database, slack: Slack):
    _open(database, "first")
    _open(database, "second")
    slack.refuses = "Mend it"
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 2
    assert slack.told == [REFUSED_TEXT, REFUSED_TEXT]
    _open(database, "third")
    slack.status = 404
    with pytest.raises(AlertNotDelivered, match="404"):
        deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)


def test_an_alert_that_slack_always_refuses_stays_and_stops_no_other(database: Database, slack: Slack):
    with database.transaction(SELLER) as tx:
        for number in range(3):
            set_alert(tx, f"order.refused:{number}", message="It broke badly.")
    _open(database, "order.refused:3")
    slack.fails_at = "badly"
    for _ in range(3):
        with pytest.raises(AlertNotDelivered, match="500"):
            deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)
    assert slack.told == ["[error] It broke. What to do: Mend it."]
    _open(database, "order.refused:4")
    with pytest.raises(AlertNotDelivered):
        deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)
    assert len(slack.told) == 2, "a new one goes first"
    slack.fails_at = None
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url) == 3


def test_a_slack_that_is_away_is_asked_twice_a_call(database: Database, slack: Slack):
    for number in range(5):
        _open(database, f"order.refused:{number}")
    slack.status = 503
    with pytest.raises(AlertNotDelivered):
        deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)
    assert slack.asked == 2


def test_what_became_worse_while_it_was_delivered_is_delivered_again(database: Database):
    _open(database)
    with database.transaction(SELLER) as tx:
        tx.execute(text("update pipeline.alerts set severity = 'warning'"))
        claimed = claim_undelivered_alert(tx, lease=timedelta(minutes=1))
        assert claimed is not None
        assert claim_undelivered_alert(tx, lease=timedelta(minutes=1)) is None, "it is leased"
    _open(database)
    with database.transaction(SELLER) as tx:
        mark_alert_delivered(tx.connection, claimed)
        assert claim_undelivered_alert(tx, lease=timedelta(minutes=1)) is not None


def test_the_alert_of_a_process_that_died_is_delivered_when_its_lease_is_over(database: Database):
    _open(database)
    with database.transaction(SELLER) as tx:
        assert claim_undelivered_alert(tx, lease=timedelta(minutes=1)) is not None
    assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=None) == 0
    for due in ("- interval '1 second'", "+ interval '1 year'"):
        with database.transaction(SELLER) as tx:
            tx.execute(
                text(f"update pipeline.alerts set delivered_at = null, delivery_due_at = clock_timestamp() {due}")
            )
        assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=None) == 1


def test_one_call_begins_no_message_after_its_budget_and_the_next_goes_on(database: Database, slack: Slack):
    for number in range(5):
        _open(database, f"order.refused:{number}")
    # Each message takes ten seconds of this clock, as a Slack that hangs would.
    ticks = iter(range(0, 1000, 10))
    counts = [
        deliver_alerts(
            database, account_id=SELLER, slack_webhook_url=slack.url, budget_seconds=18, clock=lambda: next(ticks)
        )
        for _ in range(3)
    ]
    assert counts == [2, 2, 1]
    assert len(slack.told) == 5


def test_without_slack_alerts_go_to_the_log(database: Database, caplog: pytest.LogCaptureFixture):
    _open(database)
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert deliver_alerts(database, account_id=SELLER, slack_webhook_url=None) == 1
    assert caplog.records[0].levelno == logging.ERROR


def test_what_others_wrote_into_an_alert_is_neither_obeyed_nor_linked_by_slack(database: Database, slack: Slack):
    with database.transaction(SELLER) as tx:
        set_alert(
            tx,
            "package.refused:1",
            message="Carrier '<!channel> <http://evil.example|track> & co\x1b[2J\u202e' "
            "see https://evil.example/x or mailto:a@b.example" + "x" * 9_000,
        )
    deliver_alerts(database, account_id=SELLER, slack_webhook_url=slack.url)
    (told,) = slack.told
    assert "&lt;!channel&gt; &lt;http" in told
    assert " &amp; co" in told
    assert not any(harm in told for harm in ("<", ">", "://", "\x1b", "\u202e", "@"))
    assert len(told) < 3_000
    assert slack.bodies[0] | {"text": ""} == {
        "text": "", "mrkdwn": False, "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip
