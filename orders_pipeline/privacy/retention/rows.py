"""Queries of the retention: what is kept of a buyer, where, since when, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from orders_pipeline.database.clocks import RETENTION_NOW
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.orders.erasures import NOT_ERASED, known_by
from orders_pipeline.orders.event_rows import PARKED_MESSAGE_LIFE
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import enqueue


def sellers(connection: Connection) -> list[str]:
    """Every seller of whom anything is kept that goes in time, or of whom somebody asked to forget a buyer."""
    found: set[str] = set()
    for table in _OF_A_SELLER:
        # One look into the index for each seller, however many rows each has.
        statement = (
            f"with recursive s as (select (select min(account_id) from {table}) as id union all "  # noqa: S608
            f"select (select min(account_id) from {table} where account_id > s.id) from s where s.id is not null) "
            "select id from s where id is not null and id <> '*'"
        )
        found.update(connection.execute(text(statement)).scalars())
    return sorted(found)


# A seller that left may have nothing but an erasure that is still to be carried out.
_OF_A_SELLER = (
    "vault.records", "pipeline.orders", "pipeline.wms_orders", "pipeline.erasures", "pipeline.order_events",
    "pipeline.wms_shipments", "pipeline.parked_messages", "pipeline.search_windows", "pipeline.alerts",
    "pipeline.report_requests", "pipeline.fba_shipments",
)  # fmt: skip


def count_by_action(tx: AccountTransaction, *, hours: int) -> Sequence[AnyRow]:
    """(action, outcome, entries, orders, newest) of the audit log's last hours, most first."""
    return list(
        tx.execute(
            text("""
                select action, outcome, count(*) as entries, count(distinct order_id) as orders, max(at) as newest
                from audit.entries where seller_id in (:account_id, '*')
                and at > statement_timestamp() - make_interval(hours => :hours)
                group by action, outcome order by entries desc
            """),
            {"account_id": tx.account_id, "hours": hours},
        )
    )


_NEXT_PAGE = f"""
  (select subject_id as order_id from vault.records
   where account_id = :account_id and kind = :kind and subject_id > :after order by subject_id limit :limit)
  union
  (select order_id from pipeline.wms_orders w
   where account_id = :account_id and {NOT_ERASED} and order_id > :after order by order_id limit :limit)
  order by order_id limit :limit"""  # noqa: S608  # our own constant
# Each join by the order's own key (lateral, limit 1): a page costs the same whether a thousand orders are kept or a
# million, whatever the planner thinks of the tables' sizes.
_THESE_ORDERS = "select unnest(cast(:order_ids as text[])) as order_id"


def _readable(column: str) -> str:
    """SQL: the time as Python can read it. PostgreSQL knows infinity, and one such row would fail all."""
    return f"case when {column} is not null then greatest(least({column}, '2200-01-01'), '1990-01-01') end"


# The warehouse's clock is not believed: a package left between its purchase and our hearing of it.
_LEFT_AT = "greatest(least(coalesce(c.shipped_at, c.reported_at), c.reported_at), o.purchased_at)"
_RETAINED = f"""
select page.order_id, r.stored_at is not null as in_vault, w.order_id is not null and {NOT_ERASED} as at_warehouse,
  e.subject is not null as erasure_requested,
  o.order_id is not null as order_known, coalesce(o.status, 'UNKNOWN') as status,
  coalesce(o.fulfilled_by, 'UNKNOWN') as fulfilled_by, {_readable("o.purchased_at")} as purchased_at,
  {_readable("o.ship_by")} as ship_by, {_readable("o.deliver_by")} as deliver_by,
  {_readable("o.delivered_at")} as delivered_at,
  {_readable("coalesce(r.stored_at, w.sent_at, w.first_attempt_at)")} as retained_since,
  {_readable("least(r.first_stored_at, w.first_attempt_at)")} as first_retained_at,
  q.state as queue_state, {_readable("q.changed_at")} as queue_changed_at,
  {_readable("p.left_at")} as left_at, coalesce(p.unconfirmed, 0) as unconfirmed, {RETENTION_NOW} as now,
  (select {_readable("min(a.requested_at)")} from pipeline.erasures a where a.account_id = :account_id
   and (a.order_id = page.order_id
   or a.order_id is null and {known_by("coalesce(r.stored_at, w.first_attempt_at)")} <= a.requested_at))
   as erasure_requested_at
from page
left join lateral (select * from vault.records x
  where x.account_id = :account_id and x.kind = :kind and x.subject_id = page.order_id limit 1) r on true
left join lateral (select * from pipeline.wms_orders x
  where x.account_id = :account_id and x.order_id = page.order_id limit 1) w on true
left join lateral (select * from pipeline.orders x
  where x.account_id = :account_id and x.order_id = page.order_id limit 1) o on true
left join lateral (select * from pipeline.fulfillment_orders x
  where x.account_id = :account_id and x.order_id = page.order_id limit 1) q on true
left join lateral (select x.subject from pipeline.jobs x where x.account_id = :account_id
  and x.queue = '{Queue.ERASE}' and x.subject = page.order_id and x.parked_at is null limit 1) e on true
left join lateral (
  select min({_LEFT_AT}) filter (where c.state not in ('voided', 'awaits_replacement', 'replaced')) as left_at,
    -- What will not travel and Amazon was told of awaits its replacement.
    count(*) filter (where c.state not in ('voided', 'replaced', 'confirmed', 'not_needed', 'by_hand')) as unconfirmed
  from pipeline.shipment_confirmations c where c.account_id = :account_id and c.order_id = page.order_id) p on true
where r.stored_at is not null or w.order_id is not null and {NOT_ERASED}
order by page.order_id
"""  # noqa: S608  # our own constant


def count_retained(tx: AccountTransaction, kind: str) -> int:
    """How many orders a pass over all pages will see."""
    return tx.execute(
        text(f"""
            select count(*) from (select subject_id from vault.records
            where account_id = :account_id and kind = :kind union select order_id from pipeline.wms_orders w
            where account_id = :account_id and {NOT_ERASED}) as kept
        """),  # noqa: S608  # our own constants
        {"account_id": tx.account_id, "kind": kind},
    ).scalar_one()


def retained_page(tx: AccountTransaction, kind: str, after: str, limit: int) -> Sequence[AnyRow]:
    """The next orders, by id, whose details are kept here or at the warehouse, with what decides about them."""
    values = {"account_id": tx.account_id, "kind": kind, "after": after, "limit": limit}
    return list(tx.execute(text(f"with page as ({_NEXT_PAGE}) {_RETAINED}"), values))


def retained_orders(tx: AccountTransaction, kind: str, order_ids: Sequence[str]) -> Sequence[AnyRow]:
    """The same of these orders, by id; those of which nothing is kept are left out."""
    values = {"account_id": tx.account_id, "kind": kind, "order_ids": list(order_ids)}
    return list(tx.execute(text(f"with page as ({_THESE_ORDERS}) {_RETAINED}"), values))


_OTHERS_END = "least(r.expires_at, p.replayed_at, r.first_stored_at + :life)"
_OTHERS_DUE = (
    "from vault.records r left join pipeline.parked_messages p on r.kind = 'parked_message' "
    "and p.account_id = r.account_id and p.parked_id::text = r.subject_id "
    f"where r.account_id = :account_id and r.kind <> :order_kind and {_OTHERS_END} <= :at"
)


def other_records_due(tx: AccountTransaction, *, order_kind: str, at: datetime, limit: int) -> Sequence[AnyRow]:
    """(kind, subject_id, due_at) of records that are not an order's and whose time has come, or that were replayed."""
    return list(
        tx.execute(
            text(f"""
                select r.kind, r.subject_id, {_readable(_OTHERS_END)} as due_at
                {_OTHERS_DUE} order by due_at limit :limit
            """),
            {
                "account_id": tx.account_id,
                "order_kind": order_kind,
                "at": at,
                "limit": limit,
                "life": PARKED_MESSAGE_LIFE,
            },
        )
    )


def other_records_by(tx: AccountTransaction, *, order_kind: str, stored_by: datetime, limit: int) -> Sequence[AnyRow]:
    """(kind, subject_id) of the seller's records that are not an order's and were stored by then."""
    return list(
        tx.execute(
            text("""
                select kind, subject_id from vault.records where account_id = :account_id and kind <> :order_kind
                and stored_at <= :stored_by order by kind, subject_id limit :limit
            """),
            {"account_id": tx.account_id, "order_kind": order_kind, "stored_by": stored_by, "limit": limit},
        )
    )


def count_other_records_due(tx: AccountTransaction, *, order_kind: str, at: datetime) -> int:
    """How many `other_records_due` there are."""
    return tx.execute(
        text(f"select count(*) {_OTHERS_DUE}"),  # our own constant
        {"account_id": tx.account_id, "order_kind": order_kind, "at": at, "life": PARKED_MESSAGE_LIFE},
    ).scalar_one()


def clear_addresses(tx: AccountTransaction, order_ids: Sequence[str]) -> None:
    """These orders, locked by the caller, have no address any more: they wait for one, seen by everybody."""
    tx.execute(
        text("""
            update pipeline.orders set has_address = false
            where account_id = :account_id and order_id = any(:order_ids)
        """),
        {"account_id": tx.account_id, "order_ids": list(order_ids)},
    )
    enqueue(tx, Queue.DECIDE, order_ids)
