"""Locks that a login which may only read cannot take, and the process of each run (store/locks, store/run_workers).

The SQL that roles.sql repeats is not frozen: it is the same for every release, and safe to run again.
"""

from importlib.resources import files

from alembic import op

revision = "0004"
down_revision = "0003"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Who appends now holds the old lock; who appends later takes the new one.
    "lock table audit.entries in share row exclusive mode",
    "create table pipeline.erasures_lock ()",
    "create table vault_keys.keys_lock ()",
    "create table vault_keys.fingerprint_lock ()",
    "create table audit.chain_lock ()",
    "create table pipeline.locks (name text not null, constraint pk_locks primary key (name))",
    """create table pipeline.run_workers (
         run_id text not null, machine text not null, process text not null,
         noted_at timestamptz not null default clock_timestamp(),
         constraint pk_run_workers primary key (run_id, machine, process))""",
    "create index ix_run_workers_noted_at on pipeline.run_workers (noted_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    for name in ("audit_lock.sql", "roles.sql"):
        op.get_bind().exec_driver_sql((files("orders_pipeline.database.migrations") / "sql" / name).read_text("utf-8"))


def downgrade() -> None:
    # The functions of 0001, whose lock is a number.
    source = (files("orders_pipeline.database.migrations") / "sql" / "audit_lock.sql").read_text("utf-8")
    op.get_bind().exec_driver_sql(
        source.replace("lock table audit.chain_lock in exclusive mode", "perform pg_advisory_xact_lock(7206512449)")
    )
    for table in ("pipeline.erasures_lock", "vault_keys.keys_lock", "vault_keys.fingerprint_lock", "audit.chain_lock",
                  "pipeline.locks", "pipeline.run_workers"):  # fmt: skip
        op.get_bind().exec_driver_sql(f"drop table {table}")
