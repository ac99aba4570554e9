"""The whole pipeline as it is deployed on one machine, beside a sandbox of this process."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from orders_pipeline.database.connect import DAGSTER_DATABASE
from orders_pipeline.database.embedded import find_embedded
from orders_pipeline.demo import running_pipeline
from orders_pipeline.operations.serve import choose_port
from orders_pipeline.sandbox.sandbox import Sandbox


class Stack:
    """What runs. `folder` holds its data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def dagster(self, statement: str) -> int:
        """One number of Dagster's own storage."""
        server = find_embedded(self._folder)
        assert server is not None, "the stack is up"
        engine = create_engine(server.url(DAGSTER_DATABASE))
        try:
            with engine.connect() as connection:
                return int(connection.execute(text(statement)).scalar_one())
        finally:
            engine.dispose()


@contextmanager
def running_stack(sandbox: Sandbox) -> Generator[Stack]:
    """`orders-pipeline up` for this sandbox, in a folder of its own, until the context ends."""
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as name:
        folder = Path(name)
        with running_pipeline(folder, sandbox.environment(), choose_port(None)):
            yield Stack(folder)
