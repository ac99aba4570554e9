"""Intake in Dagster: the queue, the events that came from it, and the search that finds what it missed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from orders_pipeline.amazon_settings import WrongAccount
from orders_pipeline.defs.accounts import (
    IN_THE_STORE,
    as_metadata,
    fail_on_defects,
    problems_of,
    serve_accounts,
    serve_in_tick,
)
from orders_pipeline.defs.backfill import read_days_of_run
from orders_pipeline.defs.guide import described, described_plainly, link
from orders_pipeline.defs.partitions import ended_days
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import is_under_way, request_unless_active
from orders_pipeline.defs.ticks import Tick, asked_once_a_second, is_to_be_noted, noted_at
from orders_pipeline.operations.accounts import Served, Watches, add_up
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.search import sweep
from orders_pipeline.operations.watch import QueueWatch, by_queue, watch_queue

amazon_orders = dg.AssetSpec(
    "amazon_orders",
    description="Amazon's side, where it begins: the seller's orders as Amazon has them.\n\nOutside the pipeline. "
    "Each run of `sync_orders` notes here how many it asked Amazon for, one by one and by pages.",
)
order_notifications = dg.AssetSpec(
    "order_notifications",
    deps=[amazon_orders],
    description="Amazon's queues: the SQS queues in which Amazon says that an order changed (ORDER_CHANGE).\n\nOutside "
    "the pipeline. `drain_notifications_sensor` reads them all the time and notes once a minute that it did, how many "
    "messages are there, and how old the oldest was that it read. Overdue here means: nobody reads the queue.",
)


_order_events = dg.AssetSpec(
    "order_events",
    # Not `order_sweeps`, whose finds become events too: until it was made once, the UI would warn who picks days.
    deps=[order_notifications],
    skippable=True,
    description="What Amazon told us, once each, without buyers' data; a partition is a UTC day that is over.\n\n"
    "`drain_notifications_sensor` records notifications as they come, and observes the asset. A day is green once a "
    'search or a report has told all of it: pick the days, "Materialize". A page costs three minutes of quota, and a '
    "report is made in minutes or hours, so the run waits, and says until when. A grey day is no fault: nobody asked "
    "for it.",
)


# A multi_asset of one, for its backfill_policy is no beta.
@dg.multi_asset(
    specs=[_order_events],
    name="order_events",
    partitions_def=ended_days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="order_backfill",
)
def order_events(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    read_days_of_run(context, store)
    yield from ()


@dg.asset(deps=[amazon_orders], pool="amazon_search")
def order_sweeps(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    """What an hourly search found that no notification had told; it becomes events like any other.

    `missed` counts them: one in a while is normal, many mean that Amazon does not deliver to the queue.
    """
    swept = serve_accounts(context, store.accounts(), sweep, waits=True)
    yield dg.MaterializeResult(metadata=as_metadata(swept), data_version=IN_THE_STORE)
    fail_on_defects(context)


sweep_job = dg.define_asset_job(
    "sweep_orders",
    selection=dg.AssetSelection.assets("order_sweeps"),
    tags={"dagster/max_runtime": "900"},
    description=described(
        "Searches Amazon for orders whose notification did not come.\n\nHourly by itself; safe to start by hand at "
        "any time.",
        red="Intake",
        rule="Amazon promises no delivery of notifications.",
    ),
)


@dg.sensor(
    job_name="sync_orders",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=described_plainly(
        "Reads Amazon's queues, records what comes, and asks for a run of `sync_orders` while anything is to be "
        'done.\n\nAlways on. A tick waits at the queues for up to ten seconds. Its "0 runs requested", clicked, says '
        "why: nothing came, a run has the work in hand, or what is missing.",
        red="Intake",
        rule="a message is deleted after its event is committed "
        f"({link('the decision', 'decisions/01-one-run-for-a-batch.md')}).",
    ),
)
def drain_notifications_sensor(
    context: dg.SensorEvaluationContext, store: StoreResource
) -> dg.SensorResult | dg.SkipReason:
    now = datetime.now(UTC)
    seen = _watch_queues(context, store, measure=is_to_be_noted(context.cursor, now))
    if isinstance(seen, dg.SkipReason):
        return seen
    served, queues = seen
    due = any(one.due for one in served.results.values())
    requests = request_unless_active(context.instance, store.database(), "sync_orders", due=due)
    read = list(_read(served, queues, now))
    return dg.SensorResult(
        run_requests=requests,
        asset_events=[*_recorded(served.results, now), *read],
        cursor=noted_at(now) if read else context.cursor,
        skip_reason=None if requests else dg.SkipReason(_why_idle(due, served, store.settings().wrong_accounts)),
    )


def _watch_queues(
    context: dg.SensorEvaluationContext, store: StoreResource, *, measure: bool
) -> tuple[Served[QueueWatch], int] | dg.SkipReason:
    """What each queue told, under its first account, and how many queues there are."""
    tick = Tick()
    sharing: dict[str, Sequence[ServedAccount]] = {}

    def one_for_each_queue(accounts: Sequence[ServedAccount]) -> Sequence[ServedAccount]:
        sharing.update(by_queue(accounts))
        return [one for one in accounts if one.account_id in sharing]

    # Fifty queues ask as one: it is several queries of Dagster's storage.
    is_awake = asked_once_a_second(lambda: is_under_way(context.instance, store.database(), "sync_orders"))

    def watch(account: ServedAccount) -> QueueWatch:
        return watch_queue(sharing[account.account_id], tick.left_to_begin, measure=measure, is_awake=is_awake)

    # A queue with nothing on it is waited at for ten seconds: not while another's messages wait for a run.
    served = serve_in_tick(context, store, watch, one_for_each_queue, (_watches, lambda seen: seen.due))
    return served if isinstance(served, dg.SkipReason) else (served, len(sharing))


_watches = Watches()


def _recorded(seen: Mapping[str, QueueWatch], now: datetime) -> Iterator[dg.AssetObservation]:
    """One observation for each day that got an event. No materialization: it would show the day as complete."""
    for day in sorted({day for watch in seen.values() for day in watch.drained.days}):
        got = {one: watch for one, watch in seen.items() if day in watch.drained.days}
        counts = add_up({one: watch.drained.as_metadata() for one, watch in got.items()})
        age = {"oldest_message_seconds": _age(got, now)}
        yield dg.AssetObservation("order_events", partition=day.isoformat(), metadata={**counts, **age})


def _read(served: Served[QueueWatch], queues: int, now: datetime) -> Iterator[dg.AssetMaterialization]:
    """That all queues were read, as one; nothing while one of them was not: the asset grows overdue."""
    depths = [watch.depth for watch in served.results.values() if watch.depth is not None]
    if depths and len(depths) == queues and not served.defects:
        yield dg.AssetMaterialization(
            "order_notifications",
            metadata={
                "messages_in_queue": sum(depth.visible for depth in depths),
                "messages_in_flight": sum(depth.in_flight for depth in depths),
                "queue_age_seconds": _age(served.results, now),
            },
        )


def _age(seen: Mapping[str, QueueWatch], now: datetime) -> float:
    """Of the oldest message that was read in this tick; of none, nothing waited."""
    sent = [watch.drained.oldest_sent_at for watch in seen.values() if watch.drained.oldest_sent_at is not None]
    return max((now - min(sent)).total_seconds(), 0.0) if sent else 0.0


def _why_idle(due: bool, served: Served[QueueWatch], not_served: Sequence[WrongAccount]) -> str:
    wrong = [f"Account {one.name} is not served: {'; '.join(one.problems)}" for one in not_served]
    away = [str(seen.drained.unavailable) for seen in served.results.values() if seen.drained.unavailable]
    came = sum(seen.drained.received for seen in served.results.values())
    usual = (
        f"{f'{came} messages came' if came else 'No message came'}: "
        f"{'a run that is under way has the work in hand' if due else 'nothing is due'}."
    )
    return "; ".join([*away, *problems_of(served)] or [usual]) + "".join(f" {one}." for one in wrong)
