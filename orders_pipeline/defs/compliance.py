"""Compliance in Dagster: what an auditor opens to see that the rules hold, today."""

import time
from collections.abc import Sequence

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.resources import AmazonResource, StoreResource, WarehouseResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.defs.tables import table
from orders_pipeline.operations.overdue import RETENTION, WAREHOUSE_ERASURES, work_is_done
from orders_pipeline.privacy.access.role_changes import alert_on_role_changes
from orders_pipeline.privacy.erasure.warehouse_erasure import erase_at_warehouse
from orders_pipeline.privacy.retention.delivery import fetch_deliveries
from orders_pipeline.privacy.retention.retained import sellers_with_data
from orders_pipeline.privacy.retention.retention import RetentionPlan, RetentionTotals, apply_retention, plan_retention
from orders_pipeline.privacy.retention.rows import count_by_action
from orders_pipeline.settings import SettingsError
from orders_pipeline.work.backlog import accounts_with_due
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.tally import Tally

# The nightly run may take a while (the leak scan alone ten minutes); the run-monitoring daemon ends it after this.
NIGHTLY_TAGS = {"dagster/max_runtime": "7200"}
DELIVERY_DEADLINE_SECONDS = 120.0
RULE_COLUMNS = ["what", "rule", "count", "why", "source"]


class RetentionConfig(dg.Config):
    """`dry_run` shows what would go and why, and changes nothing."""

    dry_run: bool = False


@dg.asset(
    deps=["shipping_details", "wms_orders"],
)
def pii_access_log(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """Every reading of a buyer's data and every change of state, append-only and hash-chained, without the data.

    The table counts the last day. `orders-pipeline audit verify` and `audit export` read the entries themselves. `head`
    is the newest entry: kept here, outside the log, it shows if the log's end is ever cut off.
    """
    account_id, database, audit = store.account_id(), store.database(), store.audit()
    with acting_as(actor_of(context)):
        changes = alert_on_role_changes(database, audit, account_id=account_id)
    head = audit.head()
    with database.transaction(account_id) as tx:
        rows = count_by_action(tx, hours=24)
    return dg.MaterializeResult(
        metadata={
            "privileges_granted": changes.granted,
            "privileges_revoked": changes.revoked,
            "entries_of_the_last_day": sum(int(row.entries) for row in rows),
            "head": f"{head.entry_id}:{head.entry_hash.hex()}" if head else "empty",
            "by_action": table(
                ["action", "outcome", "entries", "orders", "newest"],
                [(r.action, r.outcome, r.entries, r.orders, r.newest) for r in rows],
            ),
        },
    )


@dg.asset(
    deps=["shipping_details", "wms_orders", "shipment_confirmations"],
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
    database, vault, account_id = store.database(), store.vault(), store.account_id()
    everybody = sellers_with_data(database, account_id)
    with acting_as(actor_of(context)):
        if config.dry_run:
            plans = [plan_retention(database, account_id=seller) for seller in everybody]
            return dg.MaterializeResult(metadata=_planned(plans))
        deliveries = _fetch_deliveries(context, amazon, database, account_id)
        totals = RetentionTotals()
        for seller in everybody:
            totals.add(
                apply_retention(database, vault, warehouse.client_or_none(), account_id=seller, notify=context.log.info)
            )
        if not totals.unfinished:
            work_is_done(database, account_id=account_id, work=RETENTION)
    return dg.MaterializeResult(
        metadata={
            **totals.as_metadata(),
            **{f"deliveries_{name}": value for name, value in deliveries.as_metadata().items()},
            "by_rule": table(RULE_COLUMNS, totals.by_rule()),
        }
    )


def _planned(plans: Sequence[RetentionPlan]) -> dict[str, int | dg.TableMetadataValue]:
    return {
        "would_go": sum(plan.would_go for plan in plans),
        "would_shred": sum(plan.would_shred for plan in plans),
        "by_rule": table(RULE_COLUMNS, [row for plan in plans for row in plan.by_rule()]),
        "first": table(
            ["what", "subject", "rule", "due_at"],
            [(row.what, row.subject, row.rule.value, row.due_at) for plan in plans for row in plan.rows],
        ),
    }


def _fetch_deliveries(
    context: dg.AssetExecutionContext, amazon: AmazonResource, database: Database, account_id: str
) -> Tally:
    """Without an account nothing is known of deliveries, and all goes by the delivery windows."""
    try:
        orders = amazon.client().orders
    except SettingsError as error:
        context.log.warning("No delivery was looked up. %s", error)
        return Tally()
    return fetch_deliveries(orders, database, account_id=account_id, deadline_seconds=DELIVERY_DEADLINE_SECONDS)


# Well before a run of this kind is taken for one that hangs (MAX_RUNTIME_TAG).
ERASURES_DEADLINE_SECONDS = 150.0


@dg.op(out=dg.Out(dg.Nothing))
def ask_warehouse_to_erase(context: dg.OpExecutionContext, store: StoreResource, warehouse: WarehouseResource) -> None:
    """Ask the warehouse for every erasure that it owes and whose back-off is over."""
    database, client = store.database(), warehouse.client()
    ends = time.monotonic() + ERASURES_DEADLINE_SECONDS
    tally = Tally()
    with database.begin() as connection:
        sellers = accounts_with_due(connection, Queue.ERASE)
    with acting_as(actor_of(context)):
        # Also for a seller that is no longer served: what the warehouse has of its buyers does not go by itself.
        for account_id in sellers:
            tally += erase_at_warehouse(
                database, store.audit(), client, account_id=account_id, deadline_seconds=ends - time.monotonic()
            )
        work_is_done(database, account_id=store.account_id(), work=WAREHOUSE_ERASURES)
    context.add_output_metadata(tally.as_metadata())


@dg.job(name="erase_at_warehouse", tags=MAX_RUNTIME_TAG)
def erase_at_warehouse_job() -> None:
    """What the warehouse owes of erasures, between two nightly retentions. Every ten minutes while it owes any."""
    ask_warehouse_to_erase()


@dg.schedule(
    job=erase_at_warehouse_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks for a run only while the warehouse owes an erasure that is due.",
)
def frequent_warehouse_erasures(store: StoreResource) -> dg.RunRequest | dg.SkipReason:
    try:
        account_id, database = store.account_id(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    with database.begin() as connection:
        due = accounts_with_due(connection, Queue.ERASE)
    if not due:
        # Then to have looked is all the work.
        work_is_done(database, account_id=account_id, work=WAREHOUSE_ERASURES)
    return dg.RunRequest() if due else dg.SkipReason("The warehouse owes nothing that is due.")


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks whether anybody was given or lost a right in the database: an audit entry each, and an alert.",
)
def watch_roles_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SkipReason:
    try:
        account_id, database, audit = store.account_id(), store.database(), store.audit()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    with acting_as(f"job:{context.sensor_name}"):
        changes = alert_on_role_changes(database, audit, account_id=account_id)
    return dg.SkipReason(f"{changes.granted} rights given, {changes.revoked} taken away.")


shred_expired_pii_job = dg.define_asset_job(
    "shred_expired_pii",
    selection=dg.AssetSelection.assets("pii_retention", "pii_access_log")
    | dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("audit_exports"), "audit_is_exported")),
    tags=NIGHTLY_TAGS,
    description="Retention, then every compliance check. Daily by itself; start it by hand for an audit.",
)

daily_shred_expired_pii = dg.ScheduleDefinition(
    name="daily_shred_expired_pii",
    job=shred_expired_pii_job,
    cron_schedule="29 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
