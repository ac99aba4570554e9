"""The order board's columns of what is over, by marketplace: a page of few orders among many is read in its order.

And the comment on a search's purpose names the third.
"""

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

_PURPOSES = "comment on column pipeline.search_windows.purpose is '{}'"


def upgrade() -> None:
    for name, definition in INDEXES.items():
        op.get_bind().exec_driver_sql(f"create index {name} on pipeline.orders {definition}")
    op.get_bind().exec_driver_sql(_PURPOSES.format("sweep, backfill, or listing: the pages of a crowd"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(_PURPOSES.format("sweep or backfill"))
    for name in reversed(INDEXES):
        op.get_bind().exec_driver_sql(f"drop index pipeline.{name}")
