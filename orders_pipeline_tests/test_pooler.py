"""The whole road through pgBouncer in transaction mode: nothing that we do needs a session of its own.

A session's settings and LISTEN are lost there. The settings are then the login's (docs/operating.md), and work is
looked for instead of heard of.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.embedded_process import server_user
from orders_pipeline.database.engine import Database
from orders_pipeline.database.notifications import Listener, notify
from orders_pipeline.operations.doctor import check_database
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.due import make_jobs_due
from orders_pipeline_tests.pipeline import pipeline_for

PATIENCE_SECONDS = 90
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
# As docs/operating.md says. Fewer connections than the pipeline opens: each is soon another's.
CONFIGURATION = """
[databases]
* = host={server}
[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
logfile = {folder}/log
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 4
ignore_startup_parameters = options
"""
SETTINGS = (
    "timezone = 'UTC'", "statement_timeout = '30s'", "lock_timeout = '10s'",
    "idle_in_transaction_session_timeout = '120s'",
)  # fmt: skip


@pytest.fixture
def pooled_url(postgres: EmbeddedPostgres, database_url: str) -> Iterator[str]:
    """The test's database behind pgBouncer, without the settings of a login."""
    if PROGRAM is None:
        missing = "pgbouncer is not installed: `make pgbouncer` as root on Debian installs it"
        assert "CI" not in os.environ, missing
        pytest.skip(missing)
    user = server_user()
    options = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="pool-") as name:
        folder = Path(name)
        (folder / "users").write_text('"postgres" ""\n', "ascii")
        (folder / "ini").write_text(CONFIGURATION.format(server=postgres.socket_folder, folder=folder), "utf-8")
        data_folder = postgres.data_folder.parent
        mode, rules = data_folder.stat().st_mode, postgres.data_folder / "pg_ident.conf"
        before = rules.read_text("utf-8")
        if user is not None:
            # It refuses to be root, and the server lets nobody else in.
            os.chown(folder, user.pw_uid, user.pw_gid)
            data_folder.chmod(0o711)
            rules.write_text(f'{before}orders_pipeline "{user.pw_name}" all\n', "utf-8")
            os.kill(postgres.pid, signal.SIGHUP)
        pooler = subprocess.Popen([PROGRAM, "--quiet", str(folder / "ini")], **options)  # type: ignore[call-overload]
        try:
            url = make_url(database_url).set(query={"host": str(folder), "port": "6432"})
            yield _answering(url.render_as_string(hide_password=False))
        finally:
            pooler.terminate()
            pooler.wait(20)
            rules.write_text(before, "utf-8")
            os.kill(postgres.pid, signal.SIGHUP)
            data_folder.chmod(mode & 0o777)


def _answering(url: str) -> str:
    database, deadline = Database(url), time.monotonic() + 20
    while True:
        try:
            database.now()
        except OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            database.close()
            return url


def _give_the_login_its_settings(admin: Engine, url: str) -> None:
    with admin.connect() as connection:
        for setting in SETTINGS:
            connection.execute(text(f"alter role postgres in database {make_url(url).database} set {setting}"))


def test_orders_reach_the_warehouse_and_packages_amazon_through_a_pooler(
    pooled_url: str, postgres_admin: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _give_the_login_its_settings(postgres_admin, pooled_url)
    sandbox = Sandbox(
        seed=7,
        time_scale=60,
        day=DayOptions(orders=8, duration_seconds=2),
        floor=FloorOptions(min_seconds=1, max_seconds=2),
    )
    with sandbox, pipeline_for(sandbox, pooled_url, tmp_path, monkeypatch) as pipeline:
        database, began = Database(pooled_url), time.monotonic()
        sandbox.day.start()
        while not (sandbox.day.finished() and all(one.ok for one in sandbox.judge.verdicts(sandbox.day.planned))):
            wrong = [one for one in sandbox.judge.verdicts(sandbox.day.planned) if not one.ok]
            assert time.monotonic() < began + PATIENCE_SECONDS, wrong[:5]
            pipeline.run_until_idle()
            with database.begin() as connection:
                make_jobs_due(connection)
        assert pipeline.failed_runs == []
        for job in ("shred_expired_pii", "rotate_keys"):
            assert pipeline.run(job), job
        print(f"8 orders through pgBouncer in {time.monotonic() - began:.1f} s")
        database.close()


def test_the_doctor_says_where_a_pooler_drops_the_limits_of_a_session(
    pooled_url: str, postgres_admin: Engine, tmp_path: Path
):
    result = check_database(deployed(pooled_url, tmp_path))
    assert not result.ok
    assert "lock_timeout, statement_timeout of its sessions is not set" in result.detail
    _give_the_login_its_settings(postgres_admin, pooled_url)
    # Those of the pooler's own sessions to the server are from before.
    with postgres_admin.connect() as admin:
        admin.execute(
            text("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = :name"),
            {"name": make_url(pooled_url).database},
        )
    assert check_database(deployed(pooled_url, tmp_path)).ok


def test_a_notification_is_not_heard_through_a_pooler_and_the_listener_waits_no_longer_than_it_is_told(pooled_url: str):
    database = Database(pooled_url)
    with Listener(database) as listener:
        with database.begin() as connection:
            notify(connection, "account", "topic")
        began = time.monotonic()
        assert listener.wait(0.2) == set()
        assert time.monotonic() - began < 5
    database.close()
