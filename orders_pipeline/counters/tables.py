"""Tables: what is counted once and for good."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from orders_pipeline.database.metadata import metadata

# A row is an increment: it is appended, and never changed, so that two that count at once never wait for each other.
# A counter's value is the sum of its rows. Many rows are made one of the same sum in one statement.
counter_increments = Table(
    "counter_increments",
    metadata,
    Column("increment_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("counter", Text, nullable=False),
    Column("labels", ARRAY(Text), nullable=False, comment="of a latency, the upper bound of its bucket"),
    Column("count", BigInteger, nullable=False),
    # Whole numbers: a sum of fractions depends on the order of its parts, and a counter must never go back by any.
    Column("microseconds", BigInteger, nullable=False, server_default=text("0")),
    Index("ix_counter_increments_account", "account_id"),
    schema="pipeline",
)
