"""Tables: when secrets were first seen, and who may do what in the database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

# When each Login with Amazon client secret was first seen, and when Amazon said that it ends. Never the secret.
client_secrets = Table(
    "client_secrets",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True, comment="keyed hash (vault.fingerprint)"),
    time_now_column("first_seen_at"),
    time_column("expires_at"),
    time_now_column("last_seen_at"),
    schema="pipeline",
)

# Database privileges as of the last check; differences go into the audit log.
database_privileges = Table(
    "database_privileges",
    metadata,
    Column("who", Text, primary_key=True, comment="a role, or public"),
    Column("what", Text, primary_key=True),
    time_now_column("seen_at"),
    Column("entry_id", BigInteger, comment="the audit entry that told of it"),
    schema="pipeline",
)

# What was found for the checks that cannot look without writing (privacy.checks.stored_results).
check_results = Table(
    "check_results",
    metadata,
    Column("name", Text, primary_key=True),
    Column("result", JSONB, nullable=False),
    time_now_column("found_at"),
    schema="pipeline",
)
