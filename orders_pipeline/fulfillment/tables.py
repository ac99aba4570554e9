"""Tables: what the warehouse should do next, and what it said."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

fulfillment_orders = Table(
    "fulfillment_orders",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("hold_reasons", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    time_column("ship_by"),
    time_now_column("entered_at"),
    time_now_column("changed_at"),
    Index("ix_fulfillment_orders_state", "account_id", "state"),
    Index(
        "ix_fulfillment_orders_no_marketplace",
        "account_id",
        "order_id",
        postgresql_where=text(
            "'marketplace_not_configured' = any(hold_reasons) or 'unknown_marketplace' = any(hold_reasons)"
        ),
    ),
    schema="pipeline",
)

_KEPT = "(erased_at is null or greatest(sent_at, accepted_at) > erased_at)"

wms_orders = Table(
    "wms_orders",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("wms_id", Text),
    # HMAC of the fulfillment order as sent: tells "the same again" from "changed" without keeping what was sent.
    Column("content_hash", Text),
    Column("answer", Text, nullable=False, comment="unknown, accepted, refused, held, cancelled, partial, pending, …"),
    Column("answer_code", Text),
    time_now_column("first_attempt_at"),
    # When the newest sending with an address began: what was erased before it is there again.
    time_column("sent_at"),
    time_column("accepted_at"),
    time_now_column("changed_at"),
    # The warehouse is to erase the buyer's data, and owes it until erased_at; a job of the queue ERASE asks for it.
    time_column("erase_requested_at"),
    time_column("erased_at"),
    # The condition is orders.erasures.NOT_ERASED word for word: only so the planner sees that the index has these rows.
    Index("ix_wms_orders_kept", "account_id", "order_id", postgresql_where=text(_KEPT)),
    Index("ix_wms_orders_conflict", "account_id", postgresql_where=text("answer = 'conflict'")),
    Index(
        "ix_wms_orders_owed",
        "account_id",
        "erase_requested_at",
        postgresql_where=text(f"erase_requested_at is not null and {_KEPT}"),
    ),
    schema="pipeline",
)
