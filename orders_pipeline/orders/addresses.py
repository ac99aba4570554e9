"""Queries of orders that wait for their address."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, AnyRow


def orders_without_address(tx: AccountTransaction, programs: Sequence[str]) -> Sequence[AnyRow]:
    """(order_id, ship_by, address_hidden, waiting_since) of what is held because it has no address.

    Without the orders of these programs, which no warehouse of ours ships, and those that are too old to ship.
    """
    return list(
        tx.execute(
            text(
                "select o.order_id, o.ship_by, o.address_hidden, "
                "greatest(o.first_seen_at, o.last_updated_at) as waiting_since "
                "from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id) "
                "where o.account_id = :account_id and o.fulfilled_by = 'MERCHANT' "
                "and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and not o.has_address "
                "and not o.programs && :programs and q.state = 'held' and 'no_address' = any(q.hold_reasons) "
                "and coalesce(o.deliver_by > clock_timestamp() - interval '28 days', true) "
                "order by o.order_id"
            ),
            {"account_id": tx.account_id, "programs": list(programs)},
        )
    )


def newest_address_at(tx: AccountTransaction) -> datetime | None:
    """When Amazon last gave an address of any order."""
    return tx.execute(
        text("select max(address_at) from pipeline.orders where account_id = :account_id"),
        {"account_id": tx.account_id},
    ).scalar_one()
