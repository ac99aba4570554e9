"""One deployment, opened: the store, the vault and the warehouse, and for each account Amazon and its queue.

The Dagster resources and the command line stand on this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, cast

from sqlalchemy.engine import make_url

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.audit.log import AuditEntry, AuditLog, DetailValue
from orders_pipeline.audit.redaction import install, register_secret
from orders_pipeline.database.connect import orders_database_url
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.operations.overdue import work_is_done
from orders_pipeline.orders.rows import order_row
from orders_pipeline.privacy.retention.database_clock import amazon_time_observer
from orders_pipeline.privacy.retention.rows import sellers
from orders_pipeline.settings import Settings, load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.key_rows import holds_wrapped_keys
from orders_pipeline.vault.keys import KeyProvider
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline.wms.port import Capability

if TYPE_CHECKING:
    from orders_pipeline.channels.amazon.client import AmazonClient
    from orders_pipeline.intake.queue import NotificationQueue, SqsClients
    from orders_pipeline.wms.port import WarehousePort


class UnknownAccount(Exception):
    """Several accounts are served, and it was not said which is meant; or it is none of them."""


class Deployment:
    """Thread-safe. Each part raises SettingsError where its settings are missing, naming all that is."""

    def __init__(self, settings: Settings, before: Deployment | None = None) -> None:
        """`before`: what of it these settings leave as it was is used on, above all its connections."""
        self.settings = settings
        # cached_property alone would let two threads open the same thing twice.
        self._guard = RLock()
        self._accounts: tuple[ServedAccount, ...] | None = None
        self._opened: Mapping[AmazonSettings, ServedAccount] = {}
        _mask_secrets(settings)
        if before is not None and _store_of(before.settings) == _store_of(settings):
            self._take_over(before)

    def _take_over(self, before: Deployment) -> None:
        with before._guard:
            shared = ["_database", "_keys", "_vault", "_sqs_clients"]
            if before.settings.warehouse == self.settings.warehouse:
                shared.append("_warehouse")
            self.__dict__.update({name: before.__dict__[name] for name in shared if name in before.__dict__})
            self._opened = {one.settings: one for one in before._accounts or ()}

    def accounts(self) -> tuple[ServedAccount, ...]:
        """Every account of the settings. Raises SettingsError naming all that is missing."""
        with self._guard:
            if self._accounts is None:
                served = [ServedAccount(self, one, self._opened.get(one)) for one in self.settings.amazon_accounts()]
                self._accounts, self._opened = tuple(served), {}
            return self._accounts

    def account_ids(self) -> tuple[str, ...]:
        return tuple(account.account_id for account in self.accounts())

    def account(self, account_id: str | None = None) -> ServedAccount:
        """The account of this id; without one, the only account. Raises SettingsError, UnknownAccount."""
        accounts = self.accounts()
        if account_id is None and len(accounts) == 1:
            return accounts[0]
        for account in accounts:
            if account.account_id == account_id:
                return account
        raise UnknownAccount(f"Name one of the accounts: {', '.join(one.account_id for one in accounts)}.")

    def account_of(self, order_id: str, account_id: str | None = None) -> ServedAccount:
        """The account whose order this is. Of an order that nobody knows: the one named, or the only account.

        Raises SettingsError, UnknownAccount.
        """
        for account in self.accounts() if account_id is None else ():
            if _has_order(account, order_id):
                return account
        return self.account(account_id)

    def by_account(
        self, order_ids: Sequence[str], account_id: str | None = None
    ) -> list[tuple[ServedAccount, list[str]]]:
        """Each account with those of the orders that are its own; without orders, every account (or the one named)."""
        if not order_ids:
            return [(one, []) for one in (self.accounts() if account_id is None else (self.account(account_id),))]
        found: dict[ServedAccount, list[str]] = {}
        for order_id in order_ids:
            found.setdefault(self.account_of(order_id, account_id), []).append(order_id)
        return list(found.items())

    def stored_accounts(self) -> tuple[StoredAccount, ...]:
        """The accounts that are served, then every other of whom something is stored: it does not go by itself."""
        served = self.accounts()
        ids = {account.account_id for account in served}
        with self.database.begin() as connection:
            others = [one for one in sellers(connection) if one not in ids]
        return (*served, *(StoredAccount(self, one) for one in others))

    def stored_account_of(self, order_id: str | None, account_id: str | None = None) -> StoredAccount:
        """As `account_of` (without an order: `account`), also of an account that is no longer served.

        What is stored of a seller that left is shown and erased as any other's. Raises SettingsError, UnknownAccount.
        """
        for account in self.stored_accounts():
            if account_id == account.account_id or (account_id is None and _has_order(account, order_id)):
                return account
        return self.account(account_id)

    def note_done(self, work: str) -> None:
        """Note for every account that a work of the whole deployment has come to its end."""
        for account in self.accounts():
            account.note_done(work)

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
    def keys(self) -> KeyProvider:
        with self._guard:
            return self._keys

    @property
    def warehouse(self) -> WarehousePort:
        with self._guard:
            return self._warehouse

    @property
    def takes_webhooks(self) -> bool:
        """Whether the warehouse's webhooks can be told from a stranger's calls."""
        return self.settings.warehouse is not None and Capability.WEBHOOKS in self.warehouse.capabilities

    def warehouse_or_none(self) -> WarehousePort | None:
        """None where its settings are missing: our own copies go all the same; what the warehouse owes stays due."""
        return None if self.settings.warehouse is None else self.warehouse

    @property
    def sqs_clients(self) -> SqsClients:
        with self._guard:
            return self._sqs_clients

    @cached_property
    def _sqs_clients(self) -> SqsClients:
        from orders_pipeline.intake.queue import SqsClients

        return SqsClients()

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
    def _warehouse(self) -> WarehousePort:
        from orders_pipeline.wms.connect import open_warehouse

        return open_warehouse(self.settings.require_warehouse())


class StoredAccount:
    """One account of whom something is stored, with the parts of the deployment that its work needs."""

    def __init__(self, deployment: Deployment, account_id: str) -> None:
        self.deployment = deployment
        self.account_id = account_id

    @property
    def database(self) -> Database:
        return self.deployment.database

    @property
    def vault(self) -> Vault:
        return self.deployment.vault

    @property
    def audit(self) -> AuditLog:
        return self.deployment.audit

    @property
    def warehouse(self) -> WarehousePort:
        """Raises SettingsError."""
        return self.deployment.warehouse

    def transaction(self) -> AbstractContextManager[AccountTransaction]:
        return self.database.transaction(self.account_id)

    def write_counts(self) -> None:
        """Write what was counted of the calls to Amazon; nothing where it was never called."""

    def note_done(self, work: str) -> None:
        """Note that this work (operations.overdue) has come to its end for this account."""
        work_is_done(self.database, account_id=self.account_id, work=work)


class ServedAccount(StoredAccount):
    """One account of the settings: Amazon and its queue as well. Thread-safe."""

    def __init__(self, deployment: Deployment, settings: AmazonSettings, before: ServedAccount | None = None) -> None:
        super().__init__(deployment, settings.account.account_id)
        self.settings = settings
        self._guard = RLock()
        # Its session with Amazon, its tokens and its queue's client are the same while its settings are.
        self.__dict__.update({} if before is None else before.opened())

    def opened(self) -> dict[str, object]:
        """What was opened of it, by name."""
        with self._guard:
            return {name: self.__dict__[name] for name in ("_amazon", "_queue") if name in self.__dict__}

    @property
    def marketplace_ids(self) -> tuple[str, ...]:
        return self.settings.marketplace_ids

    @property
    def amazon(self) -> AmazonClient:
        with self._guard:
            return self._amazon

    @property
    def queue(self) -> NotificationQueue:
        with self._guard:
            return self._queue

    def write_counts(self) -> None:
        with self._guard:
            if "_amazon" not in self.__dict__:
                return
        self.amazon.limits.answers.write()

    @cached_property
    def _amazon(self) -> AmazonClient:
        from orders_pipeline.channels.amazon.client import (
            open_amazon,  # requests: only who calls Amazon pays for its import
        )

        return open_amazon(
            self.settings,
            self.database,
            self.deployment.keys,
            AmazonAudit(self.audit, self.account_id),
            time_observer=amazon_time_observer(self.database),
        )

    @cached_property
    def _queue(self) -> NotificationQueue:
        from orders_pipeline.intake.queue import NotificationQueue

        return NotificationQueue(self.settings.queue_url, self.deployment.sqs_clients)


def _has_order(account: StoredAccount, order_id: str | None) -> bool:
    with account.transaction() as tx:
        return order_id is not None and order_row(tx, order_id) is not None


class FollowingDeployment(Deployment):
    """For a process that stays up: its accounts are those that the settings name now, all else is as it began.

    Thread-safe. While the settings name nobody, those that it served before are its accounts.
    """

    READ_EVERY_SECONDS = 5.0

    def __init__(self, settings: Settings, read: Callable[[], Settings] = load_settings) -> None:
        super().__init__(settings)
        self._read = read
        self._read_at = time.monotonic()

    def accounts(self) -> tuple[ServedAccount, ...]:
        with self._guard:
            if time.monotonic() - self._read_at >= self.READ_EVERY_SECONDS:
                self._read_at = time.monotonic()
                now = self._read()
                if now != self.settings and not now.refusals and (now.amazon is not None or now.accounts_of_file):
                    _mask_secrets(now)
                    before = {one.settings: one for one in self._accounts or ()}
                    self._accounts = tuple(ServedAccount(self, one, before.get(one)) for one in now.amazon_accounts())
            return super().accounts()


def _store_of(settings: Settings) -> tuple[object, ...]:
    """What decides which database and which keys these are."""
    return settings.database_url, settings.data_dir, settings.kms_key_id, settings.keyring_file


def _mask_secrets(settings: Settings) -> None:
    """The last net: no secret of this deployment gets past the log filter, whoever writes it."""
    alerts, web = settings.alerts, settings.web
    others = (
        alerts.slack_webhook_url, alerts.smtp_password, alerts.heartbeat_url, web.report_token, web.metrics_token
    )  # fmt: skip
    secrets = [one for one in others if one is not None]
    if settings.amazon is not None or settings.accounts_of_file:
        for account in settings.amazon_accounts():
            secrets += [*account.client_secrets, *([account.refresh_token] if account.refresh_token else [])]
    if settings.warehouse is not None:
        secrets += [settings.warehouse.token, *settings.warehouse.webhook_secrets]
    for secret in secrets:
        register_secret(secret.get_secret_value())
    for url in (settings.database_url, settings.dagster_postgres_url):
        if url is not None and (password := make_url(url.get_secret_value()).password):
            register_secret(str(password))
    install()


class AmazonAudit:
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

    def record_each(
        self, action: str, order_ids: Sequence[str], purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        # Refused there unless it is numbers, short words and truth values.
        checked = cast(Mapping[str, DetailValue], detail)
        entry = AuditEntry(action=action, account_id=self._account_id, purpose=purpose, outcome=outcome, detail=checked)
        self._audit.record_many(None, [replace(entry, order_id=order_id) for order_id in order_ids])
