"""Tables: the channels that alerts go through, what each was told, and the rules as they were last read."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("channel", Text, primary_key=True, comment="slack, email, or heartbeat"),
    # Until then one process sends through it.
    time_column("leased_until"),
    time_column("next_try_at"),
    count_column("attempts"),
    time_column("failing_since"),
    Column("failure", Text),
    time_column("delivered_at"),
    schema="pipeline",
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("group_key", Text, primary_key=True, comment="one cause; told_at is null while it waits to be told"),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("alerts", Integer, nullable=False),
    time_column("opened_at", nullable=False),
    # Since when none of its alerts is open.
    time_column("absent_since"),
    time_column("told_at"),
    Column("told_severity", Text),
    Column("told_words", Text),
    Column("told_alerts", Integer),
    count_column("messages"),
    schema="pipeline",
)

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("path", Text, primary_key=True),
    Column("content", Text, comment="what the file said when it was last valid"),
    Column("problem", Text),
    time_now_column("read_at"),
    schema="pipeline",
)
