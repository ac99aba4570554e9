"""Tables: packages as the warehouse reported them, and what Amazon was told."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

wms_cursors = Table(
    "wms_cursors",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("cursor", Text),
    time_now_column("polled_at"),
    time_column("failing_since"),
    Column("failure", Text, comment="why the warehouse cannot be read since then"),
    time_column("unreadable_at"),
    count_column("unreadable_events"),
    time_column("cursor_unreadable_since"),
    time_column("webhook_at"),
    count_column("webhooks_refused"),
    time_column("webhook_refused_at"),
    Column("webhook_refusal", Text, comment="why those that came last were refused"),
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
    Column("result", Text),
    Column("error", Text, comment="where a defect of this program was met, without its text"),
    Index("ix_wms_shipments_pending", "account_id", "sequence", postgresql_where=text("processed_at is null")),
    Index("ix_wms_shipments_order", "account_id", "order_id"),
    Index(
        "ix_wms_shipments_again",
        "account_id",
        "result",
        postgresql_where=text("result in ('unknown_order', 'defect')"),
    ),
    Index(
        "ix_wms_shipments_alerts",
        "account_id",
        "result",
        postgresql_where=text("""
            result in ('unknown_kind', 'unknown_package', 'voided_label_unknown', 'earlier_label', 'short',
            'cancelled')
        """),
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
    Column(
        "known_to_amazon",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="a call under its reference id was begun: Amazon may show it",
    ),
    Column("carrier_mapped", Boolean, comment="false: its carrier has no code at Amazon"),
    count_column("confirmations"),
    count_column("verifications"),
    Column("edited", Text, comment="what is other than Amazon may show under the reference id: label, facts"),
    time_column("sent_at"),
    time_column("confirmed_at"),
    Column("reason", Text, comment="why it was refused or needs correction"),
    Index(
        "uq_shipment_confirmations_reference",
        "account_id",
        "order_id",
        "package_reference_id",
        unique=True,
        postgresql_where=text("state not in ('voided', 'awaits_replacement', 'replaced')"),
    ),
    Index(
        "ix_shipment_confirmations_open",
        "account_id",
        "state",
        "changed_at",
        postgresql_where=text("state not in ('confirmed', 'replaced')"),
    ),
    Index(
        "ix_shipment_confirmations_unmapped",
        "account_id",
        "confirmed_at",
        postgresql_where=text("carrier_mapped is false"),
    ),
    Index(
        "ix_shipment_confirmations_tracking",
        "account_id",
        text("upper(tracking_number)"),
        postgresql_where=text("tracking_number is not null"),
    ),
    schema="pipeline",
)

# The user's carriers.csv as it could last be read: it stays in use while the file cannot be.
carrier_files = Table(
    "carrier_files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("content", Text),
    time_now_column("read_at"),
    Column("problem", Text, comment="why the file cannot be read now, and what is in use meanwhile"),
    schema="pipeline",
)
