"""Fulfillment in Dagster: what the warehouse should do next, and what it said."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.operations.sync import decide_fulfillment, push_orders


@dg.asset(deps=["orders", "shipping_details"])
def fulfillment_queue(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """What the warehouse should do next, by ship-by: ship, hold, release, cancel. Derived from the orders.

    Only merchant-fulfilled orders that are Unshipped or PartiallyShipped, with an address, and with nothing that says
    wait. What waits is listed with its reason and its deadline on `order_board`.
    """
    return dg.MaterializeResult(metadata=as_metadata(serve_accounts(context, store.accounts(), decide_fulfillment)))


@dg.asset(deps=[fulfillment_queue])
def wms_orders(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult]:
    """What the warehouse accepted, refused, or could no longer stop. Red? See the runbook, "Push"."""
    yield dg.MaterializeResult(metadata=as_metadata(serve_accounts(context, store.accounts(), push_orders)))
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
