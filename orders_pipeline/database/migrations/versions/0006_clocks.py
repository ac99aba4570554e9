"""Amazon's time beside ours, when details were first kept, and when what starts by itself was last done."""

from importlib.resources import files

from alembic import op

revision = "0006"
down_revision = "0005"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.clock_readings (
         source text not null, told_at timestamptz not null, read_at timestamptz not null default clock_timestamp(),
         ahead_since timestamptz, constraint pk_clock_readings primary key (source))""",
    "comment on column pipeline.clock_readings.source is 'amazon'",
    """create table pipeline.work_done (
         seller_id text not null, work text not null, watched_since timestamptz not null default clock_timestamp(),
         done_at timestamptz, constraint pk_work_done primary key (seller_id, work))""",
    "comment on column pipeline.work_done.work is 'retention, checks, audit_export, …'",
    # Of what is there the newest storing is the first that is known.
    "alter table vault.records add column first_stored_at timestamptz",
    "update vault.records set first_stored_at = least(stored_at, clock_timestamp())",
    "alter table vault.records alter column first_stored_at set not null",
    "alter table vault.records alter column first_stored_at set default clock_timestamp()",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for statement in (
        "alter table vault.records drop column first_stored_at",
        "drop table pipeline.work_done",
        "drop table pipeline.clock_readings",
    ):
        op.get_bind().exec_driver_sql(statement)
