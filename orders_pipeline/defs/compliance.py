"""Compliance in Dagster: what an auditor opens to see that the rules hold, today.

Belongs here: the audit log and the retention as assets, and the daily job. Elsewhere: their checks (compliance_checks),
the log's copies (audit_exports), the clock of retention (compliance.clock), the log itself (vault.audit).
"""

from datetime import timedelta

import dagster as dg

from orders_pipeline.compliance.delivery import look_up_deliveries
from orders_pipeline.compliance.retention import apply_retention, plan_retention
from orders_pipeline.compliance.role_changes import note_role_changes
from orders_pipeline.defs.resources import AmazonResource, StoreResource, WarehouseResource
from orders_pipeline.defs.tables import table
from orders_pipeline.store.compliance import count_by_action
from orders_pipeline.vault.audit import acting_as

OWNERS = ["team:compliance"]
# The nightly run may take a while (the leak scan alone ten minutes); the run-monitoring daemon ends it after this.
NIGHTLY_TAGS = {"dagster/max_runtime": "7200"}
DELIVERY_DEADLINE_SECONDS = 120.0
# A nightly run, and two hours for it to be late.
DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))


class RetentionConfig(dg.Config):
    """`dry_run` shows what would go and why, and changes nothing."""

    dry_run: bool = False


@dg.asset(
    group_name="compliance",
    kinds={"postgres"},
    owners=OWNERS,
    deps=["shipping_details", "wms_orders"],
    freshness_policy=DAILY,
)
def pii_access_log(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """Every reading of a buyer's data and every change of state, append-only and hash-chained, without the data.

    The table counts the last day. `orders-pipeline audit verify` and `audit export` read the entries themselves. `head`
    is the newest entry: kept here, outside the log, it shows if the log's end is ever cut off.
    """
    seller_id, database, audit = store.seller_id(), store.database(), store.audit()
    with acting_as(f"run:{context.run.run_id}"):
        changes = note_role_changes(database, audit)
    head = audit.head()
    with database.transaction() as connection:
        rows = count_by_action(connection, seller_id, hours=24)
    return dg.MaterializeResult(
        metadata={
            "rights_granted": changes.granted,
            "rights_revoked": changes.revoked,
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
    freshness_policy=DAILY,
)
def pii_retention(
    context: dg.AssetExecutionContext,
    config: RetentionConfig,
    store: StoreResource,
    amazon: AmazonResource,
    warehouse: WarehouseResource,
) -> dg.MaterializeResult:
    """What was shredded, purged and erased at the warehouse, by which rule.

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
            totals = apply_retention(database, vault, warehouse.client(), seller_id=seller_id, tell=context.log.info)
            metadata = {
                **totals.as_metadata(),
                **{f"deliveries_{name}": value for name, value in looked.as_metadata().items()},
                "by_rule": table(["what", "rule", "count", "why", "source"], totals.by_rule()),
            }
    return dg.MaterializeResult(metadata=metadata)


compliance_job = dg.define_asset_job(
    "check_compliance",
    selection=dg.AssetSelection.assets("pii_retention", "pii_access_log")
    | dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("audit_exports"), "audit_is_exported")),
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
