"""Orders as rows, for what the board shows: each in a state of its own, made by PostgreSQL where there are many."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER

CANADA = "A2EUQ1WTGCTBG2"
_ORDER = text("""
insert into pipeline.orders (account_id, order_id, marketplace_id, status, fulfilled_by, purchased_at, last_updated_at,
  ship_by, delivered_at, has_address, first_seen_at, fetched_at, programs)
values (:account_id, :order_id, :marketplace_id, :status, :fulfilled_by, clock_timestamp() - interval '1 day',
  clock_timestamp() - interval '1 hour', clock_timestamp() + :ship_in,
  case when :delivered then clock_timestamp() - interval '1 hour' end, true, clock_timestamp(), clock_timestamp(),
  '{PRIME}')
""")
_ITEM = text("""
insert into pipeline.order_items (account_id, order_id, order_item_id, position, sku, asin, title, quantity_ordered,
  quantity_fulfilled)
values (:account_id, :order_id, :order_id || '-' || :position, :position, :sku, 'B0EXAMPLE1', :title, :quantity, 0)
""")
_FULFILLMENT = text("""
insert into pipeline.fulfillment_orders (account_id, order_id, state, hold_reasons)
values (:account_id, :order_id, :state, cast(:reasons as text[]))
""")
_PACKAGE = text("""
insert into pipeline.shipment_confirmations (account_id, order_id, package_id, package_reference_id, state, carrier,
  tracking_number, shipped_at, lines)
values (:account_id, :order_id, 'package-1', 1, :state, 'UPS', :tracking, clock_timestamp(),
  jsonb_build_array(jsonb_build_object('line_ref', :order_id || '-1', 'quantity', 1)))
""")
# Nearest ship-by first: the order of their numbers.
_MANY = text("""
with made as (
  select n, '700-' || lpad((n / 1000)::text, 7, '0') || '-' || lpad(n::text, 7, '0') as order_id
  from generate_series(1, :orders) n),
ordered as (
  insert into pipeline.orders (account_id, order_id, marketplace_id, status, fulfilled_by, purchased_at,
    last_updated_at, ship_by, has_address, first_seen_at, fetched_at)
  select :account_id, order_id, :marketplace_id, 'UNSHIPPED', case when n % 4 = 0 then 'AMAZON' else 'MERCHANT' end,
    clock_timestamp() - interval '2 hours', clock_timestamp(),
    clock_timestamp() + interval '1 day' + n * interval '1 minute', true, clock_timestamp(), clock_timestamp()
  from made),
bought as (
  insert into pipeline.order_items (account_id, order_id, order_item_id, position, sku, asin, title,
    quantity_ordered, quantity_fulfilled)
  select :account_id, order_id, order_id || '-1', 1, 'SKU-' || n % 500, 'B0EXAMPLE2', 'A thing in grey', 1, 0 from made)
insert into pipeline.fulfillment_orders (account_id, order_id, state)
select :account_id, order_id, 'accepted' from made where n % 4 <> 0
""")


class Shop:
    """What is stored, one order after the other."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def order(
        self,
        order_id: str,
        status: str = "UNSHIPPED",
        *,
        fulfilled_by: str = "MERCHANT",
        ship_in: timedelta = timedelta(hours=30),
        delivered: bool = False,
        state: str | None = None,
        reasons: tuple[str, ...] = (),
        sku: str = "SKU-1",
        title: str = "A thing",
        quantity: int = 1,
        tracking: str | None = None,
        package_state: str = "confirmed",
        marketplace_id: str = MARKETPLACE,
        account_id: str = SELLER,
    ) -> str:
        given: dict[str, Any] = {"account_id": account_id, "order_id": order_id}
        with self.database.begin() as connection:
            connection.execute(
                _ORDER,
                {
                    **given, "marketplace_id": marketplace_id, "status": status, "fulfilled_by": fulfilled_by,
                    "ship_in": ship_in, "delivered": delivered,
                },
            )  # fmt: skip
            connection.execute(_ITEM, {**given, "position": 1, "sku": sku, "title": title, "quantity": quantity})
            if state is not None:
                connection.execute(_FULFILLMENT, {**given, "state": state, "reasons": list(reasons)})
            if tracking is not None:
                connection.execute(_PACKAGE, {**given, "state": package_state, "tracking": tracking})
        return order_id

    def item(self, order_id: str, *, position: int, sku: str, quantity: int, account_id: str = SELLER) -> None:
        """One more item of an order."""
        given = {"account_id": account_id, "order_id": order_id, "position": position, "title": "A thing"}
        with self.database.begin() as connection:
            connection.execute(_ITEM, {**given, "sku": sku, "quantity": quantity})

    def many(self, orders: int) -> None:
        """So many open orders, `700-…`, a quarter of them Amazon's to ship."""
        with self.database.begin() as connection:
            values = {"account_id": SELLER, "marketplace_id": MARKETPLACE, "orders": orders}
            connection.execute(_MANY, values)
        self.sql("analyze pipeline.orders, pipeline.order_items, pipeline.fulfillment_orders")

    def sql(self, statement: str, **values: object) -> list[Any]:
        with self.database.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []


def one_of_each(shop: Shop) -> None:
    """An order in every column, and in most of the ways that need a person."""
    hour = timedelta(hours=1)
    shop.order("111-0000001-0000001", ship_in=-2 * hour, state="accepted", sku="LATE-1", quantity=3)
    shop.order("111-0000002-0000002", ship_in=3 * hour, state="queued", sku="SOON-1")
    shop.order("111-0000003-0000003", state="held", reasons=("buyer_asks_to_cancel",), sku="HELD-1")
    shop.order("111-0000004-0000004", state="refused", sku="REFUSED-1")
    shop.order("111-0000005-0000005", state="shipped", sku="LEFT-1", tracking="1ZLEFT", package_state="accepted")
    shop.order("222-0000001-0000001", fulfilled_by="AMAZON", sku="AFN-1")
    shop.order("222-0000002-0000002", "SHIPPED", fulfilled_by="AMAZON", sku="AFN-2")
    shop.order("111-0000006-0000006", "PENDING", sku="PENDING-1")
    shop.order("111-0000007-0000007", "SHIPPED", state="closed", sku="SHIPPED-1", tracking="1Z999AA10123456784")
    shop.order("111-0000008-0000008", "SHIPPED", state="closed", delivered=True, sku="DELIVERED-1")
    shop.order("111-0000009-0000009", "CANCELLED", state="cancelled", sku="CANCELED-1")
    shop.order("111-0000010-0000010", "QUARANTINED", state="held", reasons=("unknown_status",), sku="ODD-1")
    shop.order("111-0000011-0000011", sku="<b onclick=alert(1)>SKU</b>", title="<script>alert(1)</script>" * 9)
    shop.order("111-0000012-0000012", sku="CA-1", marketplace_id=CANADA, state="accepted")
