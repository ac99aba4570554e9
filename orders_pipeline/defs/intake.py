"""Intake in Dagster: the queue, the events that came from it, and the search that finds what it missed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from orders_pipeline.defs.accounts import (
    as_metadata,
    fail_on_defects,
    problems_of,
    serve_accounts,
    serve_in_tick,
)
from orders_pipeline.defs.backfill import read_days_of_run
from orders_pipeline.defs.metadata import duration
from orders_pipeline.defs.partitions import ended_days
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import is_under_way, request_unless_active
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.operations.accounts import Served, add_up
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.search import sweep
from orders_pipeline.operations.watch import QueueWatch, watch_queue

QUEUE_OBSERVED_EVERY = timedelta(minutes=1)

order_notifications = dg.AssetSpec(
    "order_notifications",
    description="The SQS queues to which Amazon's Notifications API delivers ORDER_CHANGE. Their depth and the age of "
    "what was read last are observed by the sensor `drain_notifications_sensor`, once a minute.",
)


@dg.asset(
    deps=[order_notifications],
    partitions_def=ended_days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="order_backfill",
    output_required=False,
)
def order_events(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    """What Amazon told us, once each, without buyers' data; a partition is a UTC day that is over.

    `drain_notifications_sensor` records notifications as they come, and observes the asset. A day is materialized when
    a search or a report has told all of it: pick days, and materialize them. A page costs three minutes of quota, and a
    report is made in minutes or hours, so the run waits, and says until when. See the runbook, "Backfill".
    """
    read_days_of_run(context, store)
    yield from ()


@dg.asset(pool="amazon_search")
def order_sweeps(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    """What an hourly search found that no notification had told; it is fed to the orders as events.

    Amazon promises no delivery. Many missed, or silence while orders change? See the runbook, "Intake".
    """
    yield dg.MaterializeResult(metadata=as_metadata(serve_accounts(context, store.accounts(), sweep)))
    fail_on_defects(context)


sweep_job = dg.define_asset_job(
    "sweep_orders",
    selection=dg.AssetSelection.assets("order_sweeps"),
    tags={"dagster/max_runtime": "900"},
    description="Search Amazon for what notifications missed. Hourly by itself; safe to start by hand.",
)


@dg.sensor(
    job_name="sync_orders",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits at the SQS queues, records what comes, deletes it from the queue, and asks for a run of "
    "`sync_orders` while anything is to be done. Skips, with what is missing, without credentials.",
)
def drain_notifications_sensor(
    context: dg.SensorEvaluationContext, store: StoreResource
) -> dg.SensorResult | dg.SkipReason:
    tick, now = Tick(), datetime.now(UTC)
    measure = now - datetime.fromtimestamp(float(context.cursor or 0), UTC) > QUEUE_OBSERVED_EVERY

    def watch(account: ServedAccount) -> QueueWatch:
        is_awake = partial(is_under_way, context.instance, store.database(), "sync_orders")
        return watch_queue(account, tick.left_to_begin, measure=measure, is_awake=is_awake)

    served = serve_in_tick(context, store, watch)
    if isinstance(served, dg.SkipReason):
        return served
    due = any(seen.due for seen in served.results.values())
    requests = request_unless_active(context.instance, store.database(), "sync_orders", due=due)
    events = [*_recorded(served.results, now), *_observed(served.results, now)]
    measured = any(seen.depth is not None for seen in served.results.values())
    return dg.SensorResult(
        run_requests=requests,
        asset_events=events,
        cursor=str(int(now.timestamp())) if measured else context.cursor,
        skip_reason=None if requests or events else dg.SkipReason(_why_idle(due, served)),
    )


def _recorded(seen: Mapping[str, QueueWatch], now: datetime) -> Iterator[dg.AssetObservation]:
    """One observation for each day that got an event. No materialization: it would show the day as complete."""
    for day in sorted({day for watch in seen.values() for day in watch.drained.days}):
        got = {one: watch for one, watch in seen.items() if day in watch.drained.days}
        counts = add_up({one: watch.drained.as_metadata() for one, watch in got.items()})
        oldest = {"oldest_message": duration(_age(got, now))}
        yield dg.AssetObservation("order_events", partition=day.isoformat(), metadata={**counts, **oldest})


def _observed(seen: Mapping[str, QueueWatch], now: datetime) -> Iterator[dg.AssetObservation]:
    """All queues as one."""
    depths = [watch.depth for watch in seen.values() if watch.depth is not None]
    if depths:
        yield dg.AssetObservation(
            "order_notifications",
            metadata={
                "messages": sum(depth.visible for depth in depths),
                "in_flight": sum(depth.in_flight for depth in depths),
                "oldest_read_now": duration(_age(seen, now)),
            },
        )


def _age(seen: Mapping[str, QueueWatch], now: datetime) -> float | None:
    sent = [watch.drained.oldest_sent_at for watch in seen.values() if watch.drained.oldest_sent_at is not None]
    return (now - min(sent)).total_seconds() if sent else None


def _why_idle(due: bool, served: Served[QueueWatch]) -> str:
    away = [str(seen.drained.unavailable) for seen in served.results.values() if seen.drained.unavailable]
    usual = "What is due is in the run under way." if due else "Nothing came, nothing is due."
    return "; ".join([*away, *problems_of(served)]) or usual
