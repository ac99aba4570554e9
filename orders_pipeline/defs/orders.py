"""Orders in Dagster: the newest state of each order, and the encrypted details of those that ship."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.defs.accounts import as_metadata, serve_accounts
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.sync import update_orders

_orders = dg.AssetSpec(
    "orders",
    deps=["order_events"],
    description="The newest state of each order and its items, without anything that identifies the buyer. One "
    "`getOrder` a changed order; Amazon-fulfilled orders, and changes that the notification tells in full, cost none. "
    "Red? See the runbook, 'Fetch'.",
)
_shipping_details = dg.AssetSpec(
    "shipping_details",
    deps=["order_events"],
    description="Shipping addresses: AES-256-GCM, a key for each order, in the schema `vault`. Read by the push to "
    "the warehouse and by `orders-pipeline reveal`, and every reading is in the audit log.",
)


@dg.multi_asset(specs=[_orders, _shipping_details], can_subset=False)
def orders_and_shipping_details(
    context: dg.AssetExecutionContext, store: StoreResource
) -> Iterator[dg.MaterializeResult]:
    """One step, since one answer of Amazon's holds both."""
    served = serve_accounts(context, store.accounts(), update_orders)
    yield dg.MaterializeResult(asset_key="orders", metadata=as_metadata(served))
    yield dg.MaterializeResult(asset_key="shipping_details")
