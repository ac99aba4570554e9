"""Shipments of orders that Amazon ships itself have a table."""

from importlib.resources import files

from alembic import op

revision = "0032"
down_revision = "0031"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.fba_shipments (
         account_id text not null,
         order_id text not null,
         shipment_id text not null,
         status text not null,
         told_at timestamptz not null,
         received_at timestamptz default clock_timestamp() not null,
         constraint pk_fba_shipments primary key (account_id, order_id, shipment_id))""",
    "comment on column pipeline.fba_shipments.shipment_id is 'AmazonShipmentId'",
    """comment on column pipeline.fba_shipments.status
         is 'as Amazon spells it: Created, Cancelled, or a word of later days'""",
    "create index ix_fba_shipments_received_at on pipeline.fba_shipments (account_id, received_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop table pipeline.fba_shipments")
