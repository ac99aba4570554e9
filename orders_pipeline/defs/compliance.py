"""Compliance in Dagster: who read what, shown to an auditor.

Belongs here: the assets of group `compliance`. Elsewhere: the log itself (vault.audit).
"""

import dagster as dg

from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.defs.tables import table
from orders_pipeline.store.compliance import count_by_action

OWNERS = ["team:compliance"]


@dg.asset(group_name="compliance", kinds={"postgres"}, owners=OWNERS, deps=["shipping_details", "wms_orders"])
def pii_access_log(store: StoreResource) -> dg.MaterializeResult:
    """Every reading of a buyer's data and every change of state, append-only and hash-chained, without the data.

    The table counts the last day; `orders-pipeline audit` shows and verifies the entries.
    """
    seller_id = store.seller_id()
    with store.database().transaction() as connection:
        rows = count_by_action(connection, seller_id, hours=24)
    return dg.MaterializeResult(
        metadata={
            "entries_of_the_last_day": sum(int(row.entries) for row in rows),
            "by_action": table(
                ["action", "outcome", "entries", "orders", "newest"],
                [(r.action, r.outcome, r.entries, r.orders, r.newest) for r in rows],
            ),
        }
    )
