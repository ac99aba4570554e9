-- Every table of the first release, as it was then. Written once and never changed: what comes
-- later is a migration of its own. A test holds that the migrations make exactly what the domains' tables.py declare.

create schema if not exists pipeline;
create schema if not exists vault;
create schema if not exists vault_keys;
create schema if not exists audit;

CREATE TABLE audit.anchors (
    entry_id BIGINT NOT NULL,
    entry_hash BYTEA NOT NULL,
    newest_at TIMESTAMP WITH TIME ZONE NOT NULL,
    purged_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    purged_by TEXT NOT NULL,
    CONSTRAINT pk_anchors PRIMARY KEY (entry_id)
);
comment on column audit.anchors.entry_id is 'the newest entry that was purged';

CREATE TABLE audit.entries (
    entry_id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    order_id TEXT,
    purpose TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail JSONB DEFAULT '{}' NOT NULL,
    previous_hash BYTEA NOT NULL,
    entry_hash BYTEA NOT NULL,
    CONSTRAINT pk_entries PRIMARY KEY (entry_id)
);
CREATE INDEX ix_entries_at ON audit.entries (at);
CREATE INDEX ix_entries_order ON audit.entries (seller_id, order_id);
comment on column audit.entries.entry_id is 'without gaps; set by the trigger';
comment on column audit.entries.actor is 'run:<id>, job:<name> or user:<name>';

CREATE TABLE pipeline.alerts (
    alert_id BIGINT GENERATED ALWAYS AS IDENTITY,
    seller_id TEXT NOT NULL,
    key TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    what_to_do TEXT NOT NULL,
    times_seen INTEGER DEFAULT 0 NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    delivered_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_alerts PRIMARY KEY (alert_id)
);
CREATE UNIQUE INDEX uq_alerts_open ON pipeline.alerts (seller_id, key) WHERE closed_at is null;
comment on column pipeline.alerts.key is 'what it is about; one open alert a key';

CREATE TABLE pipeline.amazon_rate_limits (
    application_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    region TEXT NOT NULL,
    operation TEXT NOT NULL,
    rate FLOAT NOT NULL,
    burst FLOAT NOT NULL,
    tokens FLOAT NOT NULL,
    refilled_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    blocked_until TIMESTAMP WITH TIME ZONE,
    granted BIGINT DEFAULT 0 NOT NULL,
    throttled BIGINT DEFAULT 0 NOT NULL,
    waited_seconds FLOAT DEFAULT 0 NOT NULL,
    consecutive_failures INTEGER DEFAULT 0 NOT NULL,
    breaker_open_until TIMESTAMP WITH TIME ZONE,
    epoch BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_amazon_rate_limits PRIMARY KEY (application_id, seller_id, region, operation)
);
comment on column pipeline.amazon_rate_limits.rate is 'tokens a second';

CREATE TABLE pipeline.client_secrets (
    application_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_client_secrets PRIMARY KEY (application_id, fingerprint)
);
comment on column pipeline.client_secrets.fingerprint is 'keyed hash (vault.fingerprint)';

CREATE TABLE pipeline.erasures (
    erasure_id BIGINT GENERATED ALWAYS AS IDENTITY,
    seller_id TEXT NOT NULL,
    order_id TEXT,
    everything BOOLEAN DEFAULT false NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    shredded_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_erasures PRIMARY KEY (erasure_id)
);
CREATE INDEX ix_erasures_order ON pipeline.erasures (seller_id, order_id);
comment on column pipeline.erasures.order_id is 'None: every order of the seller that was known then';
comment on column pipeline.erasures.everything is 'what identifies nobody too';

CREATE TABLE pipeline.fulfillment_queue (
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    hold_reasons TEXT[] DEFAULT '{}' NOT NULL,
    ship_by TIMESTAMP WITH TIME ZONE,
    entered_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    action_due_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    parked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_fulfillment_queue PRIMARY KEY (seller_id, order_id)
);
CREATE INDEX ix_fulfillment_queue_due ON pipeline.fulfillment_queue (seller_id, action_due_at) WHERE action_due_at is not null;
CREATE INDEX ix_fulfillment_queue_state ON pipeline.fulfillment_queue (seller_id, state);

CREATE TABLE pipeline.order_events (
    event_id BIGINT GENERATED ALWAYS AS IDENTITY,
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    marketplace_id TEXT,
    source TEXT NOT NULL,
    deduplication_key TEXT NOT NULL,
    change_type TEXT,
    level TEXT,
    status_told TEXT,
    fulfilled_by_told TEXT,
    changed_at TIMESTAMP WITH TIME ZONE,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    partition_day DATE NOT NULL,
    details JSONB NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    processed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_order_events PRIMARY KEY (event_id),
    CONSTRAINT uq_order_events_seller_id_order_id_deduplication_key UNIQUE (seller_id, order_id, deduplication_key)
);
CREATE INDEX ix_order_events_partition_day ON pipeline.order_events (seller_id, partition_day);
CREATE INDEX ix_order_events_pending ON pipeline.order_events (seller_id, event_id) WHERE processed_at is null;
comment on column pipeline.order_events.source is 'notification, sweep, backfill or recovery';
comment on column pipeline.order_events.level is 'OrderLevel or OrderItemLevel';
comment on column pipeline.order_events.status_told is 'as Amazon spelled it; may be a value that we do not know';
comment on column pipeline.order_events.fulfilled_by_told is 'MERCHANT or AMAZON, normalised';
comment on column pipeline.order_events.partition_day is 'UTC day of published_at';
comment on column pipeline.order_events.details is 'the message''s summary without what identifies a buyer';

CREATE TABLE pipeline.orders (
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    marketplace_id TEXT,
    status TEXT NOT NULL,
    fulfilled_by TEXT NOT NULL,
    service_level TEXT,
    programs TEXT[] DEFAULT '{}' NOT NULL,
    total_amount NUMERIC,
    total_currency TEXT,
    purchased_at TIMESTAMP WITH TIME ZONE,
    last_updated_at TIMESTAMP WITH TIME ZONE,
    earliest_ship_at TIMESTAMP WITH TIME ZONE,
    ship_by TIMESTAMP WITH TIME ZONE,
    deliver_by TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    delivery_checked_at TIMESTAMP WITH TIME ZONE,
    seen_on_its_way_at TIMESTAMP WITH TIME ZONE,
    cancellation_requested BOOLEAN DEFAULT false NOT NULL,
    has_address BOOLEAN DEFAULT false NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE,
    fetch_due_at TIMESTAMP WITH TIME ZONE,
    fetch_requests INTEGER DEFAULT 0 NOT NULL,
    fetch_attempts INTEGER DEFAULT 0 NOT NULL,
    fetch_error TEXT,
    parked_at TIMESTAMP WITH TIME ZONE,
    park_reason TEXT,
    queue_stale BOOLEAN DEFAULT false NOT NULL,
    waived_holds TEXT[] DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (seller_id, order_id)
);
CREATE INDEX ix_orders_fetch_due ON pipeline.orders (seller_id, fetch_due_at) WHERE fetch_due_at is not null;
CREATE INDEX ix_orders_queue_stale ON pipeline.orders (seller_id, order_id) WHERE queue_stale;
CREATE INDEX ix_orders_status ON pipeline.orders (seller_id, status, fulfilled_by);
comment on column pipeline.orders.status is 'canonical: PENDING … CANCELLED, or Amazon''s own word';
comment on column pipeline.orders.fulfilled_by is 'MERCHANT, AMAZON or UNKNOWN';
comment on column pipeline.orders.waived_holds is 'a person''s decision';

CREATE TABLE pipeline.parked_messages (
    parked_id UUID NOT NULL,
    seller_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    notification_type TEXT,
    reason TEXT NOT NULL,
    body_bytes INTEGER NOT NULL,
    parked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    replayed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_parked_messages PRIMARY KEY (parked_id),
    CONSTRAINT uq_parked_messages_seller_id_message_id UNIQUE (seller_id, message_id)
);
comment on column pipeline.parked_messages.message_id is 'SQS MessageId';

CREATE TABLE pipeline.search_windows (
    window_id BIGINT GENERATED ALWAYS AS IDENTITY,
    seller_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    updated_after TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_before TIMESTAMP WITH TIME ZONE NOT NULL,
    parameters JSONB NOT NULL,
    page_token TEXT,
    page_token_at TIMESTAMP WITH TIME ZONE,
    pages INTEGER DEFAULT 0 NOT NULL,
    orders_seen INTEGER DEFAULT 0 NOT NULL,
    events_new INTEGER DEFAULT 0 NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_search_windows PRIMARY KEY (window_id),
    CONSTRAINT uq_search_windows_seller_id_purpose_updated_after_updat_665a UNIQUE (seller_id, purpose, updated_after, updated_before)
);
CREATE INDEX ix_search_windows_open ON pipeline.search_windows (seller_id, purpose) WHERE finished_at is null;
comment on column pipeline.search_windows.purpose is 'sweep or backfill';

CREATE TABLE pipeline.shipment_confirmations (
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    package_id TEXT NOT NULL,
    package_reference_id INTEGER,
    state TEXT NOT NULL,
    carrier TEXT,
    service TEXT,
    carrier_code TEXT,
    carrier_name TEXT,
    shipping_method TEXT,
    tracking_number TEXT,
    shipped_at TIMESTAMP WITH TIME ZONE,
    lines JSONB NOT NULL,
    ship_by TIMESTAMP WITH TIME ZONE,
    reported_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    action_due_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT 0 NOT NULL,
    sends INTEGER DEFAULT 0 NOT NULL,
    reads INTEGER DEFAULT 0 NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    parked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_shipment_confirmations PRIMARY KEY (seller_id, order_id, package_id)
);
CREATE INDEX ix_shipment_confirmations_due ON pipeline.shipment_confirmations (seller_id, action_due_at) WHERE action_due_at is not null;
CREATE UNIQUE INDEX uq_shipment_confirmations_reference ON pipeline.shipment_confirmations (seller_id, order_id, package_reference_id) WHERE state not in ('voided', 'replaced');
comment on column pipeline.shipment_confirmations.package_id is 'the warehouse''s name for the package';
comment on column pipeline.shipment_confirmations.package_reference_id is 'ours at Amazon: 1, 2, … an order; stored before the first call';
comment on column pipeline.shipment_confirmations.carrier_code is 'Amazon''s exact spelling, as last sent';

CREATE TABLE pipeline.wms_cursors (
    seller_id TEXT NOT NULL,
    cursor TEXT,
    polled_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_wms_cursors PRIMARY KEY (seller_id)
);

CREATE TABLE pipeline.wms_orders (
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    wms_id TEXT,
    content_hash TEXT,
    answer TEXT NOT NULL,
    answer_code TEXT,
    first_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    accepted_at TIMESTAMP WITH TIME ZONE,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    erase_asked_at TIMESTAMP WITH TIME ZONE,
    erase_due_at TIMESTAMP WITH TIME ZONE,
    erase_attempts INTEGER DEFAULT 0 NOT NULL,
    erase_error TEXT,
    erased_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_wms_orders PRIMARY KEY (seller_id, order_id)
);
CREATE INDEX ix_wms_orders_erase_due ON pipeline.wms_orders (seller_id, erase_due_at) WHERE erase_due_at is not null;
CREATE INDEX ix_wms_orders_kept ON pipeline.wms_orders (seller_id, order_id) WHERE erased_at is null;
comment on column pipeline.wms_orders.answer is 'unknown, accepted, refused, held, cancelled, partial, pending, …';

CREATE TABLE pipeline.wms_shipments (
    seller_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    sequence BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    order_id TEXT NOT NULL,
    package_id TEXT,
    carrier TEXT,
    service TEXT,
    tracking_number TEXT,
    shipped_at TIMESTAMP WITH TIME ZONE,
    lines JSONB NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    processed_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    CONSTRAINT pk_wms_shipments PRIMARY KEY (seller_id, event_id)
);
CREATE INDEX ix_wms_shipments_order ON pipeline.wms_shipments (seller_id, order_id);
CREATE INDEX ix_wms_shipments_pending ON pipeline.wms_shipments (seller_id, sequence) WHERE processed_at is null;

CREATE TABLE vault.amazon_tokens (
    application_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BYTEA NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    obtained_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_amazon_tokens PRIMARY KEY (application_id, seller_id, purpose)
);
comment on column vault.amazon_tokens.purpose is 'access, grantless:<scope> or restricted:<what it opens>';

CREATE TABLE vault.records (
    seller_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    key_reference UUID NOT NULL,
    aad_version INTEGER NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    stored_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_records PRIMARY KEY (seller_id, kind, subject_id),
    CONSTRAINT uq_records_key_reference UNIQUE (key_reference)
);
CREATE INDEX ix_records_expires_at ON vault.records (expires_at) WHERE expires_at is not null;
comment on column vault.records.kind is 'shipping_details, parked_message';
comment on column vault.records.subject_id is 'the order id, or the parked message''s id';

CREATE TABLE vault_keys.data_keys (
    key_reference UUID NOT NULL,
    seller_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_data_keys PRIMARY KEY (key_reference)
);
CREATE INDEX ix_data_keys_key_id ON vault_keys.data_keys (key_id, key_reference);
comment on column vault_keys.data_keys.key_id is 'the key-encryption key that wraps this one';

CREATE TABLE vault_keys.unsettled_shreds (
    shred_id BIGINT GENERATED ALWAYS AS IDENTITY,
    records INTEGER NOT NULL,
    shredded_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_unsettled_shreds PRIMARY KEY (shred_id)
);

CREATE TABLE pipeline.order_items (
    seller_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    order_item_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    sku TEXT,
    asin TEXT,
    title TEXT,
    quantity_ordered INTEGER NOT NULL,
    quantity_fulfilled INTEGER NOT NULL,
    unit_price NUMERIC,
    currency TEXT,
    programs TEXT[] DEFAULT '{}' NOT NULL,
    cancellation_requested BOOLEAN DEFAULT false NOT NULL,
    cancelled BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_order_items PRIMARY KEY (seller_id, order_id, order_item_id),
    CONSTRAINT fk_order_items_seller_id_order_id FOREIGN KEY(seller_id, order_id) REFERENCES pipeline.orders (seller_id, order_id) ON DELETE CASCADE
);
