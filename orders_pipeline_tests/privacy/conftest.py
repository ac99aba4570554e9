"""A vault on a fresh database, a warehouse in memory, and orders at any age."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.tables import fulfillment_orders, wms_orders
from orders_pipeline.orders.tables import orders
from orders_pipeline.shipments.tables import shipment_confirmations
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.ports import UnaskedWarehouse

KIND = "shipping_details"
NAME, STREET, PHONE = "Canary Quillfeather", "7 Nightingale Row", "+1 555-0142-311"


@dataclass
class WarehouseInMemory(UnaskedWarehouse):
    """Answers erase_pii as told: True, or an exception to raise."""

    answers: dict[str, Exception | bool] = field(default_factory=dict[str, "Exception | bool"])
    erased: list[str] = field(default_factory=list[str])

    def erase_pii(self, order_ref: str) -> bool:
        answer = self.answers.get(order_ref, True)
        if isinstance(answer, Exception):
            raise answer
        self.erased.append(order_ref)
        return answer


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
def warehouse() -> WarehouseInMemory:
    return WarehouseInMemory()


PutOrder = Callable[..., None]


@pytest.fixture
def put_order(database: Database, vault: Vault) -> PutOrder:
    """An order with its details in the vault, as the pipeline leaves it. Ages in days; `sent`: to the warehouse."""

    def put(
        order_id: str,
        *,
        status: str = "UNSHIPPED",
        fulfilled_by: str = "MERCHANT",
        bought: float = 10,
        deliver_by: float | None = 0,
        delivered: float | None = None,
        left: float | None = None,
        package: str | None = None,
        queue: str | None = "queued",
        sent: bool = False,
        retained: bool = True,
        audited: bool = True,
        stored: float | None = None,
        name: str = NAME,
    ) -> None:
        now = database.now()

        def ago(days: float | None) -> datetime | None:
            return None if days is None else now - timedelta(days=days)

        with database.begin() as connection:
            connection.execute(
                insert(orders).values(
                    account_id=SELLER, order_id=order_id, marketplace_id=MARKETPLACE, status=status,
                    fulfilled_by=fulfilled_by, purchased_at=ago(bought), first_seen_at=ago(bought),
                    deliver_by=ago(deliver_by), delivered_at=ago(delivered), has_address=True, fetched_at=now,
                )
            )  # fmt: skip
            if queue is not None:
                connection.execute(insert(fulfillment_orders).values(account_id=SELLER, order_id=order_id, state=queue))
            if package is not None:
                connection.execute(
                    insert(shipment_confirmations).values(
                        account_id=SELLER, order_id=order_id, package_id="P1", package_reference_id=1, state=package,
                        lines=[], shipped_at=ago(left),
                    )
                )  # fmt: skip
            if audited:
                _audit(vault, connection, order_id)
        with database.transaction(SELLER) as tx:
            if sent:
                tx.execute(
                    insert(wms_orders).values(
                        account_id=SELLER, order_id=order_id, answer="accepted", content_hash="x", wms_id="W1"
                    )
                )
            if retained:
                vault.store(
                    tx, kind=KIND, subject_id=order_id,
                    plaintext=json.dumps(
                        {"name": name, "address_line1": STREET, "phone": PHONE, "country_code": "US"}
                    ).encode(),
                    expires_at=ago(deliver_by))  # fmt: skip
                age(tx.connection, order_id, bought if stored is None else stored)

    return put


def age(connection: Connection, order_id: str, days: float) -> None:
    """Have the details been stored that long ago."""
    connection.exec_driver_sql(
        "update vault.records set stored_at = clock_timestamp() - make_interval(secs => %(seconds)s), "
        "first_stored_at = clock_timestamp() - make_interval(secs => %(seconds)s) "
        "where subject_id = %(order_id)s",
        {"seconds": days * 86_400, "order_id": order_id},
    )


def _audit(vault: Vault, connection: Connection, order_id: str) -> None:
    common: dict[str, Any] = {"account_id": SELLER, "order_id": order_id, "actor": "job:test"}
    vault.audit.record(
        connection, action="amazon_restricted_call", purpose="ship the order", outcome="requested", **common
    )
    vault.audit.record(connection, action="reveal", purpose="push to the warehouse", outcome="allowed", **common)


def kept_ids(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(
            connection.exec_driver_sql("select subject_id from vault.records where kind = 'shipping_details'").scalars()
        )
