"""Tables: work."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, Table, Text, Uuid, text

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

# Work that starts by itself: since when it is looked for, and when it was last done.
work_done = Table(
    "work_done",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("work", Text, primary_key=True, comment="retention, checks, audit_export, …"),
    time_now_column("watched_since"),
    time_column("done_at"),
    schema="pipeline",
)

run_workers = Table(
    "run_workers",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("machine", Text, primary_key=True),
    Column("process", Text, primary_key=True),
    time_now_column("noted_at"),
    Index("ix_run_workers_noted_at", "noted_at"),
    schema="pipeline",
)

_IS_LIVE = text("parked_at is null")

# A row is there exactly while its work is pending: due, leased, waiting or parked.
jobs = Table(
    "jobs",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("queue", Text, primary_key=True),
    Column("subject", Text, primary_key=True, comment="<order id>, or <order id>:<package id>"),
    Column(
        "version",
        BigInteger,
        nullable=False,
        server_default=text("1"),
        comment="how often it was enqueued: newer than leased_version, it stays",
    ),
    count_column("priority"),
    time_column("ship_by"),
    time_now_column("due_at"),
    time_now_column("enqueued_at"),
    Column("lease_id", Uuid),
    Column("leased_version", BigInteger),
    time_column("leased_until"),
    count_column("attempts"),
    Column(
        "lost_leases",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="leases that ran out without an answer since the last answer",
    ),
    time_column("refused_at"),
    Column("last_error", Text),
    time_column("parked_at"),
    # Beside it the statistics `jobs_ready_at` of the same expression (migration 0027), for who claims.
    Index("ix_jobs_ready", "account_id", "queue", text("coalesce(leased_until, due_at)"), postgresql_where=_IS_LIVE),
    Index(
        "ix_jobs_order",
        "account_id",
        "queue",
        text("priority desc"),
        "ship_by",
        "due_at",
        postgresql_where=_IS_LIVE,
    ),
    Index("ix_jobs_lost_leases", "account_id", "queue", postgresql_where=text("lost_leases > 0")),
    Index("ix_jobs_parked", "account_id", "parked_at", postgresql_where=text("parked_at is not null")),
    schema="pipeline",
)

paused_dependencies = Table(
    "paused_dependencies",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("dependency", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="limit: its end is known; refusal: a success ends it"),
    time_now_column("since"),
    Column("until", DateTime(timezone=True), comment="null: one subject was refused; nothing waits yet"),
    Column("reason", Text, nullable=False),
    Column("refused_subject", Text),
    count_column("step"),
    Column("probe_queue", Text),
    Column("probe_subject", Text),
    Column("probe_lease_id", Uuid),
    schema="pipeline",
)
