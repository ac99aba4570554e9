"""No query uses the index over what was never erased: all ask with the condition of `ix_wms_orders_kept`.

And the comments on an event's source and a search's purpose name every one. 0030 did part of this at first. This
release cannot run beside the one before it, so that this waits for no second half of the upgrade.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
phase = "stopped"
branch_labels = None
depends_on = None

_SOURCES = "comment on column pipeline.order_events.source is '{}'"
_PURPOSES = "comment on column pipeline.search_windows.purpose is '{}'"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("drop index if exists pipeline.ix_wms_orders_not_erased")
    op.get_bind().exec_driver_sql(_SOURCES.format("notification, sweep, listing, backfill or recovery"))
    op.get_bind().exec_driver_sql(_PURPOSES.format("sweep, backfill, or listing: the pages of a crowd"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(_PURPOSES.format("sweep or backfill"))
    op.get_bind().exec_driver_sql(_SOURCES.format("notification, sweep, backfill or recovery"))
    op.get_bind().exec_driver_sql(
        "create index ix_wms_orders_not_erased on pipeline.wms_orders (account_id, order_id) where erased_at is null"
    )
