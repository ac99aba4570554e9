"""From recorded events to the warehouse in Dagster: the orders, what the warehouse should do next, and what it said."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import fail_on_defects, serve_hot_run
from orders_pipeline.defs.guide import described, link
from orders_pipeline.defs.resources import AwakeResource, StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.sync import SYNC

_orders = dg.AssetSpec(
    "orders",
    deps=["order_events", "order_sweeps", "amazon_orders"],
    description="The newest state of each order and its items, without anything that identifies the buyer.\n\nOne "
    "`getOrder` a changed order, or a page for a crowd; Amazon-fulfilled orders, and changes that a notification tells "
    "in full, cost none.",
)
_shipping_details = dg.AssetSpec(
    "shipping_details",
    deps=["order_events", "amazon_orders"],
    description="Shipping addresses, encrypted: AES-256-GCM, a key for each order, in the schema `vault`.\n\nRead by "
    "the push to the warehouse and by `orders-pipeline reveal`, and every reading is in the audit log. Destroyed by "
    "`pii_retention` when their time is over.",
)
_fulfillment_queue = dg.AssetSpec(
    "fulfillment_queue",
    deps=["orders", "shipping_details"],
    description="What the warehouse should do next, by ship-by: ship, hold, release, cancel.\n\nDerived from the "
    "orders: only merchant-fulfilled ones that are Unshipped or PartiallyShipped, with an address, and with nothing "
    "that says wait. What waits is listed with its reason and its deadline on `order_board`.",
)
_wms_orders = dg.AssetSpec(
    "wms_orders",
    deps=["fulfillment_queue"],
    description="What the warehouse accepted, refused, or could no longer stop.\n\nAn order is pushed once. After an "
    "answer that was lost it is looked for at the warehouse before it is sent again.",
)
warehouse = dg.AssetSpec(
    "warehouse",
    deps=["wms_orders"],
    description="The warehouse: where orders are picked, packed and shipped.\n\nOutside the pipeline. "
    "`poll_warehouse_sensor` reads its shipments all the time and notes once a minute that it did. Overdue here means: "
    "the warehouse cannot be read, or nobody reads it.",
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
    description=described(
        "Everything that is pending, from recorded events to the warehouse, for every account.\n\nAsked for by "
        "`drain_notifications_sensor`, and once an hour where nothing happens; safe to start by hand at any time, also "
        "beside another run.",
        red="Failed runs",
        rule=f"{link('one run takes all that is pending', 'decisions/28-hot-run.md')}.",
    ),
)
