"""The tables: what is kept, and where.

Belongs here: every table, as SQLAlchemy Core. A table carries the stem of the asset that shows it. Elsewhere: how the
schema changes between versions (migrations), and what is asked of the tables (one module of queries a stage).

Four PostgreSQL schemas, because each has readers of its own: `pipeline` (no buyer's data), `vault` (ciphertext),
`vault_keys` (the wrapped keys, apart from what they open), `audit` (append-only). Every row is keyed by seller.
Times are `timestamptz`, set by the database's clock.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMAS = ("pipeline", "vault", "vault_keys", "audit")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NOW = text("clock_timestamp()")


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _time_now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=_NOW)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


# --- intake: what Amazon told us, once each

order_events = Table(
    "order_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("marketplace_id", Text),
    Column("source", Text, nullable=False, comment="notification, sweep, backfill or recovery"),
    # "notification:<NotificationId>" or "updated:<lastUpdatedTime>": the two ways in which one event can come twice.
    Column("deduplication_key", Text, nullable=False),
    Column("change_type", Text),
    Column("level", Text, comment="OrderLevel or OrderItemLevel"),
    Column("status_told", Text, comment="as Amazon spelled it; may be a value that we do not know"),
    Column("fulfilled_by_told", Text, comment="MERCHANT or AMAZON, normalised"),
    _time("changed_at"),
    _time("published_at", nullable=False),
    Column("partition_day", Date, nullable=False, comment="UTC day of published_at"),
    Column("details", JSONB, nullable=False, comment="the message's summary without what identifies a buyer"),
    _time_now("received_at"),
    _time("processed_at"),
    UniqueConstraint("seller_id", "order_id", "deduplication_key"),
    Index("ix_order_events_pending", "seller_id", "event_id", postgresql_where=text("processed_at is null")),
    Index("ix_order_events_partition_day", "seller_id", "partition_day"),
    schema="pipeline",
)

parked_messages = Table(
    "parked_messages",
    metadata,
    Column("parked_id", Uuid, primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("message_id", Text, nullable=False, comment="SQS MessageId"),
    Column("notification_type", Text),
    Column("reason", Text, nullable=False),
    Column("body_bytes", Integer, nullable=False),
    _time_now("parked_at"),
    _time("replayed_at"),
    UniqueConstraint("seller_id", "message_id"),
    schema="pipeline",
)

search_windows = Table(
    "search_windows",
    metadata,
    Column("window_id", BigInteger, Identity(always=True), primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("purpose", Text, nullable=False, comment="sweep or backfill"),
    _time("updated_after", nullable=False),
    _time("updated_before", nullable=False),
    # A page token is valid only with the first page's exact parameters, for 24 hours (facts §2): both are kept.
    Column("parameters", JSONB, nullable=False),
    Column("page_token", Text),
    _time("page_token_at"),
    _count("pages"),
    _count("orders_seen"),
    _count("events_new"),
    _time_now("started_at"),
    _time("finished_at"),
    # How often in a row its search failed, and when it was given up for that.
    _count("failures"),
    Column("last_error", Text),
    _time("given_up_at"),
    Index(
        "ix_search_windows_open",
        "seller_id",
        "purpose",
        postgresql_where=text("finished_at is null and given_up_at is null"),
    ),
    UniqueConstraint("seller_id", "purpose", "updated_after", "updated_before"),
    schema="pipeline",
)

# When this pipeline first ran for an account: what was purchased before may be an old process's to ship.
account_starts = Table(
    "account_starts",
    metadata,
    Column("seller_id", Text, primary_key=True),
    _time_now("first_started_at"),
    Column("start_at", DateTime(timezone=True), comment="ORDERS_START_AT as it was set when last seen"),
    schema="pipeline",
)

# --- orders: the newest state of each

orders = Table(
    "orders",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("marketplace_id", Text),
    Column("status", Text, nullable=False, comment="canonical: PENDING … CANCELLED, or Amazon's own word"),
    Column("fulfilled_by", Text, nullable=False, comment="MERCHANT, AMAZON or UNKNOWN"),
    Column("service_level", Text),
    Column("programs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    _time("purchased_at"),
    _time("last_updated_at"),
    _time("earliest_ship_at"),
    _time("ship_by"),
    _time("deliver_by"),
    # Not later than the delivery: Amazon says that a parcel has arrived, never when.
    _time("delivered_at"),
    _time("delivery_checked_at"),
    _time("seen_on_its_way_at"),
    Column("cancellation_requested", Boolean, nullable=False, server_default=text("false")),
    Column("has_address", Boolean, nullable=False, server_default=text("false")),
    _time_now("first_seen_at"),
    _time("fetched_at"),
    # What is still to be asked of Amazon: due when fetch_due_at has come and it is not parked.
    _time("fetch_due_at"),
    # Raised by every event that wants a look; an answer settles those that were there when it was asked.
    _count("fetch_requests"),
    _count("fetch_attempts"),
    Column("fetch_error", Text),
    _time("parked_at"),
    Column("park_reason", Text),
    # Set by every change; cleared when the fulfillment queue has been derived from it again.
    Column("queue_stale", Boolean, nullable=False, server_default=text("false")),
    Column("waived_holds", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="a person's decision"),
    # A person's word that an order from before the start is ours to ship (store.account_starts).
    _time("adopted_at"),
    # The newest time of a change that an event told and no answer has shown yet.
    _time("told_at"),
    # A message told that the order is cancelled; Amazon has not been seen to say so.
    _time("cancellation_told_at"),
    # Answers in a row that left a question open (older than the event, no word on who ships).
    _count("rechecks"),
    # Of a marketplace that is not configured: neither fetched nor queued until it is.
    Column("other_marketplace", Boolean, nullable=False, server_default=text("false")),
    # When Amazon last gave an address that can be shipped to; whether its last answer showed no more than the place.
    _time("address_at"),
    Column("address_hidden", Boolean, nullable=False, server_default=text("false")),
    Column("verification", Text, comment="of regulated items: Amazon's word"),
    Column("dosage_label", Boolean, nullable=False, server_default=text("false")),
    Index("ix_orders_queue_stale", "seller_id", "order_id", postgresql_where=text("queue_stale")),
    Index("ix_orders_fetch_due", "seller_id", "fetch_due_at", postgresql_where=text("fetch_due_at is not null")),
    Index("ix_orders_status", "seller_id", "status", "fulfilled_by"),
    Index("ix_orders_other_marketplace", "seller_id", "marketplace_id", postgresql_where=text("other_marketplace")),
    schema="pipeline",
)

order_items = Table(
    "order_items",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("order_item_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("sku", Text),
    Column("asin", Text),
    Column("title", Text),
    Column("quantity_ordered", Integer, nullable=False),
    Column("quantity_fulfilled", Integer, nullable=False),
    Column("unit_price", Numeric),
    Column("currency", Text),
    Column("programs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("cancellation_requested", Boolean, nullable=False, server_default=text("false")),
    Column("cancelled", Boolean, nullable=False, server_default=text("false")),
    ForeignKeyConstraint(
        ["seller_id", "order_id"], ["pipeline.orders.seller_id", "pipeline.orders.order_id"], ondelete="CASCADE"
    ),
    schema="pipeline",
)

# --- fulfillment: what the warehouse should do, and what it said

fulfillment_queue = Table(
    "fulfillment_queue",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("hold_reasons", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    _time("ship_by"),
    _time_now("entered_at"),
    _time_now("changed_at"),
    _time("action_due_at"),
    _count("attempts"),
    Column("last_error", Text),
    _time("parked_at"),
    Index("ix_fulfillment_queue_due", "seller_id", "action_due_at", postgresql_where=text("action_due_at is not null")),
    Index("ix_fulfillment_queue_state", "seller_id", "state"),
    schema="pipeline",
)

wms_orders = Table(
    "wms_orders",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("wms_id", Text),
    # HMAC of the fulfillment order as sent: tells "the same again" from "changed" without keeping what was sent.
    Column("content_hash", Text),
    Column("answer", Text, nullable=False, comment="unknown, accepted, refused, held, cancelled, partial, pending, …"),
    Column("answer_code", Text),
    _time_now("first_attempt_at"),
    # When the newest sending with an address began: what was erased before it is there again.
    _time("sent_at"),
    _time("accepted_at"),
    _time_now("changed_at"),
    # Asking the warehouse to erase the buyer's data: due from then on, again after each failure, until erased_at.
    _time("erase_asked_at"),
    _time("erase_due_at"),
    _count("erase_attempts"),
    Column("erase_error", Text),
    _time("erased_at"),
    Index("ix_wms_orders_kept", "seller_id", "order_id", postgresql_where=text("erased_at is null")),
    Index("ix_wms_orders_erase_due", "seller_id", "erase_due_at", postgresql_where=text("erase_due_at is not null")),
    schema="pipeline",
)

# --- shipments: packages as the warehouse reported them, and what Amazon was told

wms_cursors = Table(
    "wms_cursors",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("cursor", Text),
    _time_now("polled_at"),
    schema="pipeline",
)

wms_shipments = Table(
    "wms_shipments",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("package_id", Text),
    Column("carrier", Text),
    Column("service", Text),
    Column("tracking_number", Text),
    _time("shipped_at"),
    Column("lines", JSONB, nullable=False),
    _time_now("received_at"),
    _time("processed_at"),
    Column("outcome", Text),
    Index("ix_wms_shipments_pending", "seller_id", "sequence", postgresql_where=text("processed_at is null")),
    Index("ix_wms_shipments_order", "seller_id", "order_id"),
    schema="pipeline",
)

shipment_confirmations = Table(
    "shipment_confirmations",
    metadata,
    Column("seller_id", Text, primary_key=True),
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
    _time("shipped_at"),
    Column("lines", JSONB, nullable=False),
    _time("ship_by"),
    _time_now("reported_at"),
    _time_now("changed_at"),
    _time("action_due_at"),
    _count("attempts"),
    _count("sends"),
    _count("reads"),
    _time("sent_at"),
    _time("confirmed_at"),
    Column("last_error", Text),
    _time("parked_at"),
    Index(
        "uq_shipment_confirmations_reference",
        "seller_id",
        "order_id",
        "package_reference_id",
        unique=True,
        postgresql_where=text("state not in ('voided', 'replaced')"),
    ),
    Index(
        "ix_shipment_confirmations_due",
        "seller_id",
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
    _time_now("read_at"),
    schema="pipeline",
)

# --- compliance

# What Amazon or a buyer asked to forget: kept as the proof, and so that it is not fetched again. Without the reason in
# a person's own words: that is in the audit log.
erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", BigInteger, Identity(always=True), primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("order_id", Text, comment="None: every order of the seller that was known then"),
    Column("everything", Boolean, nullable=False, server_default=text("false"), comment="what identifies nobody too"),
    _time_now("asked_at"),
    _time("shredded_at"),
    _time("finished_at"),
    Index("ix_erasures_order", "seller_id", "order_id"),
    schema="pipeline",
)

# When each Login with Amazon client secret was first seen, and when Amazon said that it ends. Never the secret.
client_secrets = Table(
    "client_secrets",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True, comment="keyed hash (vault.fingerprint)"),
    _time_now("first_seen_at"),
    _time("expires_at"),
    schema="pipeline",
)

# What the clock of Amazon's newest answer said, and the database's clock at that moment.
clock_readings = Table(
    "clock_readings",
    metadata,
    Column("source", Text, primary_key=True, comment="amazon"),
    _time("told_at", nullable=False),
    _time_now("read_at"),
    schema="pipeline",
)

# Work that starts by itself: since when it is looked for, and when it was last done.
work_done = Table(
    "work_done",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("work", Text, primary_key=True, comment="retention, checks, audit_export, …"),
    _time_now("watched_since"),
    _time("done_at"),
    schema="pipeline",
)

# Who may do what in the database, as it was when last looked at: what differs now goes into the audit log.
database_grants = Table(
    "database_grants",
    metadata,
    Column("who", Text, primary_key=True, comment="a role, or public"),
    Column("what", Text, primary_key=True),
    _time_now("seen_at"),
    Column("entry_id", BigInteger, comment="the audit entry that told of it"),
    schema="pipeline",
)

# --- operations

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("key", Text, nullable=False, comment="what it is about; one open alert a key"),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("what_to_do", Text, nullable=False),
    _count("times_seen"),
    _time_now("opened_at"),
    _time_now("last_seen_at"),
    _time("delivered_at"),
    _time("closed_at"),
    Index("uq_alerts_open", "seller_id", "key", unique=True, postgresql_where=text("closed_at is null")),
    schema="pipeline",
)

amazon_rate_limits = Table(
    "amazon_rate_limits",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("seller_id", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("rate", Float, nullable=False, comment="tokens a second"),
    Column("burst", Float, nullable=False),
    Column("tokens", Float, nullable=False),
    _time_now("refilled_at"),
    _time("blocked_until"),
    Column("granted", BigInteger, nullable=False, server_default=text("0")),
    Column("throttled", BigInteger, nullable=False, server_default=text("0")),
    Column("waited_seconds", Float, nullable=False, server_default=text("0")),
    _count("consecutive_failures"),
    _time("breaker_open_until"),
    # Raised when outstanding reservations are void: the bucket was emptied by a 429, or its rate has changed.
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    schema="pipeline",
)

# --- the vault

# The newest seal of each record, apart from the vault: no other one opens.
seals = Table(
    "seals",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
    Column("seal_number", BigInteger, Identity(always=True), nullable=False, comment="no two seals have the same"),
    Column("aad_version", Integer, nullable=False),
    Index("ix_seals_older_format", "seller_id", "kind", "subject_id", postgresql_where=text("aad_version < 2")),
    schema="pipeline",
)

vault_records = Table(
    "records",
    metadata,
    Column("seller_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="shipping_details, parked_message"),
    Column("subject_id", Text, primary_key=True, comment="the order id, or the parked message's id"),
    Column("key_reference", Uuid, nullable=False),
    Column("aad_version", Integer, nullable=False),
    Column("seal_number", BigInteger, nullable=False, server_default=text("0")),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    _time_now("stored_at"),
    _time("expires_at"),
    _time_now("first_stored_at"),
    Column(
        "value_hashes",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="keyed hashes of words of the content, to recognise them elsewhere",
    ),
    UniqueConstraint("key_reference"),
    Index("ix_records_expires_at", "expires_at", postgresql_where=text("expires_at is not null")),
    schema="vault",
)

amazon_tokens = Table(
    "amazon_tokens",
    metadata,
    Column("application_id", Text, primary_key=True),
    Column("seller_id", Text, primary_key=True),
    Column("purpose", Text, primary_key=True, comment="access, grantless:<scope> or restricted:<what it opens>"),
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    _time_now("obtained_at"),
    _time("expires_at", nullable=False),
    schema="vault",
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("key_reference", Uuid, primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("key_id", Text, nullable=False, comment="the key-encryption key that wraps this one"),
    Column("wrapped_key", LargeBinary, nullable=False),
    _time_now("created_at"),
    Index("ix_data_keys_key_id", "key_id", "key_reference"),
    schema="vault_keys",
)

# Shreds whose wrapped keys an old backup still holds, until the key-encryption key that opens them is destroyed.
unsettled_shreds = Table(
    "unsettled_shreds",
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
    _time_now("shredded_at"),
    schema="vault_keys",
)

# --- locks: tables without a row, which only who may write them can lock (store.locks)

LOCK_TABLES = [
    Table(name, metadata, schema=schema)
    for schema, name in (
        ("pipeline", "erasures_lock"),
        ("vault_keys", "keys_lock"),
        ("vault_keys", "fingerprint_lock"),
        ("audit", "chain_lock"),
    )
]

locks = Table("locks", metadata, Column("name", Text, primary_key=True), schema="pipeline")

run_workers = Table(
    "run_workers",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("machine", Text, primary_key=True),
    Column("process", Text, primary_key=True),
    _time_now("noted_at"),
    Index("ix_run_workers_noted_at", "noted_at"),
    schema="pipeline",
)

# --- the audit log

audit_entries = Table(
    "entries",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, comment="without gaps; set by the trigger"),
    _time("at", nullable=False),
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
    schema="audit",
)

# Where the chain was cut when its head was purged: the next entry continues from this hash.
audit_anchors = Table(
    "anchors",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False, comment="the newest entry that was purged"),
    Column("entry_hash", LargeBinary, nullable=False),
    _time("newest_at", nullable=False),
    _time_now("purged_at"),
    Column("purged_by", Text, nullable=False),
    schema="audit",
)
