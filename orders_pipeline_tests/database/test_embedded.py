"""The embedded PostgreSQL: one owner, found by others, back after a crash, silent about what it is told."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from orders_pipeline.database import embedded_process
from orders_pipeline.database.connect import orders_database_url
from orders_pipeline.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, find_embedded, start_embedded
from orders_pipeline.database.embedded_access import socket_folder_of
from orders_pipeline.settings import load_settings


@pytest.fixture
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pg")
    yield folder
    running = find_embedded(folder)
    if running is not None:
        running.stop()


def test_it_is_started_once_and_found_by_others(data_dir: Path):
    first, second = start_embedded(data_dir), start_embedded(data_dir)
    assert first.started_here
    assert not second.started_here
    assert first.pid == second.pid
    assert orders_database_url(load_settings({"ORDERS_DATA_DIR": str(data_dir)})) == first.url("orders")
    first.stop()
    assert find_embedded(data_dir) is None


def test_after_a_kill_it_comes_back_with_what_was_committed(data_dir: Path):
    server = start_embedded(data_dir)
    engine = create_engine(server.url("postgres"))
    with engine.begin() as connection:
        connection.execute(text("create table kept (id int)"))
    engine.dispose()
    postmaster = psutil.Process(server.pid)
    workers = postmaster.children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([postmaster, *workers], timeout=20)
    again = start_embedded(data_dir)
    assert again.started_here
    engine = create_engine(again.url("postgres"))
    with engine.begin() as connection:
        assert connection.execute(text("select count(*) from kept")).scalar_one() == 0
    engine.dispose()


def test_a_process_that_needs_it_says_what_to_run_when_it_is_not_there(tmp_path: Path):
    with pytest.raises(EmbeddedPostgresError, match="run `orders-pipeline up`"):
        orders_database_url(load_settings({"ORDERS_DATA_DIR": str(tmp_path)}))


def test_its_log_holds_no_statement_that_failed(data_dir: Path):
    server = start_embedded(data_dir)
    engine = create_engine(server.url("postgres"))
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("insert into nowhere values ('12 Canary Street')"))
    engine.dispose()
    assert "Canary" not in (data_dir / "postgres" / "log").read_text(errors="replace")


# --- other users of this machine

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def deep_data_dir(data_dir: Path) -> Path:
    """Too deep for a socket, and below a folder that only its owner may enter."""
    return data_dir / ("d" * 60) / ("e" * 60)


def _as_nobody(server: EmbeddedPostgres) -> subprocess.CompletedProcess[str]:
    """What another user of this machine is told who says that he is the database's superuser."""
    programs = embedded_process._programs()  # pyright: ignore[reportPrivateUsage]
    command = [str(programs / "bin" / "psql"), "-h", str(server.socket_folder), "-U", "postgres", "-Atc", "select 'in'"]
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True, check=False
    )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _open_the_way_to(server: EmbeddedPostgres) -> None:
    for folder in (server.data_folder, *server.data_folder.parents[:2]):
        folder.chmod(0o755)
    (server.socket_folder / ".s.PGSQL.5432").chmod(0o777)


def _trust_everybody(server: EmbeddedPostgres) -> None:
    """As the release before left it."""
    (server.data_folder / "pg_hba.conf").write_text("local all all trust\n")
    os.kill(server.pid, signal.SIGHUP)
    _open_the_way_to(server)


def _wait_until_nobody_is(told: str, server: EmbeddedPostgres) -> None:
    deadline = time.monotonic() + 10
    while told not in (answer := _as_nobody(server)).stdout + answer.stderr:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


@as_root
@pytest.mark.parametrize("deep", [False, True], ids=["short", "deep"])
def test_no_other_user_of_the_machine_gets_in_and_no_folder_above_is_opened(
    data_dir: Path, deep_data_dir: Path, deep: bool
):
    folder = deep_data_dir if deep else data_dir / "data"
    data_dir.chmod(0o700)
    before = {path: _mode(path) for path in (data_dir, *data_dir.parents)}
    server = start_embedded(folder)
    try:
        assert {path: _mode(path) for path in before} == before
        assert (_mode(folder), _mode(server.data_folder), _mode(server.socket_folder)) == (0o700, 0o700, 0o700)
        assert _mode(server.socket_folder / ".s.PGSQL.5432") == 0o700
        assert (server.socket_folder == server.data_folder) is not deep
        told = _as_nobody(server)
        assert (told.stdout, told.returncode) == ("", 2)
        assert "Permission denied" in told.stderr
        engine = create_engine(server.url("postgres"))
        with engine.connect() as connection:
            assert connection.execute(text("select current_user")).scalar_one() == "postgres"
        engine.dispose()
    finally:
        server.stop()
        if deep:
            shutil.rmtree(server.socket_folder)


@as_root
def test_a_server_of_the_release_before_lets_nobody_else_in_from_the_next_start_on():
    with tempfile.TemporaryDirectory(prefix="orders-test-") as made:
        data_dir = Path(made) / "data"
        server = start_embedded(data_dir)
        try:
            _trust_everybody(server)
            _wait_until_nobody_is("in\n", server)
            # It was left running, by a start that was killed.
            assert not start_embedded(data_dir).started_here
            assert (_mode(data_dir), _mode(server.data_folder)) == (0o700, 0o700)
            _open_the_way_to(server)
            _wait_until_nobody_is("Peer authentication failed", server)
            # It was stopped.
            _trust_everybody(server)
            server.stop()
            server = start_embedded(data_dir)
            assert (_mode(data_dir), _mode(server.socket_folder / ".s.PGSQL.5432")) == (0o700, 0o700)
            _open_the_way_to(server)
            assert "Peer authentication failed" in _as_nobody(server).stderr
        finally:
            server.stop()


def test_a_short_folder_for_the_socket_that_somebody_else_made_first_is_refused(deep_data_dir: Path):
    short = socket_folder_of(deep_data_dir / "postgres")
    try:
        short.chmod(0o777)
        with pytest.raises(EmbeddedPostgresError, match="is not this server's alone"):
            start_embedded(deep_data_dir)
        short.rmdir()
        short.symlink_to(deep_data_dir.parent)
        with pytest.raises(EmbeddedPostgresError, match="is not this server's alone"):
            start_embedded(deep_data_dir)
    finally:
        if short.is_symlink():
            short.unlink()
        elif short.is_dir():
            short.rmdir()


@as_root
def test_programs_in_a_folder_of_roots_alone_are_run_from_a_copy(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded_process, "_everybody_reaches", lambda _: False)
    copy = embedded_process._programs().parents[1]  # pyright: ignore[reportPrivateUsage]
    try:
        server = start_embedded(data_dir)
        assert Path(psutil.Process(server.pid).exe()).is_relative_to(copy)
        server.stop()
        copy.chmod(0o777)
        with pytest.raises(EmbeddedPostgresError, match="was made by another user"):
            start_embedded(data_dir)
    finally:
        shutil.rmtree(copy)
