"""The dead man's switch: called while all is well, once a minute by all, and never a trouble of its own."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from orders_pipeline.database.engine import Database
from orders_pipeline_tests.hostile_server import HostileServer, answer
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations.alerting.told import pass_time, refuse, rows, settings_for, tell
from orders_pipeline_tests.slack import Slack


def test_it_is_called_once_a_minute_while_all_is_well(database: Database):
    with HostileServer.answering(answer(b"OK")) as watcher:
        settings = settings_for(heartbeat_url=SecretStr(f"{watcher.url}/ping/the-secret"))
        for _ in range(3):
            tell(database, settings)
        assert len(watcher.requests) == 1
        assert watcher.requests[0].startswith(b"GET /ping/the-secret ")
        pass_time(database, "59 seconds")
        tell(database, settings)
        assert len(watcher.requests) == 1
        pass_time(database, "2 seconds")
        tell(database, settings, all_is_well=False)
        assert len(watcher.requests) == 1
        tell(database, settings)
        assert len(watcher.requests) == 2


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        ("500 No", {}, "answered 500"),
        ("404 Gone", {}, "answered 404"),
        ("302 Found", {"Location": "http://evil.example/x"}, "a redirect to evil.example, which is not followed"),
    ],
)
def test_a_call_that_fails_is_a_warning_and_nothing_else(
    database: Database, caplog: pytest.LogCaptureFixture, status: str, headers: dict[str, str], why: str
):
    with HostileServer.answering(answer(b"", status, **headers)) as watcher, caplog.at_level(logging.INFO):
        told = tell(database, settings_for(heartbeat_url=SecretStr(f"{watcher.url}/ping/the-secret")))
    assert told.heartbeat_failure is not None
    assert why in told.heartbeat_failure
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the-secret" not in caplog.text + told.as_sentence()
    assert rows(database, "alerts") == []


def test_it_is_not_called_while_no_channel_can_tell_anybody(database: Database, slack: Slack, mail: MailServer):
    slack.status = 404
    refuse(database, "111-1")
    with HostileServer.answering(answer(b"OK")) as watcher:
        heartbeat = SecretStr(f"{watcher.url}/ping/the-secret")
        tell(database, settings_for(slack, heartbeat_url=heartbeat))
        assert len(watcher.requests) == 1
        for _ in range(2):
            pass_time(database, "61 seconds")
            tell(database, settings_for(slack, heartbeat_url=heartbeat))
        assert len(watcher.requests) == 1
        tell(database, settings_for(slack, mail, heartbeat_url=heartbeat))
        assert len(watcher.requests) == 2, "one that works is enough"
