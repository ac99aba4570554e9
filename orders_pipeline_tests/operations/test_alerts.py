"""Alerts: each told once, to the log and to Slack; kept until Slack has taken it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from orders_pipeline.operations.alerts import AlertNotDelivered, deliver_alerts
from orders_pipeline.store.alerts import close_alert, raise_alert
from orders_pipeline.store.database import Database
from orders_pipeline_tests.conftest import SELLER


class Slack(ThreadingHTTPServer):
    """A webhook that keeps what it is told; `status` is what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.told: list[str] = []
        self.status = 200

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_address[1]}/services/T0/B0/the-secret")


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        slack = self.server
        assert isinstance(slack, Slack)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if slack.status == 200:
            slack.told.append(body["text"])
        self.send_response(slack.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def slack() -> Iterator[Slack]:
    server = Slack()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _raise(database: Database, key: str = "order.refused:1") -> bool:
    with database.transaction() as connection:
        return raise_alert(
            connection, seller_id=SELLER, key=key, severity="error", message="It broke.", what_to_do="Mend it."
        )


def test_an_alert_is_told_once_however_often_it_is_raised_and_again_after_it_was_closed(
    database: Database, slack: Slack, caplog: pytest.LogCaptureFixture
):
    assert _raise(database)
    assert not _raise(database)
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert deliver_alerts(database, seller_id=SELLER, slack_webhook_url=slack.url) == 1
        assert deliver_alerts(database, seller_id=SELLER, slack_webhook_url=slack.url) == 0
    assert slack.told == ["[error] It broke. What to do: Mend it."]
    assert "Mend it." in caplog.text
    with database.transaction() as connection:
        close_alert(connection, seller_id=SELLER, key="order.refused:1")
    assert _raise(database)
    assert deliver_alerts(database, seller_id=SELLER, slack_webhook_url=slack.url) == 1


def test_while_slack_fails_nothing_is_lost_and_its_address_is_not_told(database: Database, slack: Slack):
    _raise(database, "first")
    _raise(database, "second")
    slack.status = 500
    with pytest.raises(AlertNotDelivered) as refused:
        deliver_alerts(database, seller_id=SELLER, slack_webhook_url=slack.url)
    assert "the-secret" not in str(refused.value)
    slack.status = 200
    assert deliver_alerts(database, seller_id=SELLER, slack_webhook_url=slack.url) == 2
    assert len(slack.told) == 2


def test_without_slack_alerts_go_to_the_log(database: Database, caplog: pytest.LogCaptureFixture):
    _raise(database)
    with caplog.at_level(logging.INFO, "orders_pipeline.alerts"):
        assert deliver_alerts(database, seller_id=SELLER, slack_webhook_url=None) == 1
    assert caplog.records[0].levelno == logging.ERROR
