"""What Dagster is told of each asset beside its work: group, owners, kinds, tags, freshness, columns, when it is made
by itself, and how its description ends.

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
from orders_pipeline.defs.guide import described, link
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
# What a sensor reads all the time and notes once a minute. A release takes some minutes.
READ_ALL_THE_TIME = dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=20), warn_window=timedelta(minutes=5))
# What the runs that ship make: each ends within minutes, and in a quiet night there is one an hour (defs.runs.QUIET).
SHIPS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3), warn_window=timedelta(hours=2))


@dataclass(frozen=True, slots=True)
class Policy:
    """One asset's. `red`: the runbook's section; `rule`: where what it must be comes from, a sentence in Markdown."""

    group: str
    red: str
    rule: str
    owners: Sequence[str] = (OPERATIONS,)
    kinds: frozenset[str] = frozenset({"postgres"})
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    table: Table | None = None
    condition: dg.AutomationCondition | None = None


_POLICY_PAGE = link("Amazon's Data Protection Policy, line by line", "compliance.md")
_ORDER_STATES = link("the states of an order", "order-states.md")
_PACKAGE_STATES = link("the states of a package", "package-states.md")

# The groups from left to right, as data goes.
POLICIES: Mapping[str, Policy] = {
    "amazon_orders": Policy(
        "intake",
        "Fetch",
        f"Amazon's limits of calls ({link('why a client of our own', 'decisions/03-own-client-and-limits.md')}).",
        kinds=frozenset({"amazon", "source"}),
    ),
    "order_notifications": Policy(
        "intake",
        "Intake",
        "a message is deleted after its event is committed, never before "
        f"({link('the decision', 'decisions/01-one-run-for-a-batch.md')}).",
        kinds=frozenset({"aws", "sqs"}),
        freshness=READ_ALL_THE_TIME,
    ),
    "order_events": Policy(
        "intake",
        "Backfill",
        f"an event counts for Amazon's day ({link('the decision', 'decisions/16-events-by-amazons-day.md')}).",
        table=order_events,
    ),
    "order_sweeps": Policy(
        "intake",
        "Intake",
        "Amazon promises no delivery of notifications, so that a search looks after them.",
        freshness=HOURLY,
        condition=SWEEPS,
    ),
    "orders": Policy(
        "orders",
        "Fetch",
        f"Amazon's answer decides, not a message ({link('the decision', 'decisions/17-amazons-answer-decides.md')}).",
        table=orders,
        freshness=SHIPS,
    ),
    "shipping_details": Policy(
        "orders",
        "Vault",
        f"§2.4 of {_POLICY_PAGE}.",
        owners=(OPERATIONS, COMPLIANCE),
        tags={"pii": "encrypted"},
        table=vault_records,
        freshness=SHIPS,
    ),
    "fulfillment_queue": Policy("fulfillment", "Holds", f"{_ORDER_STATES}.", table=fulfillment_orders, freshness=SHIPS),
    "wms_orders": Policy(
        "fulfillment",
        "Push",
        f"{_ORDER_STATES}, and {link('what each failure means', 'failures.md')}.",
        table=wms_orders,
        freshness=SHIPS,
    ),
    "warehouse": Policy(
        "fulfillment",
        "Confirm",
        f"{link('what a warehouse has to keep', 'warehouse-adapters.md')}.",
        kinds=frozenset({"warehouse", "source"}),
        freshness=READ_ALL_THE_TIME,
    ),
    "wms_shipments": Policy("shipments", "Confirm", f"{_PACKAGE_STATES}.", table=wms_shipments, freshness=SHIPS),
    "shipment_confirmations": Policy(
        "shipments", "Confirm", f"{_PACKAGE_STATES}.", table=shipment_confirmations, freshness=SHIPS
    ),
    "amazon_shipments": Policy(
        "shipments",
        "Confirm",
        "a 204 is not believed; what Amazon shows is.",
        kinds=frozenset({"amazon"}),
    ),
    "pii_access_log": Policy(
        "compliance",
        "Audit",
        f"§2.6 of {_POLICY_PAGE}.",
        owners=(COMPLIANCE,),
        freshness=NIGHTLY,
        table=audit_entries,
        condition=PRIVACY,
    ),
    "pii_retention": Policy(
        "compliance",
        "Compliance",
        f"§2.1 of {_POLICY_PAGE}.",
        owners=(COMPLIANCE,),
        freshness=NIGHTLY,
        condition=PRIVACY,
    ),
    "audit_exports": Policy(
        "compliance",
        "Audit",
        f"§2.6.1 of {_POLICY_PAGE}.",
        owners=(COMPLIANCE,),
        kinds=frozenset({"s3"}),
        freshness=NIGHTLY,
    ),
    "dagster_history": Policy(
        "compliance",
        "Dagster's history",
        f"{link('why it is pruned, and by SQL', 'decisions/25-dagster-history-pruned-by-sql.md')}.",
        owners=(OPERATIONS, COMPLIANCE),
        freshness=NIGHTLY,
        condition=HISTORY,
    ),
    "order_board": Policy(
        "operations",
        "Checks of the flow",
        "ship-by times are Amazon's; an order counts as late once its own has passed.",
        kinds=frozenset({"postgres", "dashboard"}),
        freshness=HOURLY,
        condition=REPORTS,
    ),
    "fba_shipments": Policy(
        "operations",
        "FBA",
        "what Amazon ships itself (AFN) is never pushed to the warehouse; shipments are told of FBA Onsite alone, "
        "which there is in Brazil (Amazon's guide to notification types).",
        kinds=frozenset({"postgres", "amazon"}),
        freshness=HOURLY,
        condition=REPORTS,
    ),
}


def with_policy(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets, each with its policy. Raises KeyError for one that has none."""
    return dg.map_asset_specs(_with_policy, assets)


def _with_policy(spec: dg.AssetSpec) -> dg.AssetSpec:
    policy = POLICIES[spec.key.to_user_string()]
    columns = {} if policy.table is None else {"dagster/column_schema": column_schema(policy.table)}
    spec = spec.replace_attributes(
        description=described(spec.description or "", red=policy.red, rule=policy.rule),
        group_name=policy.group,
        owners=policy.owners,
        kinds=set(policy.kinds),
        tags={**spec.tags, **policy.tags},
        metadata={**spec.metadata, **columns},
        automation_condition=policy.condition,
    )
    return spec if policy.freshness is None else spec.replace_attributes(freshness_policy=policy.freshness)
