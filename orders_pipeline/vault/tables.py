"""Tables: sealed records, and the wrapped keys that open them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from orders_pipeline.database.metadata import metadata, time_column, time_now_column

# The newest seal of each record, apart from the vault: no other one opens.
seals = Table(
    "seals",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
    Column("seal_number", BigInteger, Identity(always=True), nullable=False, comment="no two seals have the same"),
    Column("aad_version", Integer, nullable=False),
    Index("ix_seals_older_format", "account_id", "kind", "subject_id", postgresql_where=text("aad_version < 2")),
    schema="pipeline",
)

vault_records = Table(
    "records",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="shipping_details, parked_message"),
    Column("subject_id", Text, primary_key=True, comment="the order id, or the parked message's id"),
    Column("key_reference", Uuid, nullable=False),
    Column("aad_version", Integer, nullable=False),
    Column("seal_number", BigInteger, nullable=False, server_default=text("0")),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    time_now_column("stored_at"),
    time_column("expires_at"),
    time_now_column("first_stored_at"),
    Column(
        "value_hashes",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="keyed hashes of words of the content, to recognise them elsewhere",
    ),
    UniqueConstraint("key_reference"),
    # How old what is kept is, without reading what is sealed.
    Index("ix_records_first_stored_at", "account_id", "first_stored_at"),
    Index("ix_records_expires_at", "expires_at", postgresql_where=text("expires_at is not null")),
    schema="vault",
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("key_reference", Uuid, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("key_id", Text, nullable=False, comment="the key-encryption key that wraps this one"),
    Column("wrapped_key", LargeBinary, nullable=False),
    time_now_column("created_at"),
    Index("ix_data_keys_key_id", "key_id", "key_reference"),
    schema="vault_keys",
)

# Shreds whose wrapped keys an old backup still holds, until the key-encryption key that opens them is destroyed.
pending_shreds = Table(
    "pending_shreds",
    metadata,
    Column("shred_id", BigInteger, Identity(always=True), primary_key=True),
    Column("records", Integer, nullable=False),
    Column(
        "key_ids",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="the key-encryption keys that opened them",
    ),
    time_now_column("shredded_at"),
    Column("last_error", Text),
    schema="vault_keys",
)

# Records that did not authenticate, or were not the newest, when they were last opened.
refused_records = Table(
    "refused_records",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    time_now_column("refused_at"),
    schema="pipeline",
)
