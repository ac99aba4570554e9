"""From recorded events to the warehouse in Dagster: the orders, what the warehouse should do next, and what it said."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import fail_on_defects, serve_hot_run
from orders_pipeline.defs.resources import AwakeResource, StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.sync import SYNC

_orders = dg.AssetSpec(
    "orders",
    deps=["order_events"],
    description="The newest state of each order and its items, without anything that identifies the buyer. One "
    "`getOrder` a changed order, or a page for a crowd; Amazon-fulfilled orders, and changes that a notification tells "
    "in full, cost none. Red? See the runbook, 'Fetch'.",
)
_shipping_details = dg.AssetSpec(
    "shipping_details",
    deps=["order_events"],
    description="Shipping addresses: AES-256-GCM, a key for each order, in the schema `vault`. Read by the push to "
    "the warehouse and by `orders-pipeline reveal`, and every reading is in the audit log.",
)
_fulfillment_queue = dg.AssetSpec(
    "fulfillment_queue",
    deps=["orders", "shipping_details"],
    description="What the warehouse should do next, by ship-by: ship, hold, release, cancel. Derived from the orders: "
    "only merchant-fulfilled ones that are Unshipped or PartiallyShipped, with an address, and with nothing that says "
    "wait. What waits is listed with its reason and its deadline on `order_board`.",
)
_wms_orders = dg.AssetSpec(
    "wms_orders",
    deps=["fulfillment_queue"],
    description="What the warehouse accepted, refused, or could no longer stop. Red? See the runbook, 'Push'.",
)


@dg.multi_asset(specs=[_orders, _shipping_details, _fulfillment_queue, _wms_orders], can_subset=False)
def orders_to_warehouse(
    context: dg.AssetExecutionContext, store: StoreResource, awake: AwakeResource
) -> Iterator[dg.MaterializeResult]:
    """All four in one step: the first order is at the warehouse while the hundredth is still being fetched."""
    yield from serve_hot_run(context, store, SYNC, awake)
    fail_on_defects(context)


sync_orders = dg.define_asset_job(
    "sync_orders",
    selection=dg.AssetSelection.assets(
        "orders", "shipping_details", "fulfillment_queue", "wms_orders"
    ).without_checks(),
    tags=MAX_RUNTIME_TAG,
    description="Everything that is pending, from recorded events to the warehouse, in one run. Asked for by the "
    "sensor `drain_notifications_sensor`; safe to start by hand at any time.",
)
