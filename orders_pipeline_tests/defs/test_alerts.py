"""The sensor that tells people: what holds it up, and when the heartbeat stops."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.hostile_server import HostileServer, answer
from orders_pipeline_tests.operations.alerting.told import pass_time
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at
from orders_pipeline_tests.slack import Slack

BROKEN = AlertKind("order.broken", "error", text("select 1 / 0 as subject"), "Broken.", "Mend it.", "Alerts")


def test_the_heartbeat_stops_while_alerts_cannot_be_evaluated(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with (
        Sandbox() as sandbox,
        Slack.listening() as slack,
        HostileServer.answering(answer(b"OK")) as watcher,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        more = {"ORDERS_HEARTBEAT_URL": f"{watcher.url}/ping", "SLACK_WEBHOOK_URL": slack.url.get_secret_value()}
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch, **more)
        pipeline = Pipeline(instance)

        def tick() -> str:
            pass_time(database, "2 minutes")
            begun = time.monotonic()
            told = pipeline.tick("deliver_alerts_sensor").skip_message
            assert time.monotonic() - begun < 20
            return told or ""

        tick()
        assert len(watcher.requests) == 1
        with monkeypatch.context() as patched:
            patched.setattr("orders_pipeline.operations.alerts.ALERTS", (*ALERTS, BROKEN))
            tick()
            assert len(watcher.requests) == 1
            assert any("order.broken could not be evaluated" in told for told in slack.told)
        tick()
        assert len(watcher.requests) == 2
        slack.status = 404
        with monkeypatch.context() as patched:
            another = replace(BROKEN, name="order.worse")
            patched.setattr("orders_pipeline.operations.alerts.ALERTS", (*ALERTS, another))
            assert "slack: Slack answered 404" in tick(), "a channel that is away is in the tick's words"
        slack.status = 200
        tick()
        watcher.answer = lambda _: [answer(b"", "500 No")]
        assert "heartbeat: ORDERS_HEARTBEAT_URL answered 500" in tick()
        monkeypatch.setenv("AMAZON_SELLER_ID", "")
        asked = len(watcher.requests)
        assert "AMAZON_SELLER_ID" in tick()
        assert len(watcher.requests) == asked, "nobody evaluates anything"
