"""Compliance in Dagster: what an auditor opens to see that the rules hold, today.

Belongs here: the assets of group `compliance`, their checks, the daily job. Elsewhere: the clock of retention and the
checks themselves (compliance), the audit log (vault.audit). docs/compliance.md leads from each rule to its check.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from orders_pipeline.compliance import checks, leak_scan
from orders_pipeline.compliance.delivery import look_up_deliveries
from orders_pipeline.compliance.outcome import CheckOutcome
from orders_pipeline.compliance.retention import apply_retention, plan_retention
from orders_pipeline.defs.resources import AmazonResource, StoreResource, WarehouseResource
from orders_pipeline.defs.tables import table
from orders_pipeline.store.compliance import count_by_action
from orders_pipeline.store.connect import dagster_database_url
from orders_pipeline.vault.audit import acting_as

OWNERS = ["team:compliance"]
# The nightly run may take a while (the leak scan alone ten minutes); the run-monitoring daemon ends it after this.
NIGHTLY_TAGS = {"dagster/max_runtime": "7200"}
DELIVERY_DEADLINE_SECONDS = 120.0

LOG_CHECKS = {
    "audit_chain_is_intact": "The audit log is as it was written: its hash chain holds from end to end.",
    "every_reading_is_audited": "Every stored or pushed address has the audit entries that its reading must have left.",
    "audit_log_is_kept": "The audit log reaches back as far as it must: 12 months at least, 24 here.",
}
RETENTION_CHECKS = {
    "nothing_past_its_time": "No buyer's data is kept past its time; 30 days after delivery is the hard limit.",
    "erased_within_the_day": "Every request to erase was carried out within a day, at the warehouse too.",
    "every_record_opens": "Every stored record can be decrypted, and under a key that is there.",
    "roles_are_as_declared": "The database's roles can do what they were given, and no more.",
    "tls_on_every_endpoint": "Every endpoint is https with TLS 1.2 or newer, or on this machine.",
    "client_secret_is_young": "The Login with Amazon client secret is younger than 180 days.",
    "no_copies_in_clear": "No buyer's data lies in clear in any table, in Dagster's storage, or in a file.",
}


class RetentionConfig(dg.Config):
    """`dry_run` shows what would go and why, and changes nothing."""

    dry_run: bool = False


@dg.asset(
    group_name="compliance",
    kinds={"postgres"},
    owners=OWNERS,
    deps=["shipping_details", "wms_orders"],
    check_specs=[
        dg.AssetCheckSpec(name, asset="pii_access_log", description=text) for name, text in LOG_CHECKS.items()
    ],
)
def pii_access_log(store: StoreResource) -> dg.MaterializeResult:
    """Every reading of a buyer's data and every change of state, append-only and hash-chained, without the data.

    The table counts the last day. `orders-pipeline audit verify` and `audit export` read the entries themselves. `head`
    is the newest entry: kept here, outside the log, it shows if the log's end is ever cut off.
    """
    seller_id, database, audit = store.seller_id(), store.database(), store.audit()
    outcomes = [
        checks.audit_chain_is_intact(audit),
        checks.every_reading_is_audited(database, seller_id=seller_id),
        checks.audit_log_is_kept(database),
    ]
    head = audit.head()
    with database.transaction() as connection:
        rows = count_by_action(connection, seller_id, hours=24)
    return dg.MaterializeResult(
        check_results=[_result(outcome) for outcome in outcomes],
        metadata={
            "entries_of_the_last_day": sum(int(row.entries) for row in rows),
            "head": f"{head.entry_id}:{head.entry_hash.hex()}" if head else "empty",
            "by_action": table(
                ["action", "outcome", "entries", "orders", "newest"],
                [(r.action, r.outcome, r.entries, r.orders, r.newest) for r in rows],
            ),
        },
    )


@dg.asset(
    group_name="compliance",
    kinds={"postgres"},
    owners=OWNERS,
    deps=["shipping_details", "wms_orders", "shipment_confirmations"],
    check_specs=[
        dg.AssetCheckSpec(name, asset="pii_retention", description=text) for name, text in RETENTION_CHECKS.items()
    ],
)
def pii_retention(
    context: dg.AssetExecutionContext,
    config: RetentionConfig,
    store: StoreResource,
    amazon: AmazonResource,
    warehouse: WarehouseResource,
) -> dg.MaterializeResult:
    """What was shredded, purged and erased at the warehouse, by which rule; then every check over what is left.

    Daily by itself. With `dry_run` it shows what would go and changes nothing.
    """
    database, vault, seller_id = store.database(), store.vault(), store.seller_id()
    with acting_as(f"run:{context.run.run_id}"):
        if config.dry_run:
            plan = plan_retention(database, seller_id=seller_id)
            metadata = {
                **plan.as_metadata(),
                "by_rule": table(["what", "rule", "count", "why", "source"], plan.by_rule()),
                "first": table(
                    ["what", "subject", "rule", "due_at"],
                    [(row.what, row.subject, row.rule.value, row.due_at) for row in plan.rows],
                ),
            }
        else:
            looked = look_up_deliveries(
                amazon.client().orders, database, seller_id=seller_id, deadline_seconds=DELIVERY_DEADLINE_SECONDS
            )
            totals = apply_retention(database, vault, warehouse.client(), seller_id=seller_id)
            metadata = {
                **totals.as_metadata(),
                **{f"deliveries_{name}": value for name, value in looked.as_metadata().items()},
                "by_rule": table(["what", "rule", "count", "why", "source"], totals.by_rule()),
            }
        results = [_result(outcome) for outcome in _retention_outcomes(store, seller_id)]
    return dg.MaterializeResult(metadata=metadata, check_results=results)


def _retention_outcomes(store: StoreResource, seller_id: str) -> Iterator[CheckOutcome]:
    database, vault, settings = store.database(), store.vault(), store.settings()
    dagster_url = dagster_database_url(settings)
    looks: list[Callable[[], CheckOutcome]] = [
        lambda: checks.nothing_past_its_time(database, seller_id=seller_id),
        lambda: checks.erased_within_the_day(database, seller_id=seller_id),
        lambda: checks.every_record_opens(vault),
        lambda: checks.roles_are_as_declared(database),
        lambda: checks.tls_on_every_endpoint(database, settings, os.environ, dagster_url=dagster_url),
        lambda: checks.client_secret_is_young(database, vault, settings),
    ]
    for look in looks:
        yield look()
    home = os.environ.get("DAGSTER_HOME")
    outcome, _ = leak_scan.no_copies_in_clear(
        database,
        vault,
        seller_id=seller_id,
        dagster_url=dagster_url,
        dagster_home=Path(home) if home else None,
    )
    yield outcome


def _result(outcome: CheckOutcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=outcome.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity[outcome.severity],
        description=outcome.description,
        metadata={**outcome.as_metadata(), "source": outcome.source},
    )


compliance_job = dg.define_asset_job(
    "check_compliance",
    selection=dg.AssetSelection.assets("pii_retention", "pii_access_log"),
    executor_def=dg.in_process_executor,
    tags=NIGHTLY_TAGS,
    description="Retention, then every compliance check. Daily by itself; start it by hand for an audit.",
)

daily_compliance = dg.ScheduleDefinition(
    name="daily_compliance",
    job=compliance_job,
    cron_schedule="29 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
