"""Each right that is known has the audit entry that told of it; and no function of ours is everybody's to execute.

The rows of before name no entry: the next look tells of all of them again.
"""

from importlib.resources import files

from alembic import op

revision = "0009"
down_revision = "0008"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("alter table pipeline.database_grants add column entry_id bigint")
    op.get_bind().exec_driver_sql(
        "comment on column pipeline.database_grants.entry_id is 'the audit entry that told of it'"
    )
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("alter table pipeline.database_grants drop column entry_id")
