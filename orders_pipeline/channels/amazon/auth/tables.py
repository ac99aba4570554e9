"""Tables: sealed tokens and client secrets, authorizations, and the consents that were asked for."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table, Text

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

amazon_tokens = Table(
    "amazon_tokens",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    # And refresh@<region>, client_secret:<fingerprint>: what Amazon does not give again by itself (auth/sealed.py).
    Column("purpose", Text, primary_key=True, comment="access, grantless:<scope> or restricted:<what it opens>"),
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    time_now_column("obtained_at"),
    time_column("expires_at", nullable=False),
    schema="vault",
)

# One row a refresh token that was used, by its fingerprint: also one of the settings, of which no date is known.
amazon_authorizations = Table(
    "amazon_authorizations",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True, comment="of the application and the refresh token"),
    Column("source", Text, nullable=False, comment="consent, typed or settings"),
    time_column("authorized_at"),
    Column("authorized_by", Text, comment="as the audit log names people"),
    time_column("due_at"),
    Column("due_because", Text, comment="age or roles"),
    time_now_column("used_at"),
    time_column("worked_at"),
    time_column("refused_since"),
    time_column("refused_at"),
    count_column("refusals"),
    time_column("kept_until"),
    time_column("ended_at"),
    time_column("erased_at"),
    schema="pipeline",
)

# Consents that were asked for and have not come back: each once, and for ten minutes.
amazon_consents = Table(
    "amazon_consents",
    metadata,
    Column("state_hash", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("asked_by", Text, nullable=False, comment="as the audit log names people"),
    Column("session_id", Text, comment="of the login; null where nobody logs in"),
    Column("browser_hash", Text, comment="null for one that was asked for at a terminal"),
    Column("redirect_uri", Text, nullable=False),
    time_now_column("asked_at"),
    time_column("expires_at", nullable=False),
    time_column("used_at"),
    schema="pipeline",
)
