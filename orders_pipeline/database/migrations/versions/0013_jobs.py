"""One table for all pending work, and the dependencies that it waits for (work/queue.py, work/pauses.py).

The SQL of roles.sql is not frozen: it is the same for every release, and safe to run again.
"""

from importlib.resources import files

from alembic import op

revision = "0013"
down_revision = "0012"
phase = "before"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.jobs (
         account_id text not null, queue text not null, subject text not null,
         version bigint not null default 1, priority integer not null default 0, ship_by timestamptz,
         due_at timestamptz not null default clock_timestamp(),
         enqueued_at timestamptz not null default clock_timestamp(),
         lease_id uuid, leased_version bigint, leased_until timestamptz,
         attempts integer not null default 0, lost_leases integer not null default 0,
         refused_at timestamptz, last_error text, parked_at timestamptz,
         constraint pk_jobs primary key (account_id, queue, subject))""",
    """comment on column pipeline.jobs.subject is '<order id>, or <order id>:<package id>'""",
    """comment on column pipeline.jobs.version is 'how often it was enqueued: newer than leased_version, it stays'""",
    """comment on column pipeline.jobs.lost_leases is 'leases that ran out without an answer since the last answer'""",
    """create index ix_jobs_ready on pipeline.jobs (account_id, queue, coalesce(leased_until, due_at))
         where parked_at is null""",
    """create index ix_jobs_order on pipeline.jobs (account_id, queue, priority desc, ship_by, due_at)
         where parked_at is null""",
    "create index ix_jobs_lost_leases on pipeline.jobs (account_id, queue) where lost_leases > 0",
    "create index ix_jobs_parked on pipeline.jobs (account_id, parked_at) where parked_at is not null",
    """create table pipeline.paused_dependencies (
         account_id text not null, dependency text not null, kind text not null,
         since timestamptz not null default clock_timestamp(), until timestamptz,
         reason text not null, refused_subject text, step integer not null default 0,
         probe_queue text, probe_subject text, probe_lease_id uuid,
         constraint pk_paused_dependencies primary key (account_id, dependency, kind))""",
    """comment on column pipeline.paused_dependencies.kind is 'limit: its end is known; refusal: a success ends it'""",
    """comment on column pipeline.paused_dependencies.until is 'null: one subject was refused; nothing waits yet'""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    for table in ("pipeline.paused_dependencies", "pipeline.jobs"):
        op.get_bind().exec_driver_sql(f"drop table {table}")
