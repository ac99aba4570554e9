"""A queue at its worst changes nothing: all of it five times, shuffled, with junk in between."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.intake.alerts import ALERTS
from orders_pipeline.intake.drain import PARKED_MESSAGE
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.queue import LARGE_BODY_BYTES, QueueOptions, large_body, sns_envelope, unknown_type_body
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

PATIENCE_SECONDS = 120
# The day's own junk is drawn by chance; of these kinds there is one in any case.
NOT_JSON = '{"NotificationType": "ORDER_CHANGE", "Payload": {"OrderChangeNotification": {'
JUNK = (NOT_JSON, "[]", sns_envelope(NOT_JSON), large_body(random.Random(1)), unknown_type_body(random.Random(1)))


def _is_right(database: Database, sandbox: Sandbox) -> bool:
    # What is due later is made due now: a test does not wait for a back-off.
    with database.begin() as connection:
        connection.execute(
            text(
                "update pipeline.jobs set due_at = clock_timestamp() "
                "where queue = 'verify' and due_at > clock_timestamp()"
            )
        )
    right = all(verdict.ok for verdict in sandbox.judge.verdicts(sandbox.day.planned))
    return right and sandbox.day.finished() and sandbox.queue.drained()


def _rows(database: Database, query: str) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(text(query)))


def test_repeated_shuffled_messages_end_as_if_once_and_in_order(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sandbox = Sandbox(
        seed=11,
        time_scale=60,
        queue=QueueOptions.hostile(),
        day=DayOptions(orders=20, duration_seconds=5),
        floor=FloorOptions(min_seconds=1, max_seconds=3),
    )
    with sandbox, dg.DagsterInstance.ephemeral() as instance:
        point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
        pipeline = Pipeline(instance)
        sandbox.day.start()
        sandbox.queue.send(*JUNK)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _is_right(database, sandbox):
            wrong = [one for one in sandbox.judge.verdicts(sandbox.day.planned) if not one.ok]
            assert time.monotonic() < deadline, wrong[:5]
            pipeline.run_until_idle()

        # No run failed, nothing was given up, and nothing was pushed with a second content.
        assert pipeline.failed_runs == []
        assert _depth(sandbox, sandbox.queue.dead_letter_url) == 0
        assert not sandbox.ledger()["warehouse"]["pushed_with_two_contents"]

        # Five copies are one event: as many as Amazon published notifications.
        (events,) = _rows(database, "select count(*) as n, count(distinct deduplication_key) as once "
                                    "from pipeline.order_events where source = 'notification'")  # fmt: skip
        published = sum(sandbox.ledger()["amazon"]["notifications"].values())
        assert events.n == events.once == published
        assert sandbox.queue.sent == 5 * published + sandbox.queue.junk_sent + len(JUNK)

        # What cannot be read is listed, each once, with its reason; what it said can be read again, from the vault.
        parked = _rows(database, "select parked_id, account_id, reason, body_bytes from pipeline.parked_messages")
        assert len(parked) == sandbox.queue.junk_sent + len(JUNK)
        reasons = Counter(row.reason for row in parked)
        assert {"not JSON", "not a JSON object", "not an order change: NEVER_HEARD_OF"} <= reasons.keys(), reasons
        vault = StoreResource().vault()
        bodies = [
            vault.reveal(
                account_id=row.account_id,
                kind=PARKED_MESSAGE,
                subject_id=str(row.parked_id),
                actor="user:tester",
                purpose="see what was set aside",
            ).decode()
            for row in parked
        ]
        assert set(JUNK) <= set(bodies)
        assert max(row.body_bytes for row in parked) > LARGE_BODY_BYTES
        evaluate(database, SELLER, ALERTS)
        alerts = _rows(database, "select key from pipeline.alerts where closed_at is null")
        assert any(row.key.startswith("message.parked") for row in alerts), alerts
        # None of it is anywhere in clear.
        (clear,) = _rows(database, "select count(*) as n from pipeline.parked_messages p "
                                   "where p::text like '%OrderChangeNotification%'")  # fmt: skip
        assert clear.n == 0


def _depth(sandbox: Sandbox, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sandbox.queue.client().get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in attributes.values())
