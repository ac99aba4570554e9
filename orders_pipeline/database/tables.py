"""Tables: database."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

# What the clock of Amazon's newest answer said, and the database's clock at that moment.
clock_readings = Table(
    "clock_readings",
    metadata,
    Column("source", Text, primary_key=True, comment="amazon"),
    time_column("amazon_time", nullable=False),
    time_now_column("read_at"),
    # Since when, by the database's clock, every reading has been more than a day ahead of it.
    time_column("ahead_since"),
    schema="pipeline",
)

locks = Table("locks", metadata, Column("name", Text, primary_key=True), schema="pipeline")
