"""Who works on which order, and the indexes of the order board: a page of a column is read in its order.

The indexes over shipped, delivered and cancelled orders, SKUs and tracking numbers are built within seconds; the others
hold what is open.
"""

from importlib.resources import files

from alembic import op

revision = "0034"
down_revision = "0033"
phase = "before"
branch_labels = None
depends_on = None

_SHIP_BY = "coalesce(ship_by, 'infinity'::timestamptz)"
_NEWEST = "coalesce(last_updated_at, first_seen_at)"
INDEXES = {
    "ix_orders_board_pending": f"""on pipeline.orders (account_id, {_SHIP_BY}, order_id)
         where status in ('PENDING', 'PENDING_AVAILABILITY')""",
    "ix_orders_board_unshipped": f"""on pipeline.orders (account_id, {_SHIP_BY}, order_id)
         where status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')""",
    "ix_orders_board_shipped": f"""on pipeline.orders (account_id, {_NEWEST}, order_id)
         where status in ('SHIPPED', 'INVOICE_UNCONFIRMED') and delivered_at is null""",
    "ix_orders_board_delivered": """on pipeline.orders (account_id, delivered_at, order_id)
         where status in ('SHIPPED', 'INVOICE_UNCONFIRMED') and delivered_at is not null""",
    "ix_orders_board_canceled": f"""on pipeline.orders (account_id, {_NEWEST}, order_id)
         where status in ('CANCELLED', 'UNFULFILLABLE')""",
    "ix_orders_board_other": f"""on pipeline.orders (account_id, {_SHIP_BY}, order_id)
         where status not in ('PENDING', 'PENDING_AVAILABILITY', 'UNSHIPPED', 'PARTIALLY_SHIPPED', 'SHIPPED',
           'INVOICE_UNCONFIRMED', 'CANCELLED', 'UNFULFILLABLE')""",
    # The last block of an order id, which people read out and type.
    "ix_orders_id_end": "on pipeline.orders (account_id, right(order_id, 7))",
    "ix_order_items_sku": "on pipeline.order_items (account_id, lower(sku))",
    "ix_order_items_asin": "on pipeline.order_items (account_id, asin)",
    "ix_shipment_confirmations_tracking": """on pipeline.shipment_confirmations (account_id, upper(tracking_number))
         where tracking_number is not null""",
}


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """create table pipeline.order_claims (
             account_id text not null,
             order_id text not null,
             claimed_by text not null,
             claimed_at timestamptz default clock_timestamp() not null,
             constraint pk_order_claims primary key (account_id, order_id),
             constraint fk_order_claims_account_id_order_id foreign key (account_id, order_id)
               references pipeline.orders (account_id, order_id) on delete cascade)"""
    )
    op.get_bind().exec_driver_sql(
        "comment on column pipeline.order_claims.claimed_by is "
        "'as the audit log names people: person:NAME or user:NAME'"
    )
    for name, definition in INDEXES.items():
        op.get_bind().exec_driver_sql(f"create index {name} {definition}")
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.get_bind().exec_driver_sql(f"drop index pipeline.{name}")
    op.get_bind().exec_driver_sql("drop table pipeline.order_claims")
