"""A vault on a fresh database, with a keyring of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.conftest import SELLER

KIND = "shipping_details"
CANARY = b"Canary Quillfeather, 7 Nightingale Row"

Put = Callable[..., None]


@pytest.fixture
def keyring(tmp_path: Path) -> LocalKeyring:
    return LocalKeyring(tmp_path / "keyring.json")


@pytest.fixture
def audit(database: Database) -> AuditLog:
    return AuditLog(database)


@pytest.fixture
def vault(database: Database, keyring: LocalKeyring, audit: AuditLog) -> Vault:
    return Vault(database, keyring, audit)


@pytest.fixture
def put(database: Database, vault: Vault) -> Put:
    """Store records in one transaction; each holds the canary and its own order id."""

    def store(*order_ids: str, suffix: bytes = b"") -> None:
        with database.transaction(SELLER) as tx:
            for order_id in order_ids:
                vault.store(
                    tx, kind=KIND, subject_id=order_id,
                    plaintext=CANARY + order_id.encode() + suffix, expires_at=None)  # fmt: skip

    return store
