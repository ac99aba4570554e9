"""Who may do what in the database, as it was when last looked at: so that a change of it reaches the audit log."""

from importlib.resources import files

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        "create table pipeline.database_grants ("
        "who text not null, what text not null, seen_at timestamptz not null default clock_timestamp(), "
        "constraint pk_database_grants primary key (who, what))"
    )
    op.get_bind().exec_driver_sql("comment on column pipeline.database_grants.who is 'a role, or public'")
    op.get_bind().exec_driver_sql((files("orders_pipeline.store.migrations") / "sql" / "roles.sql").read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop table if exists pipeline.database_grants")
