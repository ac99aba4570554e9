"""The embedded PostgreSQL: one owner, found by others, back after a crash, silent about what it is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from orders_pipeline.settings import load_settings
from orders_pipeline.store.connect import orders_database_url
from orders_pipeline.store.embedded import EmbeddedPostgresError, find_embedded, start_embedded


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
