"""Orders in Dagster: the newest state of each order, and the encrypted details of those that ship."""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.checks import ORDERS_CHECKS, orders_results
from orders_pipeline.defs.resources import AmazonResource, StoreResource
from orders_pipeline.defs.tables import NOTHING, duration, table
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.intake.verification import Verifier
from orders_pipeline.orders.account_starts import note_start
from orders_pipeline.orders.rows import count_by_status, fetch_backlog
from orders_pipeline.privacy.retention.rows import count_records
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS

FETCH_DEADLINE_SECONDS = 45.0

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


@dg.multi_asset(specs=[_orders, _shipping_details], check_specs=ORDERS_CHECKS, can_subset=False)
def orders_and_shipping_details(
    context: dg.AssetExecutionContext, store: StoreResource, amazon: AmazonResource
) -> Iterator[dg.MaterializeResult]:
    """One step, since one answer of Amazon's holds both."""
    database, vault, account_id = store.database(), store.vault(), store.account_id()
    client, marketplace_ids = amazon.client(), store.marketplace_ids()
    with database.transaction(account_id) as tx:
        note_start(tx, amazon.settings().start_at)
    with acting_as(actor_of(context)):
        applied = apply_events(database, account_id=account_id, marketplace_ids=marketplace_ids)
        fetched = fetch_due_orders(
            client.orders,
            database,
            vault,
            account_id=account_id,
            marketplace_ids=marketplace_ids,
            verifier=Verifier(client.verifications, amazon.settings().regulated_skus),
            deadline_seconds=FETCH_DEADLINE_SECONDS,
        )
    for error in (fetched.account_error, fetched.keys_error):
        if error:
            context.log.error(error)
    with database.transaction(account_id) as tx:
        statuses = count_by_status(tx)
        due, parked, overdue = fetch_backlog(tx)
        records = count_records(tx, SHIPPING_DETAILS)
        results = list(orders_results(tx))
    yield dg.MaterializeResult(
        asset_key="orders",
        check_results=results,
        metadata={
            "dagster/row_count": sum(int(row.orders) for row in statuses),
            "events_applied": applied.events,
            "recorded_without_a_fetch": applied.recorded,
            "nothing_new": applied.ignored,
            "of_other_marketplaces": applied.other_marketplaces,
            "fetched": fetched.fetched,
            "failed": fetched.failed,
            "still_to_fetch": due,
            "parked": parked,
            "longest_overdue": duration(overdue),
            "quota_next_at": fetched.not_before.isoformat() if fetched.not_before else NOTHING,
            "account_error": fetched.account_error or NOTHING,
            "by_status": table(
                ["fulfilled_by", "status", "orders", "oldest_purchase", "next_ship_by"],
                [(r.fulfilled_by, r.status, r.orders, r.oldest_purchase, r.next_ship_by) for r in statuses],
            ),
            "limits": limits_table(client.limits.report()),
        },
    )
    yield dg.MaterializeResult(
        asset_key="shipping_details",
        metadata={"dagster/row_count": records, "without_address": fetched.without_address},
    )


def limits_table(limits: list) -> dg.TableMetadataValue:
    """Amazon's limits as they stand, a row an operation."""
    return table(
        ["operation", "rate_per_s", "burst", "tokens", "granted", "throttled_429", "waited_s"],
        [
            (
                limit.operation,
                round(limit.rate, 4),
                limit.burst,
                round(limit.tokens, 1),
                limit.granted,
                limit.throttled,
                round(limit.waited_seconds, 1),
            )
            for limit in limits
        ],
    )
