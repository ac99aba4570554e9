"""Queries of the warehouse's shipment events, and of how far they were read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.database.locks import hold_name
from orders_pipeline.database.notifications import notify
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.shipments.tables import wms_cursors, wms_shipments
from orders_pipeline.wms.port import ShipmentPage

# The topic under which new events are notified.
WMS_SHIPMENTS = "wms_shipments"


def warehouse_cursor(tx: AccountTransaction) -> str | None:
    """Where the next poll goes on. Two polls at once only read the same page twice."""
    tx.execute(insert(wms_cursors).values(account_id=tx.account_id).on_conflict_do_nothing())
    return tx.execute(select(wms_cursors.c.cursor).where(wms_cursors.c.account_id == tx.account_id)).scalar_one()


def save_page(tx: AccountTransaction, page: ShipmentPage) -> None:
    """The page was read up to its cursor (None: the stored one stays)."""
    c, now = wms_cursors.c, func.clock_timestamp()
    values: dict[str, Any] = {
        "polled_at": now,
        "failing_since": None,
        "failure": None,
        "cursor_unreadable_since": func.coalesce(c.cursor_unreadable_since, now) if page.cursor_unreadable else None,
    }
    if page.next_cursor is not None:
        values["cursor"] = page.next_cursor
    tx.execute(update(wms_cursors).where(c.account_id == tx.account_id).values(**values, **_unreadable(page)))


def note_webhook(tx: AccountTransaction, page: ShipmentPage) -> None:
    """A webhook was taken: those that were refused before it are over."""
    c = wms_cursors.c
    values = {"webhook_at": func.clock_timestamp(), "webhooks_refused": 0, **_unreadable(page)}
    tx.execute(
        insert(wms_cursors)
        .values(account_id=tx.account_id, **values)
        .on_conflict_do_update(index_elements=[c.account_id], set_=values)
    )


def note_refused_webhooks(tx: AccountTransaction, count: int, reason: WebhookRefusal) -> None:
    """So many more webhooks were refused, most of them for this reason."""
    c = wms_cursors.c
    newest = {"webhook_refused_at": func.clock_timestamp(), "webhook_refusal": str(reason)}
    tx.execute(
        insert(wms_cursors)
        .values(account_id=tx.account_id, webhooks_refused=count, **newest)
        .on_conflict_do_update(
            index_elements=[c.account_id], set_={"webhooks_refused": c.webhooks_refused + count, **newest}
        )
    )


def last_webhook_at(connection: Connection) -> datetime | None:
    """When a webhook was taken last, for whichever account."""
    return connection.execute(select(func.max(wms_cursors.c.webhook_at))).scalar_one()


def recorded_by_every_account(tx: AccountTransaction, event_ids: Sequence[str]) -> set[str]:
    """Those of these events that each account that reads the warehouse's list has recorded."""
    statement = text("""
        select event_id from unnest(cast(:event_ids as text[])) as asked(event_id)
        where not exists (select from pipeline.wms_cursors c where not exists (select from pipeline.wms_shipments s
        where s.account_id = c.account_id and s.event_id = asked.event_id))
    """)
    return set(tx.execute(statement, {"event_ids": list(event_ids)}).scalars())


def _unreadable(page: ShipmentPage) -> dict[str, Any]:
    """What is kept of events without an id, an order or lines."""
    return {"unreadable_at": func.clock_timestamp(), "unreadable_events": page.unreadable} if page.unreadable else {}


def note_unread(tx: AccountTransaction, failure: str) -> None:
    """The warehouse cannot be read, and why; a page that is read ends it."""
    c = wms_cursors.c
    values = insert(wms_cursors).values(
        account_id=tx.account_id,
        failing_since=func.clock_timestamp(),
        failure=bounded_text(failure, LONGEST_ERROR) or "no reason given",
    )
    tx.execute(
        values.on_conflict_do_update(
            index_elements=[c.account_id],
            set_={
                "failing_since": func.coalesce(c.failing_since, values.excluded.failing_since),
                "failure": values.excluded.failure,
            },
        )
    )


def insert_shipment_events(tx: AccountTransaction, rows: Sequence[dict[str, Any]]) -> int:
    """Record the warehouse's events, in their order; return how many were new.

    One process at a time: a poll and webhooks that bring the same events in two orders would wait for each other.
    """
    if not rows:
        return 0
    hold_name(tx.connection, f"record_shipments {tx.account_id}")
    statement = insert(wms_shipments).values(list(rows)).on_conflict_do_nothing().returning(wms_shipments.c.event_id)
    new = len(tx.execute(statement).all())
    if new:
        notify(tx.connection, tx.account_id, WMS_SHIPMENTS)
    return new


def lock_shipment_events(tx: AccountTransaction) -> None:
    """Let one process at a time apply this account's events, until the transaction ends: their order has a meaning."""
    hold_name(tx.connection, f"apply_shipments {tx.account_id}")


def reopen_events_of_known_orders(tx: AccountTransaction) -> int:
    """Events whose order was not known when they came, and is by now, are applied after all; how many."""
    return tx.execute(
        text("""
            update pipeline.wms_shipments s set processed_at = null, result = null
            where s.account_id = :account_id and s.result = 'unknown_order' and exists
            (select 1 from pipeline.orders o where o.account_id = s.account_id and o.order_id = s.order_id)
        """),
        {"account_id": tx.account_id},
    ).rowcount


def reopen_failed_events(tx: AccountTransaction) -> int:
    """Events that met a defect are tried again every ten minutes, for a day; how many."""
    return tx.execute(
        text("""
            update pipeline.wms_shipments set processed_at = null, result = null
            where account_id = :account_id and result = 'defect'
            and processed_at < clock_timestamp() - interval '10 minutes'
            and received_at > clock_timestamp() - interval '1 day'
        """),
        {"account_id": tx.account_id},
    ).rowcount


def claim_shipment_events(tx: AccountTransaction, limit: int) -> Sequence[AnyRow]:
    """Lock the oldest events that are not applied yet."""
    statement = (
        select(wms_shipments)
        .where(wms_shipments.c.account_id == tx.account_id, wms_shipments.c.processed_at.is_(None))
        .order_by(wms_shipments.c.sequence)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(tx.execute(statement))


def mark_shipment_event(tx: AccountTransaction, event_id: str, result: str, error: str | None = None) -> None:
    """The event is done with; `error` says where a defect was met."""
    tx.execute(
        update(wms_shipments)
        .where(wms_shipments.c.account_id == tx.account_id, wms_shipments.c.event_id == event_id)
        .values(processed_at=func.clock_timestamp(), result=result, error=error)
    )


def package_events(connection: Connection, event: AnyRow) -> list[AnyRow]:
    """What the warehouse reported of this event's package before, in its order, and this event."""
    e = wms_shipments.c
    statement = (
        select(wms_shipments)
        .where(
            e.account_id == event.account_id,
            e.order_id == event.order_id,
            e.package_id == event.package_id,
            e.processed_at.is_not(None),
            e.event_id != event.event_id,
        )
        .order_by(e.sequence)
    )
    return [*connection.execute(statement), event]


def shipments_by_kind(tx: AccountTransaction) -> Sequence[AnyRow]:
    """(kind, result, events, newest) of what the warehouse reported."""
    statement = (
        select(
            wms_shipments.c.kind,
            wms_shipments.c.result,
            func.count().label("events"),
            func.max(wms_shipments.c.received_at).label("newest"),
        )
        .where(wms_shipments.c.account_id == tx.account_id)
        .group_by(wms_shipments.c.kind, wms_shipments.c.result)
        .order_by(text("events desc"))
    )
    return list(tx.execute(statement))
