"""The command line: one sentence for what a person can mend, and real work against the sandbox."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import dagster as dg
import psutil
import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.channels.amazon.diagnostics import bad
from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.cli.main import main
from orders_pipeline.database.engine import Database
from orders_pipeline.operations.processes import stop_tree
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.settings import AMAZON_REQUIRED, WAREHOUSE_REQUIRED
from orders_pipeline_tests.audit.tampering import as_superuser, write_days_ago
from orders_pipeline_tests.aws import ThreadedServer
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

COMMAND = [sys.executable, "-m", "orders_pipeline.cli"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(subscribed=False) as running:
        yield running


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_one_error_names_every_missing_variable(command: str, tmp_path: Path):
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    refused = subprocess.run([*COMMAND, command], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    for name in (*AMAZON_REQUIRED, *WAREHOUSE_REQUIRED):
        assert name in refused.stderr


def test_a_database_that_is_away_is_named_and_its_password_is_not(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, "postgresql://u:the-password@127.0.0.1:1/orders", tmp_path, monkeypatch)
    result = CliRunner().invoke(main, ["migrate"])
    assert result.exit_code == 2
    assert "PostgreSQL cannot be used" in result.output
    assert "the-password" not in result.output


def test_the_doctor_says_ok_line_by_line_once_subscribed_and_what_to_do_before(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    before = CliRunner().invoke(main, ["doctor"])
    assert before.exit_code == 1
    assert "orders-pipeline subscribe" in before.output
    assert CliRunner().invoke(main, ["subscribe"]).exit_code == 0
    again = CliRunner().invoke(main, ["subscribe"])
    assert "was there" in again.output
    after = CliRunner().invoke(main, ["doctor"])
    assert "subscription" in after.output
    assert [line for line in after.output.splitlines() if line.startswith("todo")] == [], after.output
    for subject in ("database", "keys", "warehouse", "queue", "credentials", "order role", "marketplaces", "clock"):
        assert subject in after.output


def test_an_order_that_a_person_names_is_made_due(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    assert CliRunner().invoke(main, ["recover", "111-0000000-0000001"]).exit_code == 0
    with database.begin() as connection:
        due = connection.execute(text("select subject from pipeline.jobs where queue = 'fetch'"))
        assert due.scalars().all() == ["111-0000000-0000001"]


def test_adopting_an_order_by_its_id_says_what_it_did_and_refuses_what_is_no_id(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    assert "0 orders from before the start wait" in CliRunner().invoke(main, ["adopt"]).output
    assert "1 orders are ours from now on" in CliRunner().invoke(main, ["adopt", "111-0000000-0000001"]).output
    refused = CliRunner().invoke(main, ["adopt", "maria"])
    assert refused.exit_code == 2
    assert "nothing was adopted" in refused.output


HOSTILE = "see [/section 3] [bold]b[/bold] :smile: \x1b]0;pwned\x07 \u202e"
SHOWN = "see [/section 3] [bold]b[/bold] :smile: \\x1b]0;pwned\\x07 \\u202e"


def test_the_words_of_others_are_shown_as_they_are_and_obeyed_by_no_terminal(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)

    def refuse(*_: object, **__: object) -> Any:
        raise AmazonBadRequest(f"Amazon says: {HOSTILE}\nand more", operation="getOrder")

    waiting = SimpleNamespace(order_id="1", status=HOSTILE, purchased_at=datetime.now(UTC), ship_by=None)
    monkeypatch.setattr("orders_pipeline.cli.deployment.examine", lambda _: [bad("orders", HOSTILE, HOSTILE)])
    monkeypatch.setattr("orders_pipeline.cli.orders.orders_to_adopt", lambda *_, **__: [waiting])
    monkeypatch.setattr("orders_pipeline.cli.orders.recover_order", refuse)
    doctor = CliRunner().invoke(main, ["doctor"])
    assert doctor.output == f"todo orders: {SHOWN}\n     → {SHOWN}\n"
    assert f"1: {SHOWN}, purchased" in CliRunner().invoke(main, ["adopt"]).output
    refused = CliRunner().invoke(main, ["recover", "1"])
    assert refused.output == f"error: Amazon says: {SHOWN}\nand more\n"
    assert refused.exit_code == 2


@pytest.mark.processes
@pytest.mark.slow(35)
def test_up_starts_everything_and_on_sigterm_stops_all_that_it_started(sandbox: Sandbox, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **sandbox.environment(),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "ORDERS_DATA_DIR": str(tmp_path / "data"),
    }
    for name in ("ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL"):
        environment.pop(name, None)
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen([*COMMAND, "up", "--port", str(port)], env=environment, stdout=log, stderr=log)
    try:
        _await(lambda: _ticks(tmp_path / "data") and _serves(port), up, tmp_path / "up.log")
        started = psutil.Process(up.pid).children(recursive=True)
        postmaster = int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        started.append(psutil.Process(postmaster))
        assert len(started) >= 4
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=60) == 0
        _, alive = psutil.wait_procs(started, timeout=10)
        assert alive == []
    finally:
        stop_tree(up.pid)
    alone = subprocess.run(
        [sys.executable, "-m", "dagster", "dev", "-p", str(port)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode != 0
    assert "run `orders-pipeline up`" in alone.stderr
    assert "Traceback" not in alone.stderr


def _serves(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False


def _ticks(data_dir: Path) -> bool:
    """Whether the daemon has evaluated a sensor: everything is up then."""
    pid_file = data_dir / "postgres" / "postmaster.pid"
    if not pid_file.exists():
        return False
    engine = create_engine(f"postgresql+psycopg2://postgres:@/dagster?host={data_dir / 'postgres'}")
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text("select count(*) from job_ticks")).scalar_one())
    except Exception:  # noqa: BLE001 - not there yet, in any of the ways in which a starting server is not there
        return False
    finally:
        engine.dispose()


def _await(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


def test_a_person_reveals_and_erases_an_address_with_a_reason(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    sandbox.subscribe(sandbox.seller_id)
    order = sandbox.add_order(status="UNSHIPPED")
    # Whatever a buyer wrote: it must not clear the reader's screen, or turn its text around.
    order.address.name = "Ann\x1b[2J\u202eQuillfeather"
    with dg.DagsterInstance.ephemeral() as instance:
        Pipeline(instance).tick("drain_notifications_sensor")
    street = sandbox.warehouse.orders[order.order_id].ship_to["address_line1"]
    shown = CliRunner().invoke(main, ["reveal", order.order_id, "--reason", "the carrier asked for the street"])
    assert street in shown.output
    assert "name: Ann\\x1b[2J\\u202eQuillfeather" in shown.output
    assert not {"\x1b", "\u202e"} & set(shown.output)
    with database.begin() as connection:
        written = connection.execute(
            text("select actor, purpose from audit.entries where action = 'reveal' order by entry_id desc limit 1")
        ).one()
    assert written.actor.startswith("user:")
    assert written.purpose == "the carrier asked for the street"
    rotated = CliRunner().invoke(main, ["keys", "rotate"])
    assert rotated.exit_code == 0, rotated.output
    assert street in CliRunner().invoke(main, ["reveal", order.order_id, "--reason", "after the rotation"]).output
    forgotten = CliRunner().invoke(main, ["erase", order.order_id, "--reason", "the buyer asked"])
    assert forgotten.exit_code == 0, forgotten.output
    again = CliRunner().invoke(main, ["reveal", order.order_id, "--reason", "is it gone?"])
    assert again.exit_code == 2
    assert street not in again.output
    assert sandbox.warehouse.orders[order.order_id].erased
    verified = CliRunner().invoke(main, ["audit", "verify"])
    assert verified.exit_code == 0, verified.output
    exported = CliRunner().invoke(main, ["audit", "export", f"{database.now():%Y-%m-%d}"])
    assert order.order_id in exported.output
    assert street not in exported.output


def test_an_exported_day_is_kept_once_and_verified_without_database_or_settings(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch, ORDERS_AUDIT_EXPORT=str(tmp_path / "kept"))
    write_days_ago(database, AuditLog(database), 1, "111-1", "111-2")
    yesterday = f"{database.now() - timedelta(days=1):%Y-%m-%d}"
    kept = CliRunner().invoke(main, ["audit", "export", "--keep", yesterday])
    assert kept.exit_code == 0, kept.output
    assert "2 entries" in kept.output
    verified = CliRunner().invoke(main, ["audit", "verify"])
    assert "Held against the exports: entries are as they were exported." in verified.output
    file = tmp_path / "kept" / f"audit-{yesterday}.jsonl.gz"
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    alone = subprocess.run(
        [*COMMAND, "audit", "verify", "--file", str(file)], env=bare, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (alone.returncode, "2 entries" in alone.stdout) == (0, True), alone.stderr
    lines = gzip.decompress(file.read_bytes()).replace(b"111-2", b"111-9")
    (tmp_path / "changed.jsonl.gz").write_bytes(gzip.compress(lines))
    changed = CliRunner().invoke(main, ["audit", "verify", "--file", str(tmp_path / "changed.jsonl.gz")])
    assert changed.exit_code == 1
    assert "breaks at entry 2" in changed.output
    # Cut off and recomputed, the log holds by itself; what was exported says otherwise.
    as_superuser(database, "delete from audit.entries where entry_id > 1")
    cut = CliRunner().invoke(main, ["audit", "verify"])
    assert cut.exit_code == 1
    assert "newest entries are gone" in cut.output
    again = CliRunner().invoke(main, ["audit", "export", "--keep", yesterday])
    assert again.exit_code == 2
    assert "incident" in again.output
    # If it was a restore that cut it off, it takes back what it lacks.
    restored = CliRunner().invoke(main, ["audit", "restore"])
    assert "1 entries came back" in restored.output
    assert CliRunner().invoke(main, ["audit", "verify"]).exit_code == 0
    assert "lacks nothing" in CliRunner().invoke(main, ["audit", "restore"]).output


def test_a_wrong_place_for_the_audit_exports_is_named_and_stops_nothing_else(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch, ORDERS_AUDIT_EXPORT="s3:/no-bucket")
    for command in (["doctor"], ["audit", "verify"], ["audit", "export", "--keep", "2026-11-01"]):
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 2, command
        assert "ORDERS_AUDIT_EXPORT must be a folder or s3://bucket/prefix" in refused.output
    assert CliRunner().invoke(main, ["recover", "111-0000000-0000001"]).exit_code == 0
    assert not (tmp_path / "audit_export").exists()


def test_what_is_no_order_id_goes_nowhere(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    name = "Canary Quillfeather, 7 Nightingale Row"
    for command in (["reveal", name, "--reason", "x"], ["recover", name], ["erase", name, "--reason", "x"]):
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 2, refused.output
        assert "letters, digits and hyphens" in refused.output
    with database.begin() as connection:
        for table in ("audit.entries", "pipeline.orders", "pipeline.order_events", "pipeline.erasures"):
            rows = connection.execute(text(f"select * from {table}")).all()
            assert "Quillfeather" not in str(rows), table


def test_a_lost_keyring_is_replaced_on_request_only(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    sandbox.subscribe(sandbox.seller_id)
    order = sandbox.add_order(status="UNSHIPPED")
    with dg.DagsterInstance.ephemeral() as instance:
        Pipeline(instance).tick("drain_notifications_sensor")
    (tmp_path / "keyring.json").unlink()
    refused = CliRunner().invoke(main, ["reveal", order.order_id, "--reason", "x"])
    assert refused.exit_code == 2
    assert "replace-lost" in refused.output
    assert not (tmp_path / "keyring.json").exists()
    assert CliRunner().invoke(main, ["keys", "replace-lost"], input="n\n").exit_code == 1
    replaced = CliRunner().invoke(main, ["keys", "replace-lost", "--yes"])
    assert replaced.exit_code == 0, replaced.output
    gone = CliRunner().invoke(main, ["reveal", order.order_id, "--reason", "x"])
    assert gone.exit_code == 2
    assert "cannot be opened" in gone.output


def test_the_doctor_says_that_a_key_without_an_alias_cannot_be_rotated(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch, ORDERS_KMS_KEY_ID="arn:aws:kms:x:1:key/abc")
    with ThreadedServer() as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        client: Any = boto3.client("kms")
        monkeypatch.setenv("ORDERS_KMS_KEY_ID", client.create_key()["KeyMetadata"]["Arn"])
        told = CliRunner().invoke(main, ["doctor"])
    assert "create-alias" in told.output
