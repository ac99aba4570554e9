"""What Login with Amazon is asked with: the refresh token and the client secrets, from the settings or from the vault.

Each is read when it is needed, so that a new authorisation, or a new secret, counts in every process at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.channels.amazon.auth.authorizations import (
    authorization_of,
    grant_fingerprint,
    note_refused,
    note_worked,
    sealed_authorization,
)
from orders_pipeline.channels.amazon.auth.client_secrets import newest_first, sealed_secrets
from orders_pipeline.channels.amazon.auth.sealed import open_token, refresh_purpose
from orders_pipeline.channels.amazon.errors import AmazonNotAuthorized
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.keys import KeyProvider

LOGIN = "Login with Amazon"


class Credentials(Protocol):
    """Of one account. `grant` names the authorisation, and is no secret."""

    def grant(self) -> str:
        """Raises AmazonNotAuthorized."""
        ...

    def refresh_token(self) -> str:
        """Raises AmazonNotAuthorized, or VaultError where it lies sealed and does not open."""
        ...

    def client_secrets(self) -> Sequence[str]:
        """Newest first; two during a rotation."""
        ...

    def worked(self, refresh_token: str) -> None:
        """An access token was given for it."""
        ...

    def refused(self, refresh_token: str) -> None:
        """It was answered with invalid_grant."""
        ...


class StoredCredentials:
    """The settings', and where they say so the vault's. Thread-safe."""

    def __init__(self, settings: AmazonSettings, database: Database, keys: KeyProvider) -> None:
        self._settings = settings
        self._account_id = settings.account.account_id
        self._database = database
        self._keys = keys

    def grant(self) -> str:
        given = self._settings.refresh_token
        with self._database.transaction(self._account_id) as tx:
            if given is None:
                found = sealed_authorization(tx)
            else:
                fingerprint = grant_fingerprint(self._settings.client_id, given.get_secret_value())
                found = authorization_of(tx, fingerprint)
        if found is not None and found.ended_at is not None:
            raise self._not_authorized(f"the authorization ended on {found.ended_at:%Y-%m-%d}: the seller took it back")
        if given is not None:
            return grant_fingerprint(self._settings.client_id, given.get_secret_value())
        if found is None:
            raise self._not_authorized("nobody has authorized the application yet")
        return found.fingerprint

    def refresh_token(self) -> str:
        self.grant()
        given = self._settings.refresh_token
        if given is not None:
            return given.get_secret_value()
        with self._database.transaction(self._account_id) as tx:
            found = self._open(tx)
        if found is None:
            raise self._not_authorized("the refresh token is not in the vault any more")
        return found

    def client_secrets(self) -> Sequence[str]:
        given = [secret.get_secret_value() for secret in self._settings.client_secrets]
        sealed = sealed_secrets(self._database, self._keys, self._settings.client_id)
        vault = Vault(self._database, self._keys, AuditLog(self._database))
        return newest_first(given, sealed, self._database, vault, self._settings.client_id)

    def worked(self, refresh_token: str) -> None:
        with self._database.transaction(self._account_id) as tx:
            note_worked(tx, grant_fingerprint(self._settings.client_id, refresh_token))

    def refused(self, refresh_token: str) -> None:
        with self._database.transaction(self._account_id) as tx:
            note_refused(tx, grant_fingerprint(self._settings.client_id, refresh_token))

    def _open(self, tx: AccountTransaction) -> str | None:
        purpose = refresh_purpose(self._settings.region)
        return open_token(tx, self._keys, application_id=self._settings.client_id, purpose=purpose)

    def _not_authorized(self, why: str) -> AmazonNotAuthorized:
        return AmazonNotAuthorized(
            f"Account {self._account_id} cannot be served: {why}. `orders-pipeline authorize {self._account_id}`, or "
            "/authorize at the web port, asks the seller for consent.",
            operation=LOGIN,
        )
