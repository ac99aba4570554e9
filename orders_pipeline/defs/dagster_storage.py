"""Dagster's own storage: PostgreSQL, wherever the orders are.

It takes DAGSTER_POSTGRES_URL, else the database `dagster` in the orders' server, and says in one line what to run
when there is none: a bare `env:` in dagster.yaml would end in a traceback, and could not name the embedded server.
"""

from __future__ import annotations

import atexit
import sys
import tempfile
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from dagster_postgres import DagsterPostgresStorage

from orders_pipeline.database.connect import dagster_database_url
from orders_pipeline.database.embedded import EmbeddedPostgresError, start_embedded
from orders_pipeline.settings import SettingsError, load_settings


class OrdersPostgresStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage at the address that the settings name."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> OrdersPostgresStorage:
        try:
            url = dagster_database_url(load_settings())
        except (EmbeddedPostgresError, SettingsError) as error:
            if _only_loads_definitions(sys.argv):
                return cls(postgres_url=_server_for_one_command(), inst_data=inst_data)
            if current_thread() is not main_thread():
                # A server that is away for a moment: Dagster reports errors of a thread, and waits for one that exits.
                raise
            # One line on stderr and exit code 1: this is what a person sees who types `dagster dev` alone.
            raise SystemExit(str(error)) from None
        return cls(postgres_url=url, inst_data=inst_data)


def _server_for_one_command() -> str:
    """The URL of an embedded server in a temporary folder, gone when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="orders-", ignore_cleanup_errors=True)
    server = start_embedded(Path(folder.name))
    # The last registered is the first called: stop, then remove.
    atexit.register(folder.cleanup)
    atexit.register(server.stop)
    return server.url("postgres")


def _only_loads_definitions(arguments: list[str]) -> bool:
    """Whether this command looks at the definitions and at nothing that was stored: CI has no server for it."""
    words = set(arguments[1:4])
    return {"definitions", "validate"} <= words or {"check", "defs"} <= words or {"list", "defs"} <= words
