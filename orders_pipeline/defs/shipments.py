"""Shipments in Dagster: what left the warehouse, and what Amazon was told and shows of it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from orders_pipeline.defs.accounts import fail_on_defects, problems_of, serve_hot_run, serve_in_tick
from orders_pipeline.defs.guide import described, described_plainly, link
from orders_pipeline.defs.resources import AwakeResource, StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG, request_unless_active
from orders_pipeline.defs.ticks import Tick, is_to_be_noted, noted_at
from orders_pipeline.operations.accounts import Served
from orders_pipeline.operations.confirm import CONFIRM
from orders_pipeline.operations.watch import WarehouseWatch, hear_webhooks, watch_warehouse

_wms_shipments = dg.AssetSpec(
    "wms_shipments",
    deps=["warehouse"],
    description="Packages, items and tracking, as the warehouse reported them; voided, replaced and short ones too.\n\n"
    "Read by `poll_warehouse_sensor`, or brought by the warehouse's webhooks.",
)
_shipment_confirmations = dg.AssetSpec(
    "shipment_confirmations",
    deps=["wms_shipments"],
    description="What Amazon was told of each package, and whether Amazon shows it.\n\nA package is confirmed once "
    "Amazon's own answer shows it: a 204 is not a confirmation.",
)
amazon_shipments = dg.AssetSpec(
    "amazon_shipments",
    deps=["shipment_confirmations"],
    description="Amazon's side, where it ends: the packages that Amazon shows its customers.\n\nOutside the pipeline. "
    "Each run of `confirm_shipments` notes here how many it looked for, and how many Amazon showed.",
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
    description=described(
        "Tells Amazon of every package that left, nearest ship-by time first, and verifies that Amazon shows "
        "it.\n\nAsked "
        "for by `poll_warehouse_sensor`, and once an hour where nothing happens; safe to start by hand at any time.",
        red="Failed runs",
        rule=f"{link('one run takes all that is pending', 'decisions/28-hot-run.md')}.",
    ),
)


@dg.sensor(
    job_name="confirm_shipments",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=described_plainly(
        "Reads the warehouse's shipments, and asks for a run of `confirm_shipments` while Amazon is to be told of "
        "any.\n\nAlways on. It listens for the warehouse's webhooks between two looks. A tick's \"0 runs requested\", "
        "clicked, says why: no package is due, a run has them in hand, or the warehouse cannot be read.",
        red="Confirm",
        rule=f"{link('webhooks beside the poll', 'decisions/29-webhooks-beside-the-poll.md')}.",
    ),
)
def poll_warehouse_sensor(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult | dg.SkipReason:
    tick, now = Tick(), datetime.now(UTC)
    served = serve_in_tick(context, store, lambda account: watch_warehouse(account, tick.left_to_begin))
    if isinstance(served, dg.SkipReason):
        return served
    due = any(seen.due for seen in served.results.values()) or hear_webhooks(store.accounts(), tick.left_to_begin)
    requests = request_unless_active(context.instance, store.database(), "confirm_shipments", due=due)
    idle = [seen.unreachable for seen in served.results.values() if seen.unreachable] or [
        "A run that is under way has the packages in hand." if due else "No package is due."
    ]
    read = [_READ] if is_to_be_noted(context.cursor, now) and _was_read(served) else []
    return dg.SensorResult(
        run_requests=requests,
        asset_events=read,
        cursor=noted_at(now) if read else context.cursor,
        skip_reason=None if requests else dg.SkipReason("; ".join([*idle, *problems_of(served)])),
    )


_READ = dg.AssetMaterialization("warehouse", description="Its shipments were read.")


def _was_read(served: Served[WarehouseWatch]) -> bool:
    """Whether it was read for every account; while it was not, the asset grows overdue."""
    return not served.defects and not any(seen.unreachable for seen in served.results.values())
