"""What happens now is applied before the events of a past month, and found beside a hundred thousand of them.

Who records events waits while it is built: one to five seconds for 5,000,000 of them (1.4 GB, measured on two cores
that others used too). A drain that waited for ten would give its messages back to SQS, and lose none. So it is not
built `concurrently`, which no transaction can: a migration that fails leaves nothing behind.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """create index ix_order_events_pending_now on pipeline.order_events (account_id, event_id)
             where processed_at is null and source <> 'backfill'"""
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop index pipeline.ix_order_events_pending_now")
