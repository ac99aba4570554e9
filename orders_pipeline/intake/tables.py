"""Tables: what came from the queue and could not be read, and how far searches have read."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

# Shipments of orders that Amazon ships itself, as FBA_OUTBOUND_SHIPMENT_STATUS told of them. The order's own state is
# in `orders`, where it is known.
fba_shipments = Table(
    "fba_shipments",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("shipment_id", Text, primary_key=True, comment="AmazonShipmentId"),
    Column("status", Text, nullable=False, comment="as Amazon spells it: Created, Cancelled, or a word of later days"),
    time_column("told_at", nullable=False),
    time_now_column("received_at"),
    Index("ix_fba_shipments_received_at", "account_id", "received_at"),
    schema="pipeline",
)

# How deep SQS said that the queue is, when it was asked last.
notification_queues = Table(
    "notification_queues",
    metadata,
    Column("account_id", Text, primary_key=True),
    count_column("visible"),
    count_column("in_flight"),
    count_column("delayed"),
    time_now_column("measured_at"),
    schema="pipeline",
)

search_windows = Table(
    "search_windows",
    metadata,
    Column("window_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("purpose", Text, nullable=False, comment="sweep, backfill, or listing: the pages of a crowd"),
    time_column("updated_after", nullable=False),
    time_column("updated_before", nullable=False),
    # A page token is valid only with the first page's exact parameters, for 24 hours (facts §2): both are kept.
    Column("parameters", JSONB, nullable=False),
    Column("page_token", Text),
    time_column("page_token_at"),
    count_column("pages"),
    count_column("orders_seen"),
    count_column("events_new"),
    time_now_column("started_at"),
    time_column("finished_at"),
    # The pages read since it was begun (anew), and the furthest one that failed: only what is read from there on shows
    # that the window can be read after all. How often it failed by itself, how often in an outage of Amazon's.
    count_column("page_number"),
    Column("failed_page", Integer),
    count_column("failures"),
    count_column("outages"),
    Column("last_error", Text),
    time_column("given_up_at"),
    Column("request", Text, comment="of a backfill: the run, or the first of its retries; null once its days are read"),
    Index("ix_search_windows_request", "account_id", "request", postgresql_where=text("request is not null")),
    Index(
        "ix_search_windows_open",
        "account_id",
        "purpose",
        postgresql_where=text("finished_at is null and given_up_at is null"),
    ),
    Index("ix_search_windows_until", "account_id", "purpose", "updated_before"),
    Index(
        "ix_search_windows_given_up",
        "account_id",
        "purpose",
        "updated_before",
        postgresql_where=text("given_up_at is not null and finished_at is null"),
    ),
    UniqueConstraint("account_id", "purpose", "updated_after", "updated_before", name="uq_search_windows_window"),
    schema="pipeline",
)
