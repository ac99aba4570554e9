"""Operations in Dagster: the board that people look at, and what Amazon ships itself."""

from collections.abc import Iterable

import dagster as dg

from orders_pipeline.alerts.kinds import Found
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.defs.tables import duration, table
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.operations.alert_delivery import deliver_alerts
from orders_pipeline.operations.alerts import evaluate_alerts
from orders_pipeline.operations.board import board, board_rows
from orders_pipeline.operations.overdue import REPORTS, work_is_done
from orders_pipeline.orders.event_rows import parked_messages_by_reason
from orders_pipeline.orders.other_marketplaces import other_marketplace_orders
from orders_pipeline.privacy.retention.database_clock import alert_on_clock
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.package_alerts import review_package_alerts

# The tags that Dagster gives to a run that a schedule or a sensor asked for.
STARTED_BY_ITSELF = {"dagster/schedule_name", "dagster/sensor_name"}
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# Of those that ended since a job's last success, so many are looked at for one that started by itself.
_RUNS_LOOKED_AT = 50
# What a slow database may take of a tick before alerts are delivered all the same.
_EVALUATION_SECONDS = 9.0


@dg.asset(
    deps=["orders", "fulfillment_queue", "wms_orders", "shipment_confirmations"],
)
def order_board(store: StoreResource) -> dg.MaterializeResult:
    """Where all orders are: counts by status, age and deadline, and what a person should look at now."""
    database, account_id = store.database(), store.account_id()
    with database.transaction(account_id) as tx:
        numbers = board(tx)
        rows = board_rows(tx)
        alerts = open_alerts(tx)
        others = other_marketplace_orders(tx)
        parked = parked_messages_by_reason(tx)
    work_is_done(database, account_id=account_id, work=REPORTS)
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


@dg.asset(deps=["orders"])
def fba_shipments(store: StoreResource) -> dg.MaterializeResult:
    """Orders that Amazon ships itself (AFN): recorded from their notifications, at no call, never pushed."""
    database, account_id = store.database(), store.account_id()
    with database.transaction(account_id) as tx:
        rows = board_rows(tx, fulfilled_by="AMAZON")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(int(row.orders) for row in rows),
            "by_status": table(["status", "orders"], [(row.status, row.orders) for row in rows]),
        }
    )


reports = dg.define_asset_job(
    "refresh_reports",
    selection=dg.AssetSelection.assets("fba_shipments", "order_board"),
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
    description="Opens and closes alerts by what is in the store, and writes new ones to the log and, where "
    "SLACK_WEBHOOK_URL is set, to Slack; once each. Open ones are on `order_board` too.",
)
def deliver_alerts_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SkipReason:
    tick = Tick()
    try:
        account_id, database = store.account_id(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    alert_on_clock(database, account_id=account_id)
    review_package_alerts(database, account_id=account_id)
    repository = context.repository_def
    assert repository is not None, "a sensor that Dagster evaluates has its repository"
    failed = failed_runs(context.instance, repository.job_names)
    evaluate_alerts(database, [account_id], failed, budget_seconds=_EVALUATION_SECONDS)
    slack = store.settings().slack_webhook_url
    delivered = deliver_alerts(
        database, account_id=account_id, slack_webhook_url=slack, budget_seconds=tick.left_to_begin()
    )
    return dg.SkipReason(f"{delivered} alerts delivered." if delivered else "Nothing new.")


def failed_runs(instance: dg.DagsterInstance, jobs: Iterable[str]) -> list[Found]:
    """The jobs of which a run that started by itself failed, and none succeeded since.

    Who starts a run by hand sees how it ends. What Dagster has forgotten is no alert any more.
    """
    found: list[Found] = []
    for job in jobs:
        ended = instance.get_runs(dg.RunsFilter(job_name=job, statuses=_ENDED), limit=1)
        if not ended or ended[0].status == dg.DagsterRunStatus.SUCCESS:
            continue
        for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_ENDED), limit=_RUNS_LOOKED_AT):
            if run.status == dg.DagsterRunStatus.SUCCESS:
                break
            if run.status == dg.DagsterRunStatus.FAILURE and STARTED_BY_ITSELF & run.tags.keys():
                found.append(Found(job, {"job": job, "run_id": run.run_id}))
                break
    return found
