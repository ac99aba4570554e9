"""The whole pipeline as it is deployed on one machine, beside a sandbox of this process."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text

from orders_pipeline.database.connect import DAGSTER_DATABASE, ORDERS_DATABASE
from orders_pipeline.database.embedded import EmbeddedPostgres, find_embedded
from orders_pipeline.demo import running_pipeline
from orders_pipeline.operations.serve import choose_port
from orders_pipeline.sandbox.sandbox import Sandbox

EVENT_ROWS = "select count(*) from event_logs"
HISTORY_BYTES = "select pg_database_size(current_database())"


class Stack:
    """What runs. `folder` holds its data, `url` is its web port."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self.url = url

    def dagster(self, statement: str) -> float:
        """One number of Dagster's own storage."""
        return self._number(DAGSTER_DATABASE, statement)

    def orders(self, statement: str) -> float:
        """One number of the pipeline's own store."""
        return self._number(ORDERS_DATABASE, statement)

    def processor_seconds(self) -> float:
        """What all its processes have used of the processors so far: those that ended, and PostgreSQL's, too."""
        ours = psutil.Process().children(recursive=True)
        server = psutil.Process(self._server().pid)
        processes = {one.pid: one for one in [*ours, server, *server.children(recursive=True)]}
        return sum(_used(one) for one in processes.values())

    def _number(self, database: str, statement: str) -> float:
        engine = create_engine(self._server().url(database))
        try:
            with engine.connect() as connection:
                return float(connection.execute(text(statement)).scalar_one())
        finally:
            engine.dispose()

    def _server(self) -> EmbeddedPostgres:
        server = find_embedded(self._folder)
        assert server is not None, "the stack is up"
        return server


@contextmanager
def running_stack(sandbox: Sandbox, port: int | None = None, **settings: str) -> Generator[Stack]:
    """`orders-pipeline up` for this sandbox, in a folder of its own, until the context ends."""
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as name:
        folder = Path(name)
        with running_pipeline(folder, {**sandbox.environment(), **settings}, choose_port(port)) as url:
            yield Stack(folder, url)


def _used(process: psutil.Process) -> float:
    """Its own seconds, and those of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system
