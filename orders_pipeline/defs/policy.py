"""What Dagster is told of each asset beside its work: group, owners, kinds, tags, freshness, columns, and
when it is made by itself.

Said once, in one table; `build_defs` maps it over the assets. An asset that is missing here does not load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg
from sqlalchemy import Table

from orders_pipeline.audit.tables import audit_entries
from orders_pipeline.defs.automation import HISTORY, PRIVACY, REPORTS, SWEEPS
from orders_pipeline.defs.columns import column_schema
from orders_pipeline.fulfillment.tables import fulfillment_orders, wms_orders
from orders_pipeline.orders.tables import order_events, orders
from orders_pipeline.shipments.tables import shipment_confirmations, wms_shipments
from orders_pipeline.vault.tables import vault_records

# A process for each step would cost every run three seconds and a second import of everything a step.
EXECUTOR = dg.in_process_executor

OPERATIONS, COMPLIANCE = "team:operations", "team:compliance"
# As operations.overdue: of hourly work two runs may be missed, nightly work may be two hours late.
HOURLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3))
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))


@dataclass(frozen=True, slots=True)
class Policy:
    """One asset's. No freshness: it is as new as what came in, and a quiet shop is no fault."""

    group: str
    owners: Sequence[str] = (OPERATIONS,)
    kinds: frozenset[str] = frozenset({"postgres"})
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    table: Table | None = None
    condition: dg.AutomationCondition | None = None


POLICIES: Mapping[str, Policy] = {
    "order_notifications": Policy("intake", kinds=frozenset({"sqs"})),
    "order_events": Policy("intake", table=order_events),
    "order_sweeps": Policy("intake", freshness=HOURLY, condition=SWEEPS),
    "orders": Policy("orders", table=orders),
    "shipping_details": Policy(
        "orders", owners=(OPERATIONS, COMPLIANCE), tags={"pii": "encrypted"}, table=vault_records
    ),
    "fulfillment_queue": Policy("fulfillment", table=fulfillment_orders),
    "wms_orders": Policy("fulfillment", table=wms_orders),
    "wms_shipments": Policy("shipments", table=wms_shipments),
    "shipment_confirmations": Policy("shipments", table=shipment_confirmations),
    "pii_access_log": Policy(
        "compliance", owners=(COMPLIANCE,), freshness=NIGHTLY, table=audit_entries, condition=PRIVACY
    ),
    "pii_retention": Policy("compliance", owners=(COMPLIANCE,), freshness=NIGHTLY, condition=PRIVACY),
    "audit_exports": Policy("compliance", owners=(COMPLIANCE,), kinds=frozenset({"s3"}), freshness=NIGHTLY),
    "dagster_history": Policy("compliance", owners=(OPERATIONS, COMPLIANCE), freshness=NIGHTLY, condition=HISTORY),
    "order_board": Policy("operations", freshness=HOURLY, condition=REPORTS),
    "fba_shipments": Policy("operations", freshness=HOURLY, condition=REPORTS),
}


def with_policy(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets, each with its policy. Raises KeyError for one that has none."""
    return dg.map_asset_specs(_with_policy, assets)


def _with_policy(spec: dg.AssetSpec) -> dg.AssetSpec:
    policy = POLICIES[spec.key.to_user_string()]
    columns = {} if policy.table is None else {"dagster/column_schema": column_schema(policy.table)}
    spec = spec.replace_attributes(
        group_name=policy.group,
        owners=policy.owners,
        kinds=set(policy.kinds),
        tags={**spec.tags, **policy.tags},
        metadata={**spec.metadata, **columns},
        automation_condition=policy.condition,
    )
    return spec if policy.freshness is None else spec.replace_attributes(freshness_policy=policy.freshness)
