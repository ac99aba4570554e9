"""A store as a shop has it after a year and a half: nearly every order shipped long ago, a few on their way.

Rows are made by PostgreSQL itself, ten thousands a second. Nothing of it is due, so that a sync over it has to do what
comes in afterwards, and nothing else. What is sealed opens with no key: nobody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import Database
from orders_pipeline.work.progress import Notify, Progress, silent

MARKETPLACE = "ATVPDKIKX0DER"
# Nothing is older than the 18 months after which it is purged.
DAYS = 540
ORDERS_A_BATCH = 50_000
EVENTS_AN_ORDER = 5
ENTRIES_AN_ORDER = 4

# Of the temporary table _MADE. The last half a per cent is still to ship, and waits at the warehouse; one in fifty was
# cancelled. Details are shredded, and the warehouse has erased them, a week after the delivery. Half of the packages
# leave with a carrier that Amazon has no code for.
_ORDERS = """
    insert into pipeline.orders (account_id, order_id, marketplace_id, status, fulfilled_by, service_level,
      total_amount, total_currency, purchased_at, last_updated_at, earliest_ship_at, ship_by, deliver_by, delivered_at,
      has_address, first_seen_at, fetched_at, address_at)
    select :account_id, order_id, :marketplace,
      case when is_live then 'UNSHIPPED' when is_cancelled then 'CANCELLED' else 'SHIPPED' end, 'MERCHANT', 'Standard',
      19.99, 'USD', bought_at, bought_at + interval '1 day', bought_at,
      case when is_live then clock_timestamp() + interval '2 days' else bought_at + interval '2 days' end,
      bought_at + interval '7 days',
      case when not is_on_its_way then bought_at + interval '6 days' end,
      is_live, bought_at, bought_at, case when not is_cancelled then bought_at end
    from made
"""
_ITEMS = """
    insert into pipeline.order_items (account_id, order_id, order_item_id, position, sku, asin, title, quantity_ordered,
      quantity_fulfilled, unit_price, currency)
    select :account_id, order_id, order_id || '-1', 1, 'SKU-' || n % 5000, 'B0' || lpad((n % 5000)::text, 8, '0'),
      'A thing of some forty characters, in grey', 1, case when is_live or is_cancelled then 0 else 1 end, 19.99, 'USD'
    from made
"""
_EVENTS = """
    insert into pipeline.order_events (account_id, order_id, marketplace_id, source, deduplication_key, change_type,
      level, status_told, fulfilled_by_told, changed_at, published_at, partition_day, details, received_at,
      processed_at)
    select :account_id, order_id, :marketplace, case when k = 5 then 'sweep' else 'notification' end,
      'notification:' || md5(order_id || k), 'OrderStatusChange', 'OrderLevel', 'Shipped', 'MERCHANT', at, at,
      (at at time zone 'UTC')::date, '{"order_status": "Shipped", "fulfillment_type": "MFN"}', at, at
    from made cross join generate_series(1, :events) k
    cross join lateral (select least(bought_at + k * interval '5 hours', clock_timestamp() - interval '1 hour') as at) t
"""
_FULFILLMENT = """
    insert into pipeline.fulfillment_orders (account_id, order_id, state, ship_by, entered_at, changed_at)
    select :account_id, order_id,
      case when is_live then 'accepted' when is_cancelled then 'cancelled' else 'closed' end,
      bought_at + interval '2 days', bought_at, bought_at + interval '1 day'
    from made
"""
_AT_WAREHOUSE = """
    insert into pipeline.wms_orders (account_id, order_id, wms_id, content_hash, answer, first_attempt_at, sent_at,
      accepted_at, changed_at, erase_requested_at, erased_at)
    select :account_id, order_id, 'wms-' || n, md5(order_id) || md5(order_id), 'accepted', bought_at, bought_at,
      bought_at, bought_at, case when not is_kept then bought_at + interval '13 days' end,
      case when not is_kept then bought_at + interval '13 days' end
    from made where not is_cancelled
"""
_SHIPMENTS = """
    insert into pipeline.wms_shipments (account_id, event_id, kind, order_id, package_id, carrier, service,
      tracking_number, shipped_at, lines, received_at, processed_at, result)
    select :account_id, 'event-' || order_id, 'shipped', order_id, 'package-' || order_id, 'UPS', 'Ground',
      '1Z' || lpad(n::text, 16, '0'), left_at, jsonb_build_array(jsonb_build_object('line_ref', order_id || '-1',
      'quantity', 1)), left_at, left_at, 'shipped'
    from made where not is_cancelled and not is_live
"""
_CONFIRMATIONS = """
    insert into pipeline.shipment_confirmations (account_id, order_id, package_id, package_reference_id, state, carrier,
      service, carrier_code, tracking_number, shipped_at, lines, ship_by, reported_at, changed_at, known_to_amazon,
      carrier_mapped, confirmations, verifications, sent_at, confirmed_at)
    select :account_id, order_id, 'package-' || order_id, 1, 'confirmed',
      case when has_code then 'UPS' else 'Roadrunner' end, 'Ground', case when has_code then 'UPS' else 'Other' end,
      '1Z' || lpad(n::text, 16, '0'), left_at, jsonb_build_array(jsonb_build_object('line_ref', order_id || '-1',
      'quantity', 1)), bought_at + interval '2 days', left_at, left_at, true, has_code, 1, 1, left_at, left_at
    from made where not is_cancelled and not is_live
"""
_RECORDS = """
    with sealed as (
      insert into pipeline.seals (account_id, kind, subject_id, aad_version)
      select :account_id, 'shipping_details', order_id, 2 from made where is_kept and not is_cancelled
      returning subject_id, seal_number),
    keys as (
      insert into vault_keys.data_keys (key_reference, account_id, key_id, wrapped_key)
      select md5(subject_id)::uuid, :account_id, 'nobody', decode(repeat('ab', 60), 'hex') from sealed)
    insert into vault.records (account_id, kind, subject_id, key_reference, aad_version, seal_number, nonce, ciphertext)
    select :account_id, 'shipping_details', subject_id, md5(subject_id)::uuid, 2, seal_number,
      decode(repeat('cd', 12), 'hex'), decode(repeat('ef', 400), 'hex') from sealed
"""
# Whether it has arrived is asked again tomorrow.
_DELIVERIES = """
    insert into pipeline.jobs (account_id, queue, subject, due_at, enqueued_at)
    select :account_id, 'delivery', order_id, clock_timestamp() + interval '20 hours', left_at
    from made where is_on_its_way and not is_live and not is_cancelled
"""
_ALERTS = """
    insert into pipeline.alerts (account_id, key, severity, message, what_to_do, opened_at, last_seen_at, delivered_at,
      closed_at)
    select :account_id, 'package.late:' || order_id || ':' || 'package-' || order_id, 'error', 'It was late.',
      'Look at it.', bought_at, left_at, left_at, left_at
    from made where n % 20 = 0 and not is_live
"""
# The chain is what another benchmark measures: here its entries only have to be there.
_ENTRIES = """
    insert into audit.entries (entry_id, at, actor, action, seller_id, order_id, purpose, outcome, previous_hash,
      entry_hash)
    select :entries * (n - 1) + k, bought_at + k * interval '1 hour', 'run:00000000-0000-0000-0000-000000000000',
      case k when 1 then 'amazon_restricted_call' when 2 then 'reveal' when 3 then 'push' else 'package_event' end,
      :account_id, order_id, 'ship the order', case k when 1 then 'requested' when 2 then 'allowed' else 'done' end,
      decode(repeat('00', 32), 'hex'), sha256(convert_to(order_id || k, 'UTF8'))
    from made cross join generate_series(1, :entries) k
"""
# Items refer to their order.
_OF_EACH_ORDER = (
    _ORDERS, _ITEMS, _EVENTS, _FULFILLMENT, _AT_WAREHOUSE, _SHIPMENTS, _CONFIRMATIONS, _RECORDS, _DELIVERIES, _ALERTS,
    _ENTRIES,
)  # fmt: skip
_MADE = """
    create temporary table made on commit drop as
    select n, order_id, bought_at, is_live, is_cancelled, is_on_its_way, is_kept, n % 2 = 0 as has_code,
      least(bought_at + interval '1 day', clock_timestamp() - interval '2 hours') as left_at
    from generate_series(cast(:first as bigint), cast(:last as bigint)) n
    cross join lateral (select
      '903-' || lpad((n / 1000)::text, 7, '0') || '-' || lpad(n::text, 7, '0') as order_id,
      clock_timestamp() - interval '3 hours' - (1 - n / cast(:orders as float8)) * make_interval(days => :days)
        as bought_at,
      n > :orders * 0.995 as is_live, n % 50 = 0 and n <= :orders * 0.995 as is_cancelled) of_order
    cross join lateral (select
      bought_at > clock_timestamp() - interval '7 days' as is_on_its_way,
      bought_at > clock_timestamp() - interval '13 days' as is_kept) of_age
"""
_HOURLY_SEARCHES = """
    insert into pipeline.search_windows (account_id, purpose, updated_after, updated_before, parameters, pages,
      page_number, started_at, finished_at)
    select :account_id, 'sweep', at - interval '2 hours', at, '{"marketplace_ids": ["ATVPDKIKX0DER"]}', 1, 1, at, at
    from generate_series(1, :days * 24) h
    cross join lateral (select date_trunc('hour', clock_timestamp()) - h * interval '1 hour' as at) t
"""
_STARTED = """
    insert into pipeline.account_starts (account_id, first_started_at)
    values (:account_id, clock_timestamp() - make_interval(days => :days + 1))
"""


def fill(database: Database, *, account_id: str, orders: int, days: int = DAYS, notify: Notify = silent) -> None:
    """Fill an empty, migrated store with so many orders of one account, and have the planner know of them.

    `days`: over how many they came in, evenly, up to three hours ago.
    """
    progress = Progress("orders made", orders, notify)
    given = {
        "account_id": account_id, "marketplace": MARKETPLACE, "orders": orders, "days": days,
        "events": EVENTS_AN_ORDER, "entries": ENTRIES_AN_ORDER,
    }  # fmt: skip
    for first in range(1, orders + 1, ORDERS_A_BATCH):
        last = min(first + ORDERS_A_BATCH - 1, orders)
        with database.begin() as connection:
            connection.execute(text("set local statement_timeout = 0"))
            connection.execute(text("set local synchronous_commit = off"))
            if first == 1:
                _run(connection, _HOURLY_SEARCHES, given)
                _run(connection, _STARTED, given)
            _run(connection, _MADE, {**given, "first": first, "last": last})
            connection.execute(text("alter table audit.entries disable trigger chain"))
            for statement in _OF_EACH_ORDER:
                _run(connection, statement, given)
            connection.execute(text("alter table audit.entries enable trigger chain"))
        progress.advance(last - first + 1)
    with database.engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.execute(text("set statement_timeout = 0"))
        autocommit.execute(text("vacuum analyze"))
        autocommit.execute(text("set statement_timeout to default"))


def _run(connection: Connection, statement: str, given: Mapping[str, str | int]) -> None:
    named = {name: value for name, value in given.items() if f":{name}" in statement}
    connection.execute(text(statement), named)
