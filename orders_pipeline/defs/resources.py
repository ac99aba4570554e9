"""What the assets and sensors are given: the store, the vault, Amazon, the warehouse, the queue.

Belongs here: small resources that open each of these from the settings, once a process. Elsewhere: the settings
themselves (settings). No secret is a resource's configuration, so none is in the UI, in run config or in an event.

https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, cast

import dagster as dg

from orders_pipeline.settings import AmazonSettings, Settings, WarehouseSettings, load_settings
from orders_pipeline.store.connect import orders_database_url
from orders_pipeline.store.database import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.audit import AuditLog, DetailValue
from orders_pipeline.vault.keys import open_key_provider

if TYPE_CHECKING:
    from orders_pipeline.amazon.client import AmazonClient
    from orders_pipeline.intake.queue import NotificationQueue
    from orders_pipeline.wms.warehouse import WarehousePort


class StoreResource(dg.ConfigurableResource):
    """The orders' database (ORDERS_DATABASE_URL, or the embedded PostgreSQL of the data folder) and the vault in it."""

    def settings(self) -> Settings:
        """The settings as they are now, from the environment and `.env`."""
        return load_settings()

    def seller_id(self) -> str:
        """The seller whose orders these are. Raises SettingsError naming all that is missing."""
        return self.settings().require_amazon().seller_id

    def database(self) -> Database:
        """Raises EmbeddedPostgresError when the embedded server is not running."""
        return _database(orders_database_url(self.settings()))

    def audit(self) -> AuditLog:
        return AuditLog(self.database())

    def vault(self) -> Vault:
        settings = self.settings()
        return _vault(orders_database_url(settings), _Frozen(settings))


class AmazonResource(dg.ConfigurableResource):
    """Amazon's Selling Partner API, for the one account of the settings."""

    store: StoreResource

    def settings(self) -> AmazonSettings:
        """Raises SettingsError naming all that is missing or wrong."""
        return self.store.settings().require_amazon()

    def client(self) -> AmazonClient:
        """Raises SettingsError. The client is shared by all threads of this process."""
        settings = self.store.settings()
        settings.require_amazon()
        return _amazon(orders_database_url(settings), _Frozen(settings))


class WarehouseResource(dg.ConfigurableResource):
    """The warehouse of the settings."""

    store: StoreResource

    def client(self) -> WarehousePort:
        """Raises SettingsError."""
        return _warehouse(_Frozen(self.store.settings().require_warehouse()))


class QueueResource(dg.ConfigurableResource):
    """The SQS queue that Amazon delivers to."""

    store: StoreResource

    def queue(self) -> NotificationQueue:
        """Raises SettingsError."""
        return _queue(self.store.settings().require_amazon().queue_url)


class AmazonAudit:
    """Hands the Amazon client's audit entries to the audit log."""

    def __init__(self, audit: AuditLog, seller_id: str) -> None:
        self._audit = audit
        self._seller_id = seller_id

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        self._audit.record(
            None,
            action=action,
            seller_id=self._seller_id,
            order_id=order_id,
            purpose=purpose,
            outcome=outcome,
            # Refused there unless it is numbers, short words and truth values.
            detail=cast(Mapping[str, DetailValue], detail),
        )


class _Frozen:
    """Settings as a cache key, compared by content without ever being printed."""

    def __init__(self, settings: Settings | WarehouseSettings) -> None:
        self.settings = settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other.settings == self.settings

    def __hash__(self) -> int:
        return hash(type(self.settings))

    def __repr__(self) -> str:
        return "settings"


@cache
def _database(url: str) -> Database:
    return Database(url, pool_size=10)


@cache
def _vault(url: str, settings: _Frozen) -> Vault:
    assert isinstance(settings.settings, Settings)
    database = _database(url)
    return Vault(database, open_key_provider(settings.settings), AuditLog(database))


@cache
def _amazon(url: str, settings: _Frozen) -> AmazonClient:
    from orders_pipeline.amazon.client import open_amazon  # requests and its like: only for who calls Amazon

    assert isinstance(settings.settings, Settings)
    account = settings.settings.require_amazon()
    vault = _vault(url, settings)
    return open_amazon(account, _database(url), vault.keys, AmazonAudit(vault.audit, account.seller_id))


@cache
def _warehouse(settings: _Frozen) -> WarehousePort:
    from orders_pipeline.wms.connect import open_warehouse

    assert isinstance(settings.settings, WarehouseSettings)
    return open_warehouse(settings.settings)


@cache
def _queue(queue_url: str) -> NotificationQueue:
    from orders_pipeline.intake.queue import NotificationQueue

    return NotificationQueue(queue_url)
