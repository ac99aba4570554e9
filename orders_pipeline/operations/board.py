"""Queries of the order board: where all orders are, and what is late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, AnyRow


@dataclass(frozen=True, slots=True)
class Board:
    """Orders that are still to ship, by deadline, and packages that Amazon has not shown yet."""

    to_ship: int
    overdue: int
    due_soon: int
    unconfirmed_packages: int


def board(tx: AccountTransaction) -> Board:
    """Counts at the database's now; "soon" is within four hours."""
    row = tx.execute(
        text(
            "select count(*) as to_ship, "
            "count(*) filter (where ship_by < clock_timestamp()) as overdue, "
            "count(*) filter (where ship_by between clock_timestamp() and clock_timestamp() + interval '4 hours') "
            " as due_soon, "
            "(select count(*) from pipeline.shipment_confirmations where account_id = :account_id and state in "
            " ('pending', 'sending', 'sent', 'held', 'refused', 'dropped', 'blocked')) as unconfirmed_packages "
            "from pipeline.orders where account_id = :account_id and fulfilled_by = 'MERCHANT' "
            "and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')"
        ),
        {"account_id": tx.account_id},
    ).one()
    return Board(int(row.to_ship), int(row.overdue), int(row.due_soon), int(row.unconfirmed_packages))


def board_rows(tx: AccountTransaction, fulfilled_by: str = "MERCHANT") -> Sequence[AnyRow]:
    """(status, state, orders, next_ship_by, oldest_seconds), most first."""
    return list(
        tx.execute(
            text(
                "select o.status, coalesce(q.state, '-') as state, count(*) as orders, min(o.ship_by) as next_ship_by, "
                "extract(epoch from clock_timestamp() - min(o.first_seen_at)) as oldest_seconds "
                "from pipeline.orders o left join pipeline.fulfillment_queue q using (account_id, order_id) "
                "where o.account_id = :account_id and o.fulfilled_by = :fulfilled_by "
                "group by o.status, coalesce(q.state, '-') order by orders desc"
            ),
            {"account_id": tx.account_id, "fulfilled_by": fulfilled_by},
        )
    )
