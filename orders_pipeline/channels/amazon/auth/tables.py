"""Tables: sealed access tokens."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table, Text

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

amazon_tokens = Table(
    "amazon_tokens",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("purpose", Text, primary_key=True, comment="access, grantless:<scope> or restricted:<what it opens>"),
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    time_now_column("obtained_at"),
    time_column("expires_at", nullable=False),
    schema="vault",
)
