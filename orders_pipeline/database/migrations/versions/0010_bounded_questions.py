"""Since when answers leave a question about an order open, and when Amazon verified it; how often a search window
failed by itself, how often in an outage, and how far it has been read.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table pipeline.orders add column questioned_since timestamptz, add column verified_at timestamptz",
    # What is open now is asked for eleven minutes more; an approval of before is looked at again before a push.
    "update pipeline.orders set questioned_since = clock_timestamp() where rechecks > 0",
    """create index ix_orders_open_elsewhere on pipeline.orders (seller_id, marketplace_id)
         where other_marketplace and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and fulfilled_by <> 'AMAZON'""",
    """create index ix_fulfillment_queue_no_marketplace on pipeline.fulfillment_queue (seller_id, order_id)
         where 'marketplace_not_configured' = any(hold_reasons) or 'unknown_marketplace' = any(hold_reasons)""",
    "create index ix_parked_messages_parked on pipeline.parked_messages (seller_id, parked_at)",
    """alter table pipeline.search_windows
         add column outages integer not null default 0,
         add column page_number integer not null default 0,
         add column failed_page integer""",
    "update pipeline.search_windows set page_number = pages where page_token is not null",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "alter table pipeline.search_windows drop column outages, drop column page_number, drop column failed_page",
        "drop index pipeline.ix_parked_messages_parked",
        "drop index pipeline.ix_fulfillment_queue_no_marketplace",
        "drop index pipeline.ix_orders_open_elsewhere",
        "alter table pipeline.orders drop column questioned_since, drop column verified_at",
    ):
        op.get_bind().exec_driver_sql(statement)
