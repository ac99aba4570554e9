"""A window of a backfill knows for which backfill it is read: a run that follows a killed one reads no page again."""

from alembic import op

revision = "0026"
down_revision = "0025"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("alter table pipeline.search_windows add column request text")
    op.get_bind().exec_driver_sql(
        "comment on column pipeline.search_windows.request is 'of a backfill: the run, or the first of its retries; "
        "null once its days are read'"
    )
    op.get_bind().exec_driver_sql(
        "create index ix_search_windows_request on pipeline.search_windows (account_id, request) "
        "where request is not null"
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql("alter table pipeline.search_windows drop column request")
