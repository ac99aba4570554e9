"""Orders of marketplaces that are not configured: counted and shown, never fetched or queued, and never lost.

A seller's queue delivers the orders of every marketplace. Once one is configured, its open orders are fetched.
"""

from __future__ import annotations

from collections.abc import Collection

from orders_pipeline.alerts.rows import close_alerts_about, open_alert_keys, raise_alert
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.orders.other_marketplaces import held_without_marketplace, open_by_marketplace, take_in

ALERT = "marketplace.not_configured:"
# Followed by the order.
NAMELESS_ALERT = "order.no_marketplace:"


def review_other_marketplaces(tx: AccountTransaction, marketplace_ids: Collection[str]) -> int:
    """Have the orders of marketplaces that are configured by now fetched; how many. Bring the alerts in line."""
    taken = take_in(tx, marketplace_ids)
    keys: list[str] = []
    already = set(open_alert_keys(tx, prefix=ALERT))
    for row in open_by_marketplace(tx, marketplace_ids):
        known = MARKETPLACES.get(row.marketplace_id)
        # What is no marketplace of Amazon's was made up by somebody: one alert for all of them.
        key = f"{ALERT}{row.marketplace_id if known else 'unknown'}"
        if key not in already and key not in keys:
            name = f"{row.marketplace_id} ({known.country_code})" if known else "that Amazon does not have"
            raise_alert(
                tx,
                key=key,
                severity="warning",
                message=f"Orders are to be shipped in a marketplace {name}, which is not configured. They are not "
                "fetched and not pushed.",
                what_to_do="If you ship them from here, add the marketplace to AMAZON_MARKETPLACE_ID: they come in "
                "within the hour. Otherwise nothing; `order_board` counts them.",
            )
        keys.append(key)
    close_alerts_about(tx.connection, account_id=tx.account_id, prefix=ALERT, but=keys)
    _review_nameless(tx)
    return taken


def _review_nameless(tx: AccountTransaction) -> None:
    already = set(open_alert_keys(tx, prefix=NAMELESS_ALERT))
    keys: list[str] = []
    for order_id in held_without_marketplace(tx):
        key = f"{NAMELESS_ALERT}{order_id}"
        keys.append(key)
        if key in already:
            continue
        raise_alert(
            tx,
            key=key,
            severity="error",
            message=f"Amazon does not say in which marketplace order {order_id} was placed. It is held.",
            what_to_do="Look at the order in Seller Central, then run the job `recover_order`, or ship it by hand.",
        )
    if already.difference(keys):
        close_alerts_about(tx.connection, account_id=tx.account_id, prefix=NAMELESS_ALERT, but=keys)
