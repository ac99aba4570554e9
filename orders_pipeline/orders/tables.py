"""Tables: orders, their items, events and claims, and the erasures that were asked for."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from orders_pipeline.database.metadata import count_column, metadata, time_column, time_now_column

order_events = Table(
    "order_events",
    metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("marketplace_id", Text),
    Column("source", Text, nullable=False, comment="notification, sweep, listing, backfill or recovery"),
    # "notification:<NotificationId>" or "updated:<lastUpdatedTime>": the two ways in which one event can come twice.
    Column("deduplication_key", Text, nullable=False),
    Column("change_type", Text),
    Column("level", Text, comment="OrderLevel or OrderItemLevel"),
    Column("status_told", Text, comment="as Amazon spelled it; may be a value that we do not know"),
    Column("fulfilled_by_told", Text, comment="MERCHANT or AMAZON, normalised"),
    time_column("changed_at"),
    time_column("published_at", nullable=False),
    Column("partition_day", Date, nullable=False, comment="UTC day of published_at"),
    Column("details", JSONB, nullable=False, comment="the message's summary without what identifies a buyer"),
    time_now_column("received_at"),
    time_column("processed_at"),
    # Set aside: its order's events could not be applied. It is not processed, so that its order is not pushed.
    time_column("parked_at"),
    Column("park_reason", Text),
    UniqueConstraint("account_id", "order_id", "deduplication_key"),
    Index("ix_order_events_pending", "account_id", "event_id", postgresql_where=text("processed_at is null")),
    # Beside a past month's hundred thousand, what happens now is found at once.
    Index(
        "ix_order_events_pending_now",
        "account_id",
        "event_id",
        postgresql_where=text("processed_at is null and source <> 'backfill'"),
    ),
    Index("ix_order_events_parked", "account_id", "order_id", postgresql_where=text("parked_at is not null")),
    Index("ix_order_events_partition_day", "account_id", "partition_day"),
    # They lie in the order in which they came: a few kilobytes find those of the last day among millions.
    Index(
        "ix_order_events_received_at",
        "received_at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 16},
    ),
    schema="pipeline",
)

parked_messages = Table(
    "parked_messages",
    metadata,
    Column("parked_id", Uuid, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("message_id", Text, nullable=False, comment="SQS MessageId"),
    Column("notification_type", Text),
    Column("reason", Text, nullable=False),
    Column("body_bytes", Integer, nullable=False),
    time_now_column("parked_at"),
    time_column("replayed_at"),
    UniqueConstraint("account_id", "message_id"),
    Index("ix_parked_messages_parked", "account_id", "parked_at"),
    schema="pipeline",
)

# When this pipeline first ran for an account: what was purchased before may be an old process's to ship.
account_starts = Table(
    "account_starts",
    metadata,
    Column("account_id", Text, primary_key=True),
    time_now_column("first_started_at"),
    Column("start_at", DateTime(timezone=True), comment="ORDERS_START_AT as it was set when last seen"),
    schema="pipeline",
)

_SHIP_BY = "coalesce(ship_by, 'infinity'::timestamptz)"
_NEWEST = "coalesce(last_updated_at, first_seen_at)"


_LEFT = "status in ('SHIPPED', 'INVOICE_UNCONFIRMED')"
# Columns of the order board of which there may be millions: a filter by marketplace has an index of its own there.
_OVER = {
    "shipped": (_NEWEST, f"{_LEFT} and delivered_at is null"),
    "delivered": ("delivered_at", f"{_LEFT} and delivered_at is not null"),
    "canceled": (_NEWEST, "status in ('CANCELLED', 'UNFULFILLABLE')"),
}


def _board_index(column: str, key: str, condition: str) -> Index:
    name = f"ix_orders_board_{column}"
    return Index(name, "account_id", text(key), "order_id", postgresql_where=text(condition))


def _marketplace_index(column: str, key: str, condition: str) -> Index:
    name = f"ix_orders_board_{column}_marketplace"
    return Index(name, "account_id", "marketplace_id", text(key), "order_id", postgresql_where=text(condition))


orders = Table(
    "orders",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("marketplace_id", Text),
    Column("status", Text, nullable=False, comment="canonical: PENDING … CANCELLED, or Amazon's own word"),
    Column("fulfilled_by", Text, nullable=False, comment="MERCHANT, AMAZON or UNKNOWN"),
    Column("service_level", Text),
    Column("programs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    time_column("purchased_at"),
    time_column("last_updated_at"),
    time_column("earliest_ship_at"),
    time_column("ship_by"),
    time_column("deliver_by"),
    # A lower bound of the delivery time: Amazon says that a package has arrived, never when.
    time_column("delivered_at"),
    time_column("seen_on_its_way_at"),
    Column("cancellation_requested", Boolean, nullable=False, server_default=text("false")),
    Column("has_address", Boolean, nullable=False, server_default=text("false")),
    time_now_column("first_seen_at"),
    time_column("fetched_at"),
    Column("waived_holds", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="a person's decision"),
    # When a person decided that we ship this order from before the start (orders.account_starts).
    time_column("adopted_at"),
    # The newest change time of an event that no answer has confirmed yet.
    time_column("told_at"),
    # When a message announced a cancellation that Amazon has not confirmed.
    time_column("cancellation_told_at"),
    # How many answers were doubtful (older than the event, or without a fulfiller), and since when. A doubtful answer
    # that was accepted does not reset the time: the next message gets no eleven minutes of its own.
    count_column("rechecks"),
    time_column("questioned_since"),
    # When an answer was accepted that is older than what a message had announced; until Amazon shows a change.
    time_column("answer_older_at"),
    # Of a marketplace that is not configured: neither fetched nor queued until it is.
    Column("other_marketplace", Boolean, nullable=False, server_default=text("false")),
    # When Amazon last gave an address that can be shipped to; whether its last answer showed no more than the place.
    time_column("address_at"),
    Column("address_hidden", Boolean, nullable=False, server_default=text("false")),
    Column("verification", Text, comment="of regulated items: Amazon's word"),
    time_column("verified_at"),
    Column("dosage_label", Boolean, nullable=False, server_default=text("false")),
    Column(
        "erased_by",
        Text,
        comment="by which rule its details were destroyed while it may still have been to ship",
    ),
    # A person reviews it in Seller Central; why Amazon gave no verification when it was asked last.
    Column("needs_review", Boolean, nullable=False, server_default=text("false")),
    Column("verification_problem", Text),
    # Items that were cancelled, in part or whole, while the warehouse had the order.
    Column("reduced_items", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    time_column("reduced_at"),
    Index("ix_orders_status", "account_id", "status", "fulfilled_by"),
    Index("ix_orders_address_at", "account_id", "address_at"),
    # Of what few orders ever have, and alerts ask for every half minute.
    Index(
        "ix_orders_flagged",
        "account_id",
        "order_id",
        postgresql_where=text("answer_older_at is not null or reduced_at is not null or erased_by is not null"),
    ),
    Index("ix_orders_other_marketplace", "account_id", "marketplace_id", postgresql_where=text("other_marketplace")),
    Index(
        "ix_orders_open_elsewhere",
        "account_id",
        "marketplace_id",
        postgresql_where=text(
            "other_marketplace and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and fulfilled_by <> 'AMAZON'"
        ),
    ),
    # A column of the order board each, in its order (operations.order_board.columns).
    _board_index("pending", _SHIP_BY, "status in ('PENDING', 'PENDING_AVAILABILITY')"),
    _board_index("unshipped", _SHIP_BY, "status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')"),
    *(_board_index(column, *of) for column, of in _OVER.items()),
    *(_marketplace_index(column, *of) for column, of in _OVER.items()),
    _board_index(
        "other",
        _SHIP_BY,
        """status not in ('PENDING', 'PENDING_AVAILABILITY', 'UNSHIPPED', 'PARTIALLY_SHIPPED', 'SHIPPED',
        'INVOICE_UNCONFIRMED', 'CANCELLED', 'UNFULFILLABLE')""",
    ),
    # The last block of an order id, which people read out and type.
    Index("ix_orders_id_end", "account_id", text("right(order_id, 7)")),
    schema="pipeline",
)

order_items = Table(
    "order_items",
    metadata,
    Column("account_id", Text, primary_key=True),
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
        ["account_id", "order_id"], ["pipeline.orders.account_id", "pipeline.orders.order_id"], ondelete="CASCADE"
    ),
    Index("ix_order_items_sku", "account_id", text("lower(sku)")),
    Index("ix_order_items_asin", "account_id", "asin"),
    schema="pipeline",
)

# Who works on an order at the board. It goes with the order, and counts while the order is open.
order_claims = Table(
    "order_claims",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("claimed_by", Text, nullable=False, comment="as the audit log names people: person:NAME or user:NAME"),
    time_now_column("claimed_at"),
    ForeignKeyConstraint(
        ["account_id", "order_id"], ["pipeline.orders.account_id", "pipeline.orders.order_id"], ondelete="CASCADE"
    ),
    schema="pipeline",
)

# Requested erasures, kept as proof and to prevent another fetch. Without the reason in
# a person's own words: that is in the audit log.
erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("order_id", Text, comment="None: every order of the seller that was known then"),
    Column("everything", Boolean, nullable=False, server_default=text("false"), comment="what identifies nobody too"),
    time_now_column("requested_at"),
    time_column("shredded_at"),
    time_column("finished_at"),
    Index("ix_erasures_order", "account_id", "order_id"),
    schema="pipeline",
)
