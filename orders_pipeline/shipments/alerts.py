"""The alerts about packages, as queries over their state."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.model.order import OrderStatus

_OVER = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED, OrderStatus.CANCELLED, OrderStatus.UNFULFILLABLE)

# The package was voided before its confirmation, and no other package of the order contains its items. Within an hour
# the warehouse may be packing it anew.
_NOT_REPLACED = text("""
select c.order_id || ':' || c.package_id as subject, c.order_id from pipeline.shipment_confirmations c
join pipeline.orders o on o.account_id = c.account_id and o.order_id = c.order_id
where c.account_id = :account_id and c.state = 'voided' and c.sends = 0 and c.package_reference_id is not null
  and c.changed_at < clock_timestamp() - interval '1 hour' and o.status <> all(:over)
  and exists (
    select from pipeline.order_items i
    where i.account_id = c.account_id and i.order_id = c.order_id and not i.cancelled
      and exists (select from jsonb_array_elements(c.lines) l where l->>'line_ref' = i.order_item_id)
      and i.quantity_ordered > (
        select coalesce(sum((l->>'quantity')::integer), 0)
        from pipeline.shipment_confirmations d cross join jsonb_array_elements(d.lines) l
        where d.account_id = c.account_id and d.order_id = c.order_id and d.state not in ('voided', 'replaced')
          and l->>'line_ref' = i.order_item_id))
order by c.order_id, c.package_id
""").bindparams(over=[str(status) for status in _OVER])

NOT_REPLACED = AlertKind(
    name="package.not_replaced",
    severity="error",
    query=_NOT_REPLACED,
    message="The warehouse voided a package of order {order_id} before Amazon was told of it, more than an hour ago, "
    "and has reported none in its place.",
    action="Ask the warehouse what leaves instead, and when: the ship-by time goes on.",
    runbook="What the warehouse writes",
)

ALERTS = (NOT_REPLACED,)
