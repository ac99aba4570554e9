"""Intake in Dagster: the queue, the sensor that drains it, and the order events."""

import time
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.checks import SWEEP_CHECKS, sweep_results
from orders_pipeline.defs.partitions import daily
from orders_pipeline.defs.resources import AmazonResource, QueueResource, StoreResource
from orders_pipeline.defs.runs import request_unless_active
from orders_pipeline.defs.tables import NOTHING, duration, table
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.intake.drain import DrainTotals, drain_notifications
from orders_pipeline.intake.queue import LONGEST_POLL_SECONDS, NotificationQueue, QueueUnavailable
from orders_pipeline.intake.search import SearchTotals, day_window, resumed_window, search_events
from orders_pipeline.intake.search_windows import given_up_searches
from orders_pipeline.intake.sweep import first_sweep_from, review_given_up, sweep_orders
from orders_pipeline.model.order import Priority
from orders_pipeline.operations.overdue import SWEEP, work_is_done
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.orders.account_starts import note_start
from orders_pipeline.orders.event_rows import count_by_day
from orders_pipeline.settings import SettingsError

QUEUE_OBSERVED_EVERY_SECONDS = 60

order_notifications = dg.AssetSpec(
    "order_notifications",
    description="The SQS queue to which Amazon's Notifications API delivers ORDER_CHANGE. Its depth and the age of "
    "what was read last are observed by the sensor `drain_notifications_sensor`, once a minute.",
)


@dg.asset(
    deps=[order_notifications],
    partitions_def=daily,
    pool="amazon_search",
    op_tags={"dagster/priority": "-1"},
)
def order_events(
    context: dg.AssetExecutionContext, store: StoreResource, amazon: AmazonResource
) -> dg.MaterializeResult:
    """What Amazon told us, once each, without buyers' data; a partition is a UTC day.

    The sensor `drain_notifications_sensor` records notifications as they come. Materializing a past day searches Amazon
    for every order that changed on it; a page costs three minutes of quota, so a long backfill waits and resumes.
    """
    database, client, account_id = store.database(), amazon.client(), store.account_id()
    day = date.fromisoformat(context.partition_key)
    window = day_window(day, database.now(), store.settings().require_amazon().marketplace_ids)
    totals = SearchTotals(finished=True)
    if window is not None:
        with database.transaction(account_id) as tx:
            note_start(tx, amazon.settings().start_at)
            window = resumed_window(tx, "backfill", window)
        with acting_as(actor_of(context)):
            totals = search_events(
                client.orders, database, window, account_id=account_id, purpose="backfill", priority=Priority.BACKFILL
            )
    if totals.finished:
        with database.transaction(account_id) as tx:
            review_given_up(tx)
    if not totals.finished:
        wait = max((totals.resume_at or database.now()) - database.now(), timedelta(seconds=1))
        context.log.info(
            "%s pages read; the quota allows the next in %s.", totals.pages, duration(wait.total_seconds())
        )
        raise dg.RetryRequested(max_retries=1000, seconds_to_wait=wait.total_seconds())
    return dg.MaterializeResult(metadata={**totals.as_metadata(), **_days_metadata(database, account_id, [day])})


@dg.asset(
    pool="amazon_search",
    check_specs=SWEEP_CHECKS,
)
def order_sweeps(
    context: dg.AssetExecutionContext, store: StoreResource, amazon: AmazonResource
) -> dg.MaterializeResult:
    """What an hourly search found that no notification had told; it is fed to the orders as events.

    Amazon promises no delivery. Many missed, or silence while orders change? See the runbook, "Intake".
    """
    database, account_id = store.database(), store.account_id()
    with database.transaction(account_id) as tx:
        note_start(tx, amazon.settings().start_at)
    with acting_as(actor_of(context)):
        swept = sweep_orders(
            amazon.client().orders,
            database,
            account_id=account_id,
            marketplace_ids=amazon.settings().marketplace_ids,
        )
    with database.transaction(account_id) as tx:
        results = list(sweep_results(tx))
        given_up = given_up_searches(tx)
        not_before = first_sweep_from(tx)
    if swept.search.finished:
        work_is_done(database, account_id=account_id, work=SWEEP)
    return dg.MaterializeResult(
        check_results=results,
        metadata={
            **swept.search.as_metadata(),
            "missed": swept.missed,
            "given_up": table(
                ["from", "until", "failures", "error", "given_up_at"],
                [(w.updated_after, w.updated_before, w.failures, w.last_error, w.given_up_at) for w in given_up],
            ),
            "from": swept.window.updated_after.isoformat() if swept.window else NOTHING,
            "until": swept.window.updated_before.isoformat() if swept.window else NOTHING,
            "not_further_back_than": (
                f"{not_before.isoformat()}: the first start of this account; what changed before is an old process's"
                if not_before
                else NOTHING
            ),
        },
    )


sweep_job = dg.define_asset_job(
    "sweep_orders",
    selection=dg.AssetSelection.assets("order_sweeps"),
    tags={"dagster/max_runtime": "900"},
    description="Search Amazon for what notifications missed. Hourly by itself; safe to start by hand.",
)

hourly_sweep = dg.ScheduleDefinition(
    name="hourly_sweep",
    job=sweep_job,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Seventeen past, away from everybody's full hour.",
)


@dg.sensor(
    job_name="sync_orders",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits at the SQS queue, records what comes, deletes it from the queue, and asks for a run of "
    "`sync_orders` while anything is to be done. Skips, with what is missing, without credentials.",
)
def drain_notifications_sensor(
    context: dg.SensorEvaluationContext, store: StoreResource, queue: QueueResource
) -> dg.SensorResult | dg.SkipReason:
    tick = Tick()
    try:
        account_id = store.account_id()
        notifications = queue.queue()
        database, vault = store.database(), store.vault()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    with database.transaction(account_id) as tx:
        note_start(tx, store.settings().require_amazon().start_at)
        waiting = pending_work(tx)
    with acting_as(f"job:{context.sensor_name}"):
        totals = drain_notifications(
            notifications,
            database,
            vault,
            account_id=account_id,
            # While work waits for a run, a long poll would only make it wait longer.
            wait_seconds=1 if waiting.for_sync else LONGEST_POLL_SECONDS,
            budget_seconds=tick.left_to_begin(),
        )
    events: list[dg.AssetMaterialization | dg.AssetObservation] = [
        dg.AssetMaterialization("order_events", partition=day.isoformat(), metadata=_drain_metadata(totals))
        for day in sorted(totals.days)
    ]
    cursor = context.cursor
    observed_long_ago = time.time() - float(cursor or 0) > QUEUE_OBSERVED_EVERY_SECONDS
    if observed_long_ago and totals.unavailable is None and tick.left_to_begin() > 0:
        events.extend(_observed(notifications, totals))
        cursor = str(int(time.time()))
    with database.transaction(account_id) as tx:
        work = pending_work(tx)
    requests = request_unless_active(context.instance, database, "sync_orders") if work.for_sync else []
    return dg.SensorResult(
        run_requests=requests,
        asset_events=events,
        cursor=cursor,
        skip_reason=None if requests or events else dg.SkipReason(_why_idle(work.for_sync, totals)),
    )


def _observed(queue: NotificationQueue, totals: DrainTotals) -> list[dg.AssetObservation]:
    try:
        depth = queue.depth()
    except QueueUnavailable:
        # It was read a moment ago: only the counting failed, and is tried again in a minute.
        return []
    metadata = {
        "messages": depth.visible,
        "in_flight": depth.in_flight,
        "oldest_read_now": duration(_age(totals)),
    }
    return [dg.AssetObservation("order_notifications", metadata=metadata)]


def _why_idle(pending: int, totals: DrainTotals) -> str:
    if totals.unavailable is not None:
        return str(totals.unavailable)
    return f"{pending} pieces of work are in the run under way." if pending else "Nothing came, nothing is due."


def _age(totals: DrainTotals) -> float | None:
    return (datetime.now(UTC) - totals.oldest_sent_at).total_seconds() if totals.oldest_sent_at else None


def _drain_metadata(totals: DrainTotals) -> dict[str, dg.MetadataValue | str | int]:
    return {**totals.as_metadata(), "oldest_message": duration(_age(totals))}


def _days_metadata(database: Database, account_id: str, days: list[date]) -> dict[str, dg.MetadataValue | int]:
    with database.transaction(account_id) as tx:
        rows = count_by_day(tx, days)
    return {
        "dagster/partition_row_count": sum(int(row.events) for row in rows),
        "events": table(
            ["day", "source", "events", "orders", "newest"],
            [(row.partition_day, row.source, row.events, row.orders, row.newest) for row in rows],
        ),
    }
