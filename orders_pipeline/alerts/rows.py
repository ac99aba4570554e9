"""Queries of alerts: what a person should look at, once each while it lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, case, func, null, select, update

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES
from orders_pipeline.alerts.tables import alerts
from orders_pipeline.database.engine import AccountTransaction, AnyRow

# A row of the index over the keys takes 2,704 bytes at most. The longest names an order and a package of it.
LONGEST_KEY = 300
# A few sentences. What others wrote into a message is bounded where it entered; this is the last net.
LONGEST_MESSAGE = 2_000


def subject_hash(text: str) -> str:
    """What stands in a key for a subject that is text of others: short, and telling nothing."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]


def open_alerts(tx: AccountTransaction) -> Sequence[AnyRow]:
    """Open alerts of this account and of none, worst and newest first."""
    worst = case({name: rank for rank, name in enumerate(SEVERITIES)}, value=alerts.c.severity)
    statement = (
        select(alerts)
        .where(alerts.c.account_id.in_([tx.account_id, NOBODY]), alerts.c.closed_at.is_(None))
        .order_by(worst.desc(), alerts.c.opened_at.desc())
    )
    return list(tx.execute(statement))


def claim_undelivered_alert(tx: AccountTransaction, *, lease: timedelta) -> AnyRow | None:
    """Lease one alert that nobody has been told of; None if none is due.

    The account's come first, then those of a former account or of none. One that could not be delivered waits behind
    all that were not tried yet. A lease that ends later than any can was given by a clock that was ahead.
    """
    now = func.clock_timestamp()
    due = (
        select(alerts.c.alert_id)
        .where(
            alerts.c.delivered_at.is_(None),
            alerts.c.delivery_due_at.is_(None) | ~alerts.c.delivery_due_at.between(now, now + lease),
        )
        .order_by(alerts.c.delivery_due_at.nulls_first(), alerts.c.account_id != tx.account_id, alerts.c.alert_id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = update(alerts).where(alerts.c.alert_id == due).values(delivery_due_at=now + lease).returning(alerts)
    return tx.execute(statement).one_or_none()


def mark_alert_delivered(connection: Connection, alert: AnyRow) -> None:
    """Note that people know of it as it was claimed; one that became worse meanwhile is still to be delivered."""
    connection.execute(
        update(alerts)
        .where(alerts.c.alert_id == alert.alert_id)
        .values(
            delivered_at=case((alerts.c.severity == alert.severity, func.clock_timestamp()), else_=null()),
            delivery_due_at=null(),
        )
    )


def put_back_undelivered_alert(connection: Connection, alert: AnyRow) -> None:
    """Give back an alert that could not be delivered: due at once, behind those that were not tried yet."""
    connection.execute(
        update(alerts).where(alerts.c.alert_id == alert.alert_id).values(delivery_due_at=func.clock_timestamp())
    )
