"""Tables: the audit log and the anchors of what was purged from it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

audit_entries = Table(
    "entries",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, comment="without gaps; set by the trigger"),
    time_column("at", nullable=False),
    Column("actor", Text, nullable=False, comment="run:<id>, job:<name> or user:<name>"),
    Column("action", Text, nullable=False),
    Column("seller_id", Text, nullable=False),
    Column("order_id", Text),
    Column("purpose", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("entry_hash", LargeBinary, nullable=False),
    Index("ix_entries_order", "seller_id", "order_id"),
    Index("ix_entries_at", "at"),
    # What is asked for by its action: a few among millions.
    Index(
        "ix_entries_rare_actions",
        "action",
        "at",
        postgresql_where=text("action in ('role_change', 'mend_times', 'export_audit', 'destroy_key')"),
    ),
    schema="audit",
)

# Where the chain was cut when its head was purged: the next entry continues from this hash.
audit_anchors = Table(
    "anchors",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, comment="the newest entry that was purged"),
    Column("entry_hash", LargeBinary, nullable=False),
    time_column("newest_at", nullable=False),
    time_now_column("purged_at"),
    Column("purged_by", Text, nullable=False),
    schema="audit",
)
