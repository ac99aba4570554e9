"""What metrics are made of and nothing had: counters that never go back, and how deep SQS said that the queue is.

And an index over the age of the sealed records, so that their number by age costs no reading of what is sealed.
"""

from importlib.resources import files

from alembic import op

revision = "0031"
down_revision = "0030"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.counter_increments (
         increment_id bigint generated always as identity,
         account_id text not null,
         counter text not null,
         labels text[] not null,
         count bigint not null,
         microseconds bigint default 0 not null,
         constraint pk_counter_increments primary key (increment_id))""",
    "comment on column pipeline.counter_increments.labels is 'of a latency, the upper bound of its bucket'",
    "create index ix_counter_increments_account on pipeline.counter_increments (account_id)",
    """create table pipeline.notification_queues (
         account_id text not null,
         visible integer default 0 not null,
         in_flight integer default 0 not null,
         delayed integer default 0 not null,
         measured_at timestamptz default clock_timestamp() not null,
         constraint pk_notification_queues primary key (account_id))""",
    "create index ix_records_first_stored_at on vault.records (account_id, first_stored_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop index vault.ix_records_first_stored_at")
    op.get_bind().exec_driver_sql("drop table pipeline.notification_queues")
    op.get_bind().exec_driver_sql("drop table pipeline.counter_increments")
