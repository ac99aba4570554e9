"""The drain: how fast messages become committed events, of how fast this queue gives and deletes them at all."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.table import Row, row
from bench.workload import Workload
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.intake.drain import drain_notifications
from orders_pipeline.intake.queue import NotificationQueue
from orders_pipeline.sandbox.sandbox import SELLER_ID, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring

TITLE = "The drain"
# The server's time for a message grows with its queue, so the rounds are short and many.
ROUNDS = 5


def run(workload: Workload) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as name:
        server = start_embedded(Path(name))
        try:
            url = server.url("bench")
            ensure_database_exists(url)
            database = Database(url)
            upgrade(database)
            vault = Vault(database, LocalKeyring(Path(name) / "keyring.json"), AuditLog(database))
            with Sandbox(floor=FloorOptions(automatic=False)) as sandbox:
                ours, bare = _alternately(sandbox, database, vault, workload.drained_messages)
            database.close()
        finally:
            server.stop()
    return [row("events committed a second, of messages received and deleted", ours, bare, ">= 0.8")]


def _alternately(sandbox: Sandbox, database: Database, vault: Vault, messages: int) -> tuple[float, float]:
    """Messages a second, ours and bare, each over all rounds: the server slows down as its queue grows."""
    names = ("AWS_ENDPOINT_URL_SQS", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    os.environ.update({name: sandbox.environment()[name] for name in names})
    queue = NotificationQueue(sandbox.queue.url)
    ours = bare = 0.0
    for _ in range(ROUNDS):
        _fill(sandbox, messages)
        started = time.perf_counter()
        totals = drain_notifications(queue, database, vault, account_id=SELLER_ID, wait_seconds=0, budget_seconds=600)
        ours += time.perf_counter() - started
        assert totals.new_events == messages, totals
        _fill(sandbox, messages)
        started = time.perf_counter()
        received = 0
        while found := queue.receive(wait_seconds=0):
            received += len(found)
            queue.delete(found)
        bare += time.perf_counter() - started
        assert received == messages, received
    return ROUNDS * messages / ours, ROUNDS * messages / bare


def _fill(sandbox: Sandbox, messages: int) -> None:
    for _ in range(messages):
        sandbox.add_order()
    while sandbox.queue.depth() < messages:
        time.sleep(0.05)
