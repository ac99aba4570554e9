"""What is still open about an order: a cancellation that only a message told, an answer that was older than its event,
a marketplace that is not configured, an address that is hidden, a verification; and a search window that is given up.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    """alter table pipeline.orders
         add column told_at timestamptz,
         add column cancellation_told_at timestamptz,
         add column rechecks integer not null default 0,
         add column other_marketplace boolean not null default false,
         add column address_at timestamptz,
         add column address_hidden boolean not null default false,
         add column verification text,
         add column dosage_label boolean not null default false""",
    "comment on column pipeline.orders.verification is 'of regulated items: Amazon''s word'",
    """create index ix_orders_other_marketplace on pipeline.orders (seller_id, marketplace_id)
         where other_marketplace""",
    """alter table pipeline.search_windows
         add column failures integer not null default 0,
         add column last_error text,
         add column given_up_at timestamptz""",
    "drop index pipeline.ix_search_windows_open",
    """create index ix_search_windows_open on pipeline.search_windows (seller_id, purpose)
         where finished_at is null and given_up_at is null""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "drop index pipeline.ix_search_windows_open",
        """create index ix_search_windows_open on pipeline.search_windows (seller_id, purpose)
             where finished_at is null""",
        "alter table pipeline.search_windows drop column failures, drop column last_error, drop column given_up_at",
        """alter table pipeline.orders
             drop column told_at, drop column cancellation_told_at, drop column rechecks,
             drop column other_marketplace, drop column address_at, drop column address_hidden,
             drop column verification, drop column dosage_label""",
    ):
        op.get_bind().exec_driver_sql(statement)
