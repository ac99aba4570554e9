"""Shipments in Dagster: what left the warehouse, and what Amazon was told and shows of it."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import fail_on_defects, problems_of, serve_hot_run, serve_in_tick
from orders_pipeline.defs.resources import AwakeResource, StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG, request_unless_active
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.operations.confirm import CONFIRM
from orders_pipeline.operations.watch import hear_webhooks, watch_warehouse

_wms_shipments = dg.AssetSpec(
    "wms_shipments",
    deps=["wms_orders"],
    description="Packages, items and tracking, as the warehouse reported them; voided, replaced and short ones too.",
)
_shipment_confirmations = dg.AssetSpec(
    "shipment_confirmations",
    deps=["wms_shipments"],
    description="What Amazon was told of each package, and whether it shows it: a 204 is not a confirmation. Red? See "
    "the runbook, 'Confirm'.",
)


@dg.multi_asset(specs=[_wms_shipments, _shipment_confirmations], can_subset=False)
def packages_to_amazon(
    context: dg.AssetExecutionContext, store: StoreResource, awake: AwakeResource
) -> Iterator[dg.MaterializeResult]:
    """Both in one step: they are worked off side by side, and the run stays awake for what comes next."""
    yield from serve_hot_run(context, store, CONFIRM, awake)
    fail_on_defects(context)


confirm_shipments = dg.define_asset_job(
    "confirm_shipments",
    selection=dg.AssetSelection.assets("wms_shipments", "shipment_confirmations").without_checks(),
    tags=MAX_RUNTIME_TAG,
    description="Every package that left is told to Amazon, by ship-by time, and verified there. Asked for by "
    "the sensor `poll_warehouse_sensor`; safe to start by hand at any time.",
)


@dg.sensor(
    job_name="confirm_shipments",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the warehouse's shipment events, listens for its webhooks, and asks for a run of "
    "`confirm_shipments` while any package is to be told to Amazon or verified.",
)
def poll_warehouse_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult | dg.SkipReason:
    tick = Tick()
    served = serve_in_tick(context, store, lambda account: watch_warehouse(account, tick.left_to_begin))
    if isinstance(served, dg.SkipReason):
        return served
    due = any(seen.due for seen in served.results.values()) or hear_webhooks(store.accounts(), tick.left_to_begin)
    requests = request_unless_active(context.instance, store.database(), "confirm_shipments", due=due)
    idle = [seen.unreachable for seen in served.results.values() if seen.unreachable] or [
        "What is due is in the run under way." if due else "No package is due."
    ]
    return dg.SensorResult(
        run_requests=requests, skip_reason=None if requests else dg.SkipReason("; ".join([*idle, *problems_of(served)]))
    )
