"""Operations in Dagster: the board that people look at, and what Amazon ships itself."""

import dagster as dg

from orders_pipeline.alerts.rows import close_alert, open_alert_keys, open_alerts, raise_alert
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.intake import OWNERS
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.defs.tables import duration, table
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.operations.alert_delivery import deliver_alerts
from orders_pipeline.operations.board import board, board_rows
from orders_pipeline.operations.overdue import REPORTS, alert_on_overdue_work, work_is_done
from orders_pipeline.orders.event_rows import parked_messages_by_reason
from orders_pipeline.orders.other_marketplaces import other_marketplace_orders
from orders_pipeline.privacy.retention.database_clock import alert_on_clock
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.package_alerts import review_package_alerts

# Followed by the job's name.
FAILED_RUN_ALERT = "run.failed:"
# The tags that Dagster gives to a run that a schedule or a sensor asked for.
STARTED_BY_ITSELF = {"dagster/schedule_name", "dagster/sensor_name"}
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.asset(
    group_name="operations",
    kinds={"postgres"},
    owners=OWNERS,
    deps=["orders", "fulfillment_queue", "wms_orders", "shipment_confirmations"],
)
def order_board(store: StoreResource) -> dg.MaterializeResult:
    """Where all orders are: counts by status, age and deadline, and what a person should look at now."""
    database, seller_id = store.database(), store.seller_id()
    with database.transaction() as connection:
        numbers = board(connection, seller_id)
        rows = board_rows(connection, seller_id)
        alerts = open_alerts(connection, seller_id)
        others = other_marketplace_orders(connection, seller_id)
        parked = parked_messages_by_reason(connection, seller_id)
    work_is_done(database, seller_id=seller_id, work=REPORTS)
    return dg.MaterializeResult(
        metadata={
            "to_ship": numbers.to_ship,
            "overdue": numbers.overdue,
            "due_within_4_hours": numbers.due_soon,
            "unconfirmed_packages": numbers.unconfirmed_packages,
            "open_alerts": len(alerts),
            "board": table(
                ["amazon_status", "fulfillment_state", "orders", "next_ship_by", "oldest"],
                [(r.status, r.state, r.orders, r.next_ship_by, duration(r.oldest_seconds)) for r in rows],
            ),
            "marketplaces_not_configured": table(
                ["marketplace", "fulfilled_by", "status", "orders", "newest"],
                [(r.marketplace_id, r.fulfilled_by, r.status, r.orders, r.newest) for r in others],
            ),
            "parked_messages": table(
                ["type", "reason", "messages", "newest"],
                [(r.notification_type, r.reason, r.messages, r.newest) for r in parked],
            ),
            "alerts": table(
                ["severity", "what", "what_to_do", "since", "times"],
                [(a.severity, a.message, a.what_to_do, a.opened_at, a.times_seen) for a in alerts],
            ),
        }
    )


@dg.asset(group_name="operations", kinds={"postgres"}, owners=OWNERS, deps=["orders"])
def fba_shipments(store: StoreResource) -> dg.MaterializeResult:
    """Orders that Amazon ships itself (AFN): recorded from their notifications, at no call, never pushed."""
    database, seller_id = store.database(), store.seller_id()
    with database.transaction() as connection:
        rows = board_rows(connection, seller_id, fulfilled_by="AMAZON")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(int(row.orders) for row in rows),
            "by_status": table(["status", "orders"], [(row.status, row.orders) for row in rows]),
        }
    )


reports = dg.define_asset_job(
    "refresh_reports",
    selection=dg.AssetSelection.assets("fba_shipments", "order_board"),
    executor_def=dg.in_process_executor,
    tags=MAX_RUNTIME_TAG,
    description="The tables that people look at, from what is in the store; no call to anybody.",
)

hourly_reports = dg.ScheduleDefinition(
    name="hourly_reports",
    job=reports,
    cron_schedule="41 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes new alerts to the log and, where SLACK_WEBHOOK_URL is set, to Slack; once each. Open ones "
    "are on `order_board` too.",
)
def deliver_alerts_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SkipReason:
    tick = Tick()
    try:
        seller_id, database = store.seller_id(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    _close_alerts_of_mended_jobs(context.instance, database, seller_id)
    alert_on_clock(database, seller_id=seller_id)
    alert_on_overdue_work(database, seller_id=seller_id)
    review_package_alerts(database, seller_id=seller_id)
    slack = store.settings().slack_webhook_url
    delivered = deliver_alerts(
        database, seller_id=seller_id, slack_webhook_url=slack, budget_seconds=tick.left_to_begin()
    )
    return dg.SkipReason(f"{delivered} alerts delivered." if delivered else "Nothing new.")


@dg.run_failure_sensor(
    name="alert_on_failed_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run that started by itself and failed is an alert, until a later run of the same job succeeds.",
)
def alert_on_failed_runs(context: dg.RunFailureSensorContext, store: StoreResource) -> None:
    run = context.dagster_run
    if not STARTED_BY_ITSELF & run.tags.keys():
        # Who starts a run by hand sees how it ends.
        return
    try:
        seller_id, database = store.seller_id(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        context.log.warning("The failure of a run was not alerted: %s", error)
        return
    with database.transaction() as connection:
        raise_alert(
            connection,
            seller_id=seller_id,
            key=f"{FAILED_RUN_ALERT}{run.job_name}",
            severity="error",
            # Without the error's own text, which Dagster shows to who may open the run.
            message=f"A run of {run.job_name} failed ({run.run_id}).",
            what_to_do="Open the run in the Dagster UI. What it has not done is pending, and the next run goes on.",
        )


def _close_alerts_of_mended_jobs(instance: dg.DagsterInstance, database: Database, seller_id: str) -> None:
    with database.transaction() as connection:
        keys = open_alert_keys(connection, seller_id, prefix=FAILED_RUN_ALERT)
    for key in keys:
        ended = dg.RunsFilter(job_name=key.removeprefix(FAILED_RUN_ALERT), statuses=_ENDED)
        newest = instance.get_run_records(ended, limit=1)
        # None left: the failed one is older than Dagster's history, and no later one failed.
        if not newest or newest[0].dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            with database.transaction() as connection:
                close_alert(connection, seller_id=seller_id, key=key)
