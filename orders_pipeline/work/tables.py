"""Tables: work."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

# Work that starts by itself: since when it is looked for, and when it was last done.
work_done = Table(
    "work_done",
    metadata,
    Column("seller_id", Text, primary_key=True),
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
