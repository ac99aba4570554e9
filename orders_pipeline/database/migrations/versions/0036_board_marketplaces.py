"""The order board's columns of what is over, by marketplace: a page of few orders among many is read in its order."""

from alembic import op

revision = "0036"
down_revision = "0035"
phase = "before"
branch_labels = None
depends_on = None

_NEWEST = "coalesce(last_updated_at, first_seen_at)"
_LEFT = "status in ('SHIPPED', 'INVOICE_UNCONFIRMED')"
INDEXES = {
    "ix_orders_board_shipped_marketplace": f"(account_id, marketplace_id, {_NEWEST}, order_id) "
    f"where {_LEFT} and delivered_at is null",
    "ix_orders_board_delivered_marketplace": "(account_id, marketplace_id, delivered_at, order_id) "
    f"where {_LEFT} and delivered_at is not null",
    "ix_orders_board_canceled_marketplace": f"(account_id, marketplace_id, {_NEWEST}, order_id) "
    "where status in ('CANCELLED', 'UNFULFILLABLE')",
}


def upgrade() -> None:
    for name, definition in INDEXES.items():
        op.get_bind().exec_driver_sql(f"create index {name} on pipeline.orders {definition}")


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.get_bind().exec_driver_sql(f"drop index pipeline.{name}")
