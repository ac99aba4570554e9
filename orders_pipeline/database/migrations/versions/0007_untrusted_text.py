"""The last good carriers.csv; and keyed hashes of a record's values, to mask them in what a warehouse writes.

Alerts about carriers had the carrier's name in their key; it is a hash now, so those are closed, and raised anew where
they still hold.
"""

from importlib.resources import files

from alembic import op

revision = "0007"
down_revision = "0006"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.carrier_files (
         path text not null, content text not null, read_at timestamptz not null default clock_timestamp(),
         constraint pk_carrier_files primary key (path))""",
    "alter table vault.records add column value_hashes text[] not null default '{}'",
    """comment on column vault.records.value_hashes
         is 'keyed hashes of words of the content, to recognise them elsewhere'""",
    """update pipeline.alerts set closed_at = clock_timestamp()
         where closed_at is null and (key ~ '^carrier[.]unknown:' or key ~ '^message[.]parked:.*:')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for statement in (
        "alter table vault.records drop column value_hashes",
        "drop table pipeline.carrier_files",
    ):
        op.get_bind().exec_driver_sql(statement)
