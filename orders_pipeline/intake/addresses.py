"""Orders that wait for their address: how often Amazon is asked, and when a person is told.

One order is told after an hour, or four hours before it is to ship. If nobody's address comes, it is the application
that may not see it: then one alert names the role instead of one for each order.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from orders_pipeline.alerts.rows import close_alert, close_alerts_about, open_alert_keys, raise_alert
from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.order import NOT_FOR_THE_WAREHOUSE
from orders_pipeline.orders.addresses import newest_address_at, orders_without_address

# An address can lag minutes behind the status, and was blank for days in 2021 (facts/peers.md §2, 23, 28).
ADDRESS_RETRY, LONGEST_ADDRESS_RETRY = timedelta(seconds=30), timedelta(hours=2)
# Addresses that are late come within minutes; a person who is told four hours before can still act.
PATIENCE, BEFORE_SHIP_BY = timedelta(hours=1), timedelta(hours=4)
# So many orders whose wait is over, and nobody's address since: that is no single order's trouble.
MANY = 3
ORDER_ALERT, ROLE_ALERT = "order.no_address:", "amazon.role:shipping_address"


def address_retry(waiting_since: datetime, ship_by: datetime | None, now: datetime) -> timedelta:
    """When to ask again: as long again as it has been waiting already, and not later than a person is told."""
    delay = min(max(ADDRESS_RETRY, now - waiting_since), LONGEST_ADDRESS_RETRY)
    until_alert = _alert_at(waiting_since, ship_by) - now
    return min(delay, until_alert) if until_alert > ADDRESS_RETRY else delay


def review_addresses(tx: AccountTransaction) -> None:
    """Bring the alerts about missing addresses in line with the orders that wait."""
    now = database_now(tx.connection)
    waiting = orders_without_address(tx, sorted(NOT_FOR_THE_WAREHOUSE))
    due = [row for row in waiting if _alert_at(row.waiting_since, row.ship_by) <= now]
    # The place is shown, and neither a name nor a street: so Amazon answers to who lacks the role.
    hidden = [row for row in waiting if row.address_hidden]
    suspicious = hidden or (due if len(due) >= MANY else [])
    # Only then: the question reads all orders.
    newest = newest_address_at(tx) if suspicious else None
    if suspicious and (newest is None or newest < min(row.waiting_since for row in suspicious)):
        _alert_no_role(tx, len(waiting))
        close_alerts_about(tx.connection, account_id=tx.account_id, prefix=ORDER_ALERT)
        return
    close_alert(tx, key=ROLE_ALERT)
    open_keys = set(open_alert_keys(tx, prefix=ORDER_ALERT))
    for row in due:
        severity = "error" if row.ship_by is not None and row.ship_by - BEFORE_SHIP_BY <= now else "warning"
        _alert_no_address(tx, row, severity)
    keys = {f"{ORDER_ALERT}{row.order_id}" for row in due}
    if open_keys - keys:
        close_alerts_about(tx.connection, account_id=tx.account_id, prefix=ORDER_ALERT, but=keys)


def _alert_at(waiting_since: datetime, ship_by: datetime | None) -> datetime:
    patience = waiting_since + PATIENCE
    return patience if ship_by is None else min(patience, ship_by - BEFORE_SHIP_BY)


def _alert_no_address(tx: AccountTransaction, row: AnyRow, severity: str) -> None:
    ship_by = f", and is to ship by {row.ship_by:%Y-%m-%d %H:%M} UTC" if row.ship_by is not None else ""
    raise_alert(
        tx,
        key=f"{ORDER_ALERT}{row.order_id}",
        severity=severity,
        message=f"Amazon gives no address that order {row.order_id} could be shipped to{ship_by}.",
        what_to_do="It is asked again by itself. If Seller Central shows the address, ship and confirm it by hand.",
    )


def _alert_no_role(tx: AccountTransaction, count: int) -> None:
    raise_alert(
        tx,
        key=ROLE_ALERT,
        severity="error",
        message=f"Amazon shows no buyer's address of any order; {count} wait for theirs. The application, or the "
        "seller's authorisation of it, lacks the role Direct-to-Consumer Shipping (Restricted).",
        what_to_do="Add the role in the developer profile and to the application, then let the seller authorise the "
        "application again. `orders-pipeline doctor` checks it; the orders go on by themselves within two hours, or "
        "at once by `recover_order`.",
    )
