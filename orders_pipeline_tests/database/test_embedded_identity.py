"""Which process is the embedded server, and whose folders it is reached through: nothing else is believed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orders_pipeline.database.connect import orders_database_url
from orders_pipeline.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, find_embedded, start_embedded
from orders_pipeline.database.embedded_process import server_user
from orders_pipeline.operations.serve import prepare_store
from orders_pipeline.secret_files import DataFolderRefused
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.database.test_embedded import NOBODY, as_root


@pytest.fixture
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pg") / "data"
    yield folder
    if folder.is_symlink() or not folder.exists():
        return
    os.chown(folder, os.geteuid(), -1)
    if (running := find_embedded(folder)) is not None:
        running.stop()


@pytest.fixture(params=["of another user", "of the server's user"])
def stranger(request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    """A process that is no server, although its command line names one."""
    user = server_user()
    options: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "cwd": "/"}
    if request.param == "of another user":
        if os.geteuid() != 0:
            pytest.skip("only root can act as another user")
        options = {"user": NOBODY, "cwd": "/"}
    command = ["sh", "-c", "read wait", "notes-on-postgres.md"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, **options) as process:
        yield psutil.Process(process.pid)
        process.kill()


def _name_in_pid_file(server: EmbeddedPostgres, process: psutil.Process) -> None:
    """As after a crash, when the server's number has been given to another process."""
    pid_file = server.data_folder / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    workers = psutil.Process(server.pid).children(recursive=True)
    server_process = psutil.Process(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([server_process, *workers], timeout=20)
    pid_file.write_text("\n".join([str(process.pid), *lines[1:]]) + "\n")


def test_another_process_with_the_servers_old_pid_is_left_alone(data_dir: Path, stranger: psutil.Process):
    server = start_embedded(data_dir)
    _name_in_pid_file(server, stranger)
    assert find_embedded(data_dir) is None
    server.stop()
    assert stranger.is_running()
    assert stranger.status() != psutil.STATUS_ZOMBIE
    again = start_embedded(data_dir)
    assert again.started_here
    assert again.pid != stranger.pid


def test_a_pid_file_that_no_server_wrote_whole_names_nobody(data_dir: Path):
    (data_dir / "postgres").mkdir(parents=True)
    for first in ("", "-1", "0", "x", "9" * 30):
        (data_dir / "postgres" / "postmaster.pid").write_text(f"{first}\n/x\n1\n5432\n/x\n\n 1 1\nready\n")
        assert find_embedded(data_dir) is None


@pytest.fixture
def deep_server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """Too deep for a socket of its own folder."""
    folder = data_dir / ("d" * 60) / ("e" * 60)
    server = start_embedded(folder)
    yield server
    if (running := find_embedded(folder)) is not None:
        running.stop()
    shutil.rmtree(server.socket_folder, ignore_errors=True)


@pytest.mark.parametrize("whose", ["open to all", pytest.param("another's", marks=as_root)])
def test_no_password_or_order_goes_to_who_took_the_sockets_folder(deep_server: EmbeddedPostgres, whose: str):
    settings = load_settings({"ORDERS_DATA_DIR": str(deep_server.data_folder.parent)})
    # Whoever tidies temporary files took it; another user was quicker than the next start.
    shutil.rmtree(deep_server.socket_folder)
    deep_server.socket_folder.mkdir()
    if whose == "another's":
        os.chown(deep_server.socket_folder, NOBODY, NOBODY)
    deep_server.socket_folder.chmod(0o700 if whose == "another's" else 0o777)
    with pytest.raises(EmbeddedPostgresError, match="is not this server's alone"):
        orders_database_url(settings)
    with pytest.raises(EmbeddedPostgresError, match="is not this server's alone"):
        start_embedded(settings.data_dir)
    deep_server.stop()
    assert not psutil.pid_exists(deep_server.pid) or find_embedded(settings.data_dir) is None


def test_a_server_whose_socket_was_tidied_away_is_started_again(deep_server: EmbeddedPostgres):
    data_dir = deep_server.data_folder.parent
    shutil.rmtree(deep_server.socket_folder)
    with pytest.raises(EmbeddedPostgresError, match="socket"):
        orders_database_url(load_settings({"ORDERS_DATA_DIR": str(data_dir)}))
    again = start_embedded(data_dir)
    assert again.started_here
    assert again.pid != deep_server.pid
    assert (again.socket_folder / ".s.PGSQL.5432").is_socket()
    assert again.url("orders") == orders_database_url(load_settings({"ORDERS_DATA_DIR": str(data_dir)}))


@as_root
def test_a_data_folder_of_another_user_or_open_to_others_is_refused_or_closed(data_dir: Path, database_url: str):
    data_dir.mkdir()
    data_dir.chmod(0o777)
    external = load_settings({"ORDERS_DATA_DIR": str(data_dir), "ORDERS_DATABASE_URL": database_url})
    # Keys, sessions and copies of the audit log are in it, wherever the database is.
    prepare_store(external)
    assert data_dir.stat().st_mode & 0o777 == 0o700
    os.chown(data_dir, NOBODY, NOBODY)
    embedded = load_settings({"ORDERS_DATA_DIR": str(data_dir)})
    for settings in (external, embedded):
        with pytest.raises((EmbeddedPostgresError, DataFolderRefused), match="belongs to another user"):
            prepare_store(settings)
    assert list(data_dir.iterdir()) == []


def test_the_data_folder_of_a_server_that_runs_already_is_closed_too(data_dir: Path):
    assert start_embedded(data_dir).started_here
    data_dir.chmod(0o755)
    assert not start_embedded(data_dir).started_here
    assert data_dir.stat().st_mode & 0o777 == 0o700
