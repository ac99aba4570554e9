"""What the assets and sensors are given: the store with its accounts, and where the audit log's copies go.

No secret is a resource's configuration: none is in the UI, in run config or in an event.

https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.runs import IDLE_SECONDS, LONGEST_SECONDS
from orders_pipeline.http.aws import aws_client
from orders_pipeline.http.hosts import is_loopback
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.privacy.audit_export.targets import ExportTarget, open_export_target
from orders_pipeline.settings import Settings, load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.work.hot_loop import Awake
from orders_pipeline.work.run_workers import note_worker

# A run that stays awake ends so soon after its accounts have changed; the next has the others.
ACCOUNTS_ARE_READ_EVERY_SECONDS = 5.0


class StoreResource(dg.ConfigurableResource):
    """The orders' database (ORDERS_DATABASE_URL, or the embedded PostgreSQL of the data folder) and the vault in it."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """A run notes which process works on it; defs.runs looks whether that process lives."""
        if context.run is not None:
            # Without a database the asset itself will say so.
            with suppress(EmbeddedPostgresError, SQLAlchemyError), self.database().begin() as connection:
                note_worker(connection, context.run.run_id)

    def deployment(self) -> Deployment:
        """All that the settings name, as they are now in the environment and `.env`."""
        return _deployment_of(load_settings())

    def settings(self) -> Settings:
        return self.deployment().settings

    def accounts(self) -> tuple[ServedAccount, ...]:
        """Every account that is served, each with its Amazon, queue and warehouse. Raises SettingsError."""
        return self.deployment().accounts()

    def still_serves(self, accounts: tuple[ServedAccount, ...]) -> Callable[[], bool]:
        """Whether these are still the accounts of the settings: asked every second, read every few."""
        began, read_at = tuple(one.settings for one in accounts), time.monotonic()
        answer = True

        def ask() -> bool:
            nonlocal answer, read_at
            if answer and time.monotonic() - read_at >= ACCOUNTS_ARE_READ_EVERY_SECONDS:
                read_at = time.monotonic()
                now = load_settings()
                # What cannot be read now is no reason to stop who works.
                answer = (now.accounts_of_file or ((now.amazon,) if now.amazon else began)) == began
            return answer

        return ask

    def database(self) -> Database:
        """Raises EmbeddedPostgresError when the embedded server is not running."""
        return self.deployment().database

    def audit(self) -> AuditLog:
        return self.deployment().audit

    def vault(self) -> Vault:
        return self.deployment().vault


class AwakeResource(dg.ConfigurableResource):
    """How long a run that ships orders stays awake: after its last work, and in all."""

    idle_seconds: float = IDLE_SECONDS
    longest_seconds: float = LONGEST_SECONDS

    def as_value(self) -> Awake:
        return Awake(self.idle_seconds, self.longest_seconds)


class AuditExportResource(dg.ConfigurableResource):
    """Where copies of the audit log go: ORDERS_AUDIT_EXPORT, a folder or an S3 bucket."""

    store: StoreResource

    def target(self) -> ExportTarget:
        return open_export_target(self.store.settings(), s3_client)


def s3_client() -> Any:
    """A boto3 S3 client by dagster-aws, at boto3's own settings."""
    from dagster_aws.s3 import S3Resource  # two seconds, which only who exports to S3 pays

    client = S3Resource().get_client()
    if is_loopback(client.meta.endpoint_url):
        # Of ours, without the environment's proxy: dagster-aws has no word for that.
        return aws_client("s3", connect_seconds=5, read_seconds=30, attempts=3)
    return client


# One deployment a process; a code server outlives a change of the settings. The new one then uses on what it may of the
# old one, which ends with the ticks that still hold it: each account that comes would leave a pool of connections.
_deployments: list[Deployment] = []
_guard = Lock()


def _deployment_of(settings: Settings) -> Deployment:
    with _guard:
        if not _deployments or _deployments[-1].settings != settings:
            _deployments[:] = [Deployment(settings, _deployments[-1] if _deployments else None)]
        return _deployments[-1]
