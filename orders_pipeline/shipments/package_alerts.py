"""Alerts about packages that end by themselves: what is over is closed, so that a new one of its kind is told again.

Derived from the rows each time: nothing has to remember to close them.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from orders_pipeline.alerts.rows import close_alerts_about, close_alerts_unseen_for, raise_alert
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrderStatus

NOT_REPLACED_ALERT = "package.not_replaced:"
# The warehouse's own trouble: over when none came for so long.
UNSEEN_ALERTS = ("package.unknown_kind", "warehouse.unreadable_event")
UNSEEN_FOR = timedelta(days=3)
# A parcel that was to be brought back is back by then, or lost.
BLOCKED_FOR = timedelta(days=30)
# Long enough for somebody to have read it on the board.
READ_FOR = timedelta(days=3)
OVER = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED, OrderStatus.CANCELLED, OrderStatus.UNFULFILLABLE)

# The key is `package.<kind>:<order>:<package>`; an order's id has no colon.
_CLOSE_WHAT_IS_OVER = text("""
update pipeline.alerts a set closed_at = clock_timestamp()
where a.seller_id = :seller_id and a.closed_at is null
  and split_part(a.key, ':', 1) in (
    'package.unknown', 'package.blocked', 'package.by_hand', 'package.void_unclear', 'package.earlier_label')
  and exists (
    select from pipeline.orders o
    left join pipeline.shipment_confirmations c on c.seller_id = o.seller_id and c.order_id = o.order_id
      and a.key = split_part(a.key, ':', 1) || ':' || c.order_id || ':' || c.package_id
    where o.seller_id = a.seller_id and o.order_id = split_part(a.key, ':', 2)
      and case split_part(a.key, ':', 1)
        when 'package.unknown' then o.status = any(:over)
        when 'package.blocked' then c.state <> 'blocked' or a.opened_at < clock_timestamp() - :blocked_for
        when 'package.by_hand' then c.state <> 'by_hand'
          or o.status = any(:over) and a.last_seen_at < clock_timestamp() - :read_for
        else o.status = any(:over) and a.last_seen_at < clock_timestamp() - :read_for
      end)
""")

# Voided before Amazon was told, and what is left of the order's packages does not hold what it held.
_NOT_REPLACED = text("""
select c.order_id, c.package_id from pipeline.shipment_confirmations c
join pipeline.orders o on o.seller_id = c.seller_id and o.order_id = c.order_id
where c.seller_id = :seller_id and c.state = 'voided' and c.sends = 0 and c.package_reference_id is not null
  and c.changed_at < clock_timestamp() - interval '1 hour' and o.status <> all(:over)
  and exists (
    select from pipeline.order_items i
    where i.seller_id = c.seller_id and i.order_id = c.order_id and not i.cancelled
      and exists (select from jsonb_array_elements(c.lines) l where l->>'line_ref' = i.order_item_id)
      and i.quantity_ordered > (
        select coalesce(sum((l->>'quantity')::integer), 0)
        from pipeline.shipment_confirmations d cross join jsonb_array_elements(d.lines) l
        where d.seller_id = c.seller_id and d.order_id = c.order_id and d.state not in ('voided', 'replaced')
          and l->>'line_ref' = i.order_item_id))
order by c.order_id, c.package_id
""")


def review_package_alerts(database: Database, *, seller_id: str) -> None:
    """Close what is over, and tell of voided packages that nothing replaces."""
    with database.transaction() as connection:
        connection.execute(
            _CLOSE_WHAT_IS_OVER,
            {"seller_id": seller_id, "over": list(OVER), "blocked_for": BLOCKED_FOR, "read_for": READ_FOR},
        )
        close_alerts_unseen_for(connection, seller_id=seller_id, keys=UNSEEN_ALERTS, time=UNSEEN_FOR)
        _tell_of_not_replaced(connection, seller_id)


def _tell_of_not_replaced(connection: Connection, seller_id: str) -> None:
    missing = connection.execute(_NOT_REPLACED, {"seller_id": seller_id, "over": list(OVER)}).all()
    keys = [f"{NOT_REPLACED_ALERT}{one.order_id}:{one.package_id}" for one in missing]
    close_alerts_about(connection, seller_id=seller_id, prefix=NOT_REPLACED_ALERT, but=keys)
    for one in missing:
        raise_alert(
            connection,
            seller_id=seller_id,
            key=f"{NOT_REPLACED_ALERT}{one.order_id}:{one.package_id}",
            severity="error",
            message=f"The warehouse voided a package of order {one.order_id} before Amazon was told of it, more than "
            "an hour ago, and has reported none in its place.",
            what_to_do="Ask the warehouse what leaves instead, and when: the ship-by time goes on.",
        )
