"""Tables: amazon's rate limits, shared by all processes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Table, Text, text

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

amazon_rate_limits = Table(
    "amazon_rate_limits",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("seller_id", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("rate", Float, nullable=False, comment="tokens a second"),
    Column("burst", Float, nullable=False),
    Column("tokens", Float, nullable=False),
    time_now_column("refilled_at"),
    time_column("blocked_until"),
    Column("granted", BigInteger, nullable=False, server_default=text("0")),
    Column("throttled", BigInteger, nullable=False, server_default=text("0")),
    Column("waited_seconds", Float, nullable=False, server_default=text("0")),
    count_column("consecutive_failures"),
    time_column("breaker_open_until"),
    # Raised when outstanding reservations are void: the bucket was emptied by a 429, or its rate has changed.
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    schema="pipeline",
)
