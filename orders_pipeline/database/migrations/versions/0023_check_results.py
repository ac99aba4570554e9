"""What the nightly retention finds for the checks that cannot look without writing is stored for them to read."""

from importlib.resources import files

from alembic import op

revision = "0023"
down_revision = "0022"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """create table pipeline.check_results (
             name text not null, result jsonb not null, found_at timestamptz default clock_timestamp() not null,
             constraint pk_check_results primary key (name))"""
    )
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop table pipeline.check_results")
