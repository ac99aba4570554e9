"""Tables: packages as the warehouse reported them, and what Amazon was told."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

wms_cursors = Table(
    "wms_cursors",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("cursor", Text),
    time_now_column("polled_at"),
    schema="pipeline",
)

wms_shipments = Table(
    "wms_shipments",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("package_id", Text),
    Column("carrier", Text),
    Column("service", Text),
    Column("tracking_number", Text),
    time_column("shipped_at"),
    Column("lines", JSONB, nullable=False),
    time_now_column("received_at"),
    time_column("processed_at"),
    Column("outcome", Text),
    Index("ix_wms_shipments_pending", "account_id", "sequence", postgresql_where=text("processed_at is null")),
    Index("ix_wms_shipments_order", "account_id", "order_id"),
    Index(
        "ix_wms_shipments_again",
        "account_id",
        "outcome",
        postgresql_where=text("outcome in ('unknown_order', 'defect')"),
    ),
    schema="pipeline",
)

shipment_confirmations = Table(
    "shipment_confirmations",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("package_id", Text, primary_key=True, comment="the warehouse's name for the package"),
    Column("package_reference_id", Integer, comment="ours at Amazon: 1, 2, … an order; stored before the first call"),
    Column("state", Text, nullable=False),
    Column("carrier", Text),
    Column("service", Text),
    Column("carrier_code", Text, comment="Amazon's exact spelling, as last sent"),
    Column("carrier_name", Text),
    Column("shipping_method", Text),
    Column("tracking_number", Text),
    time_column("shipped_at"),
    Column("lines", JSONB, nullable=False),
    time_column("ship_by"),
    time_now_column("reported_at"),
    time_now_column("changed_at"),
    time_column("action_due_at"),
    count_column("attempts"),
    count_column("sends"),
    count_column("reads"),
    Column("edited", Text, comment="what is other than Amazon may show under the reference id: label, facts"),
    time_column("sent_at"),
    time_column("confirmed_at"),
    Column("last_error", Text),
    time_column("parked_at"),
    Index(
        "uq_shipment_confirmations_reference",
        "account_id",
        "order_id",
        "package_reference_id",
        unique=True,
        postgresql_where=text("state not in ('voided', 'replaced')"),
    ),
    Index(
        "ix_shipment_confirmations_voided",
        "account_id",
        "order_id",
        postgresql_where=text("state = 'voided' and sends = 0"),
    ),
    Index(
        "ix_shipment_confirmations_due",
        "account_id",
        "action_due_at",
        postgresql_where=text("action_due_at is not null"),
    ),
    schema="pipeline",
)

# The user's carriers.csv as it could last be read: it stays in use while the file cannot be.
carrier_files = Table(
    "carrier_files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("content", Text, nullable=False),
    time_now_column("read_at"),
    schema="pipeline",
)
