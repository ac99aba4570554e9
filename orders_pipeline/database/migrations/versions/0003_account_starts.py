"""When the pipeline began to work for an account, and which orders from before it a person adopted.

Whatever a database of before knows was ours: its accounts began with the oldest purchase that they know.
"""

from importlib.resources import files

from alembic import op

revision = "0003"
down_revision = "0002"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.account_starts (
         seller_id text not null, first_started_at timestamptz not null default clock_timestamp(),
         start_at timestamptz, constraint pk_account_starts primary key (seller_id))""",
    "comment on column pipeline.account_starts.start_at is 'ORDERS_START_AT as it was set when last seen'",
    "alter table pipeline.orders add column adopted_at timestamptz",
    """insert into pipeline.account_starts (seller_id, first_started_at)
         select seller_id, least(min(first_seen_at), min(purchased_at)) from pipeline.orders group by seller_id""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for statement in (
        "alter table pipeline.orders drop column adopted_at",
        "drop table pipeline.account_starts",
    ):
        op.get_bind().exec_driver_sql(statement)
