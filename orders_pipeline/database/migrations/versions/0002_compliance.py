"""What compliance has to know besides: who had which right, when an order was last sent, what key a shred waits for.

The SQL that roles.sql repeats is not frozen: it is the same for every release, and safe to run again.
"""

from importlib.resources import files

from alembic import op

revision = "0002"
down_revision = "0001"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.database_grants (
         who text not null, what text not null, seen_at timestamptz not null default clock_timestamp(),
         constraint pk_database_grants primary key (who, what))""",
    "comment on column pipeline.database_grants.who is 'a role, or public'",
    "alter table pipeline.wms_orders add column sent_at timestamptz",
    "alter table vault_keys.unsettled_shreds add column key_ids text[] not null default '{}'",
    "comment on column vault_keys.unsettled_shreds.key_ids is 'the key-encryption keys that opened them'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for statement in (
        "alter table vault_keys.unsettled_shreds drop column key_ids",
        "alter table pipeline.wms_orders drop column sent_at",
        "drop table pipeline.database_grants",
    ):
        op.get_bind().exec_driver_sql(statement)
