"""What Amazon was told of an order's packages, as far as events and answers are compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import PackageState
from orders_pipeline.work.jobs import Queue


@dataclass(frozen=True, slots=True)
class ToldShipment:
    """What Amazon was told of one order's packages. `awaited`: of one of them it is going to be asked what it shows.

    `whole`: they hold all pieces of the order.
    """

    awaited: bool
    whole: bool


_TOLD = text("""
    with told as (
        select c.order_id, c.state, c.package_id, line->>'line_ref' as item,
            cast(line->>'quantity' as integer) as quantity
        from pipeline.shipment_confirmations c, jsonb_array_elements(c.lines) as line
        where c.account_id = :account_id and c.order_id = any(:order_ids) and c.known_to_amazon
          and c.state = any(:told)),
    by_item as (select order_id, item, sum(quantity) as quantity from told group by order_id, item)
    select t.order_id, bool_or(t.state = any(:awaited) and exists (
            select from pipeline.jobs j where j.account_id = :account_id and j.parked_at is null
              and (j.queue, j.subject) in (
                (:verify, t.order_id), (:confirm, t.order_id || ':' || t.package_id)))) as awaited,
        not exists (
            select from pipeline.order_items i
            left join by_item b on b.order_id = i.order_id and b.item = i.order_item_id
            where i.account_id = :account_id and i.order_id = t.order_id and i.order_id = any(:order_ids)
              and not i.cancelled
              and i.quantity_ordered > coalesce(b.quantity, 0)) as whole
    from told t group by t.order_id
""")


def told_shipments(tx: AccountTransaction, order_ids: Sequence[str]) -> dict[str, ToldShipment]:
    """By order id, of those of which Amazon was told a package, which it may show or shows."""
    awaited = [PackageState.SENDING, PackageState.ACCEPTED]
    values = {
        "account_id": tx.account_id,
        "order_ids": list(order_ids),
        "told": [str(state) for state in (*awaited, PackageState.CONFIRMED)],
        "verify": Queue.VERIFY,
        "confirm": Queue.CONFIRM,
        "awaited": [str(state) for state in awaited],
    }
    return {row.order_id: ToldShipment(row.awaited, row.whole) for row in tx.execute(_TOLD, values)}
