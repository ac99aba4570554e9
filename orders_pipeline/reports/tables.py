"""Table: the reports that were wanted of Amazon, and what became of each."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

report_requests = Table(
    "report_requests",
    metadata,
    Column("request_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("report_type", Text, nullable=False),
    Column("marketplace_ids", ARRAY(Text), nullable=False, comment="sorted"),
    time_column("data_start", nullable=False),
    time_column("data_end", nullable=False),
    Column("state", Text, nullable=False, comment="wanted, or where Amazon has it"),
    # Amazon's ids. The report's is stored before it is asked about: whoever comes after a kill goes on with it.
    Column("report_id", Text),
    Column("document_id", Text),
    count_column("attempts"),
    # How much of the document is recorded: a reader that was killed goes on behind it.
    count_column("rows_read"),
    count_column("rows_unreadable"),
    count_column("events_new"),
    time_now_column("requested_at"),
    time_now_column("changed_at"),
    # When its data had been recorded, from its document or in another way.
    time_column("finished_at"),
    Column("problem", Text, comment="why it failed"),
    UniqueConstraint(
        "account_id", "report_type", "data_start", "data_end", "marketplace_ids", name="uq_report_requests_wanted"
    ),
    Index("ix_report_requests_unfinished", "account_id", postgresql_where=text("finished_at is null")),
    Index("ix_report_requests_requested_at", "account_id", "requested_at"),
    schema="pipeline",
)
