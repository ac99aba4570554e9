"""Fulfillment in Dagster: what the warehouse should do next, and what it said."""

from datetime import UTC, datetime

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.checks import QUEUE_CHECKS, WMS_ORDERS_CHECKS, queue_results, wms_orders_results
from orders_pipeline.defs.resources import StoreResource, WarehouseResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG
from orders_pipeline.defs.tables import duration, table
from orders_pipeline.fulfillment.decide import decide_orders
from orders_pipeline.fulfillment.push import Pushing, push_orders
from orders_pipeline.fulfillment.rows import answers_by_kind, held_orders, queue_by_state

PUSH_DEADLINE_SECONDS = 45.0


@dg.asset(
    deps=["orders", "shipping_details"],
    check_specs=QUEUE_CHECKS,
)
def fulfillment_queue(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """What the warehouse should do next, by ship-by: ship, hold, release, cancel. Derived from the orders.

    Only merchant-fulfilled orders that are Unshipped or PartiallyShipped, with an address, and with nothing that says
    wait. What waits is listed with its reason and its deadline.
    """
    database, account_id = store.database(), store.account_id()
    with acting_as(actor_of(context)):
        tally = decide_orders(database, store.audit(), account_id=account_id, marketplace_ids=store.marketplace_ids())
    with database.transaction(account_id) as tx:
        states = queue_by_state(tx)
        held = held_orders(tx, limit=25)
        results = list(queue_results(tx))
    now = datetime.now(UTC)
    return dg.MaterializeResult(
        check_results=results,
        metadata={
            "dagster/row_count": sum(int(row.orders) for row in states),
            **tally.as_metadata(),
            "by_state": table(
                ["state", "orders", "next_ship_by", "oldest"],
                [(r.state, r.orders, r.next_ship_by, duration(r.oldest_change_seconds)) for r in states],
            ),
            "waiting": table(
                ["order", "state", "reasons", "ship_by", "since"],
                [
                    (r.order_id, r.state, r.hold_reasons, r.ship_by, duration((now - r.changed_at).total_seconds()))
                    for r in held
                ],
            ),
        },
    )


@dg.asset(
    deps=[fulfillment_queue],
    check_specs=WMS_ORDERS_CHECKS,
)
def wms_orders(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """What the warehouse accepted, refused, or could no longer stop. Red? See the runbook, "Push"."""
    database, account_id, vault = store.database(), store.account_id(), store.vault()
    work = Pushing(
        database=database,
        vault=vault,
        audit=vault.audit,
        warehouse=warehouse.client(),
        account_id=account_id,
        marketplace_ids=store.marketplace_ids(),
    )
    with acting_as(actor_of(context)):
        tally = push_orders(work, deadline_seconds=PUSH_DEADLINE_SECONDS)
    with database.transaction(account_id) as tx:
        answers = answers_by_kind(tx)
        results = list(wms_orders_results(tx))
    return dg.MaterializeResult(
        check_results=results,
        metadata={
            "dagster/row_count": sum(int(row.orders) for row in answers),
            **tally.as_metadata(),
            "answers": table(
                ["answer", "code", "orders", "newest"], [(r.answer, r.answer_code, r.orders, r.newest) for r in answers]
            ),
        },
    )


sync_orders = dg.define_asset_job(
    "sync_orders",
    selection=dg.AssetSelection.assets("orders", "shipping_details", "fulfillment_queue", "wms_orders", "order_board"),
    tags=MAX_RUNTIME_TAG,
    description="Everything that is pending, from recorded events to the warehouse, in one run. Asked for by the "
    "sensor `drain_notifications_sensor`; safe to start by hand at any time.",
)
