"""One deployment, opened: the store, the vault, Amazon, the warehouse and the queue that its settings name.

The Dagster resources and the command line stand on this.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, cast

from sqlalchemy.engine import make_url

from orders_pipeline.audit.log import AuditLog, DetailValue
from orders_pipeline.audit.redaction import install, register_secret
from orders_pipeline.database.connect import orders_database_url
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.retention.database_clock import amazon_time_observer
from orders_pipeline.settings import Settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.keys import KeyProvider
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline.vault.rows import holds_wrapped_keys

if TYPE_CHECKING:
    from orders_pipeline.channels.amazon.client import AmazonClient
    from orders_pipeline.intake.queue import NotificationQueue
    from orders_pipeline.wms.port import WarehousePort


class Deployment:
    """Thread-safe. Each part raises SettingsError where its settings are missing, naming all that is."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # cached_property alone would let two threads open the same thing twice.
        self._guard = RLock()
        _mask_secrets(settings)

    @property
    def account_id(self) -> str:
        return self.settings.require_amazon().seller_id

    @property
    def database(self) -> Database:
        """Raises EmbeddedPostgresError when the embedded server is not running."""
        with self._guard:
            return self._database

    @property
    def audit(self) -> AuditLog:
        return self.vault.audit

    @property
    def vault(self) -> Vault:
        with self._guard:
            return self._vault

    @property
    def amazon(self) -> AmazonClient:
        with self._guard:
            return self._amazon

    @property
    def warehouse(self) -> WarehousePort:
        with self._guard:
            return self._warehouse

    @property
    def queue(self) -> NotificationQueue:
        with self._guard:
            return self._queue

    @cached_property
    def _database(self) -> Database:
        return Database(orders_database_url(self.settings), pool_size=10)

    @cached_property
    def _keys(self) -> KeyProvider:
        return open_key_provider(self.settings, self._nothing_is_wrapped)

    def _nothing_is_wrapped(self) -> bool:
        with self._database.begin() as connection:
            return not holds_wrapped_keys(connection)

    @cached_property
    def _vault(self) -> Vault:
        return Vault(self._database, self._keys, AuditLog(self._database))

    @cached_property
    def _amazon(self) -> AmazonClient:
        account = self.settings.require_amazon()
        from orders_pipeline.channels.amazon.client import (
            open_amazon,  # requests: only who calls Amazon pays for its import
        )

        audit = _AmazonAudit(self._vault.audit, account.seller_id)
        observer = amazon_time_observer(self._database)
        return open_amazon(account, self._database, self._keys, audit, time_observer=observer)

    @cached_property
    def _warehouse(self) -> WarehousePort:
        from orders_pipeline.wms.connect import open_warehouse

        return open_warehouse(self.settings.require_warehouse())

    @cached_property
    def _queue(self) -> NotificationQueue:
        from orders_pipeline.intake.queue import NotificationQueue

        return NotificationQueue(self.settings.require_amazon().queue_url)


def _mask_secrets(settings: Settings) -> None:
    """The last net: no secret of this deployment gets past the log filter, whoever writes it."""
    secrets = [one for one in (settings.slack_webhook_url, settings.web.report_token) if one is not None]
    if settings.amazon is not None:
        secrets += [*settings.amazon.client_secrets, settings.amazon.refresh_token]
    if settings.warehouse is not None:
        secrets.append(settings.warehouse.token)
    for secret in secrets:
        register_secret(secret.get_secret_value())
    for url in (settings.database_url, settings.dagster_postgres_url):
        if url is not None and (password := make_url(url.get_secret_value()).password):
            register_secret(str(password))
    install()


class _AmazonAudit:
    """Hands the Amazon client's audit entries to the audit log."""

    def __init__(self, audit: AuditLog, account_id: str) -> None:
        self._audit = audit
        self._account_id = account_id

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        self._audit.record(
            None,
            action=action,
            account_id=self._account_id,
            order_id=order_id,
            purpose=purpose,
            outcome=outcome,
            # Refused there unless it is numbers, short words and truth values.
            detail=cast(Mapping[str, DetailValue], detail),
        )
