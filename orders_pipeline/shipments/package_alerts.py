"""Alerts about packages that end by themselves: what is over is closed, so that a new one of its kind is told again.

Derived from the rows each time: nothing has to remember to close them.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.rows import close_alerts_unseen_for
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderStatus

# The warehouse's own trouble: over when none came for so long.
UNSEEN_ALERTS = ("package.unknown_kind", "warehouse.unreadable_event")
UNSEEN_FOR = timedelta(days=3)
# A package that was to be brought back is back by then, or lost.
BLOCKED_FOR = timedelta(days=30)
# Long enough for somebody to have read it on the board.
READ_FOR = timedelta(days=3)
OVER = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED, OrderStatus.CANCELLED, OrderStatus.UNFULFILLABLE)

# The key is `package.<kind>:<order>:<package>`; an order's id has no colon.
_CLOSE_WHAT_IS_OVER = text("""
update pipeline.alerts a set closed_at = clock_timestamp()
where a.account_id = :account_id and a.closed_at is null
  and split_part(a.key, ':', 1) in (
    'package.unknown', 'package.blocked', 'package.by_hand', 'package.void_unclear', 'package.earlier_label')
  and exists (
    select from pipeline.orders o
    left join pipeline.shipment_confirmations c on c.account_id = o.account_id and c.order_id = o.order_id
      and a.key = split_part(a.key, ':', 1) || ':' || c.order_id || ':' || c.package_id
    where o.account_id = a.account_id and o.order_id = split_part(a.key, ':', 2)
      and case split_part(a.key, ':', 1)
        when 'package.unknown' then o.status = any(:over)
        when 'package.blocked' then c.state <> 'blocked' or a.opened_at < clock_timestamp() - :blocked_for
        when 'package.by_hand' then c.state <> 'by_hand'
          or o.status = any(:over) and a.last_seen_at < clock_timestamp() - :read_for
        else o.status = any(:over) and a.last_seen_at < clock_timestamp() - :read_for
      end)
""")


def review_package_alerts(database: Database, *, account_id: str) -> None:
    """Close what is over."""
    with database.transaction(account_id) as tx:
        tx.execute(
            _CLOSE_WHAT_IS_OVER,
            {"account_id": account_id, "over": list(OVER), "blocked_for": BLOCKED_FOR, "read_for": READ_FOR},
        )
        close_alerts_unseen_for(tx, keys=UNSEEN_ALERTS, time=UNSEEN_FOR)
