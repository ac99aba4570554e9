"""Tables: alerts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, text

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
    time_column("delivered_at"),
    # Until then it is leased by who delivers it; or then it was refused.
    time_column("delivery_due_at"),
    time_column("closed_at"),
    Index("uq_alerts_open", "account_id", "key", unique=True, postgresql_where=text("closed_at is null")),
    Index("ix_alerts_closed_at", "account_id", "closed_at"),
    Index("ix_alerts_undelivered", "alert_id", postgresql_where=text("delivered_at is null")),
    schema="pipeline",
)
