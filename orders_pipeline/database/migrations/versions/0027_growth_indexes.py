"""Small indexes over the few rows that sensors and alerts look for among all that there ever were.

All but the one over `address_at` are partial: of a million orders they hold some thousand rows. That one, and the one
over what the warehouse still holds, are built within seconds.
"""

from alembic import op

revision = "0027"
down_revision = "0026"
phase = "before"
branch_labels = None
depends_on = None

_KEPT = "(erased_at is null or greatest(sent_at, accepted_at) > erased_at)"
INDEXES = {
    "ix_orders_flagged": """on pipeline.orders (account_id, order_id)
         where answer_older_at is not null or reduced_at is not null or erased_by is not null""",
    "ix_orders_address_at": "on pipeline.orders (account_id, address_at)",
    "ix_order_events_received_at": """on pipeline.order_events using brin (received_at) with (pages_per_range = 16)""",
    "ix_wms_orders_kept": f"on pipeline.wms_orders (account_id, order_id) where {_KEPT}",
    "ix_wms_orders_owed": f"""on pipeline.wms_orders (account_id, erase_requested_at)
         where erase_requested_at is not null and {_KEPT}""",
    "ix_wms_orders_conflict": "on pipeline.wms_orders (account_id) where answer = 'conflict'",
    "ix_search_windows_until": "on pipeline.search_windows (account_id, purpose, updated_before)",
    "ix_search_windows_given_up": """on pipeline.search_windows (account_id, purpose, updated_before)
         where given_up_at is not null and finished_at is null""",
}


def upgrade() -> None:
    for name, definition in INDEXES.items():
        op.get_bind().exec_driver_sql(f"create index {name} {definition}")
    op.get_bind().exec_driver_sql(
        """create index ix_entries_rare_actions on audit.entries (action, at)
             where action in ('role_change', 'mend_times', 'export_audit', 'destroy_key')"""
    )
    # By it the planner knows how few of many jobs are due: of an index's expression it knows nothing.
    op.get_bind().exec_driver_sql(
        "create statistics pipeline.jobs_ready_at on (coalesce(leased_until, due_at)) from pipeline.jobs"
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop statistics pipeline.jobs_ready_at")
    op.get_bind().exec_driver_sql("drop index audit.ix_entries_rare_actions")
    for name in reversed(INDEXES):
        op.get_bind().exec_driver_sql(f"drop index pipeline.{name}")
