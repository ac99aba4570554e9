"""Tables: alerts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, text

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("key", Text, nullable=False, comment="what it is about; one open alert a key"),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("what_to_do", Text, nullable=False),
    count_column("times_seen"),
    time_now_column("opened_at"),
    time_now_column("last_seen_at"),
    # When it was written to the log; each channel has its own account of what it was told (operations/alerting).
    time_column("delivered_at"),
    # Of the release before: nothing reads it.
    time_column("delivery_due_at"),
    time_column("closed_at"),
    Column("link", Text, comment="a path of the web port"),
    Column("stands_for", Integer, nullable=False, server_default=text("1"), comment="how many it counts"),
    Index("uq_alerts_open", "account_id", "key", unique=True, postgresql_where=text("closed_at is null")),
    Index("ix_alerts_closed_at", "account_id", "closed_at"),
    Index("ix_alerts_undelivered", "alert_id", postgresql_where=text("delivered_at is null")),
    schema="pipeline",
)
