"""What the alerts about buyers' data, keys and rights follow from is stored: each is a query over state from now on.

Those that belong to no account are closed under the account that they stood under; what lasts opens again.
"""

from importlib.resources import files

from alembic import op

revision = "0021"
down_revision = "0020"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.refused_records (
         account_id text not null, kind text not null, subject_id text not null, reason text not null,
         refused_at timestamptz default clock_timestamp() not null,
         constraint pk_refused_records primary key (account_id, kind, subject_id))""",
    "alter table vault_keys.pending_shreds add column last_error text",
    "alter table pipeline.client_secrets add column last_seen_at timestamptz default clock_timestamp() not null",
    "alter table pipeline.orders add column erased_by text",
    """comment on column pipeline.orders.erased_by is
         'by which rule its details were destroyed while it may still have been to ship'""",
    """update pipeline.orders o set erased_by = 'erasure_requested' from pipeline.alerts a
         where a.account_id = o.account_id and a.key = 'order.erased:' || o.order_id and a.closed_at is null""",
    """update pipeline.alerts set closed_at = clock_timestamp() where closed_at is null and (
         key in ('clock.wrong', 'shreds.unsettled', 'erase.unauthorized')
         or starts_with(key, 'roles.changed:') or starts_with(key, 'vault.refused:')
         or starts_with(key, 'client_secret.ends:'))""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for statement in (
        "alter table pipeline.orders drop column erased_by",
        "alter table pipeline.client_secrets drop column last_seen_at",
        "alter table vault_keys.pending_shreds drop column last_error",
        "drop table pipeline.refused_records",
    ):
        op.get_bind().exec_driver_sql(statement)
