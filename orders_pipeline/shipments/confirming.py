"""The ports and settings that confirming and verifying are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.channels.amazon.carriers import CarrierTable
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrdersPort
from orders_pipeline.model.shipment import ShipmentsPort
from orders_pipeline.shipments.rows import Package

WORKERS = 4
# Longer than one call can take (the deadline of a run is 45 s); a process that died gives its jobs back after.
LEASE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Confirming:
    """What every package of an account needs."""

    database: Database
    audit: AuditLog
    shipments: ShipmentsPort
    orders: OrdersPort
    carrier_overrides: CarrierTable
    account_id: str
    default_marketplace_id: str
    # Where verifications search; empty: in all of the account's.
    marketplace_ids: tuple[str, ...] = ()

    def entry(self, package: Package, action: str, purpose: str, outcome: str) -> AuditEntry:
        """An entry of the audit log; recorded last in its transaction."""
        detail: Mapping[str, int] = {"package_reference_id": package.package_reference_id}
        return AuditEntry(
            action=action,
            account_id=self.account_id,
            order_id=package.order_id,
            purpose=purpose,
            outcome=outcome,
            detail=detail,
        )

    def state_entry(self, package: Package, state: str) -> AuditEntry:
        """The audit log's entry of a package's new state."""
        return self.entry(package, "package_state", "state of a package", state)
