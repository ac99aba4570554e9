"""Queries of alerts: what a person should look at, once each while it lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, case, func, null, select, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES
from orders_pipeline.alerts.tables import alerts
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.model.untrusted_text import bounded_text, is_bounded

# A row of the index over the keys takes 2,704 bytes at most. The longest names an order and a package of it.
LONGEST_KEY = 300
# A few sentences. What others wrote into a message is bounded where it entered; this is the last net.
LONGEST_MESSAGE = 2_000


def raise_alert(tx: AccountTransaction, *, key: str, severity: str, message: str, what_to_do: str) -> bool:
    """Open an alert, or note that it is still so; True when it is new. `message` never holds a buyer's data.

    `key` names the subject (`push.refused:<order>`), by its id or by `subject_hash`, never by text that others wrote;
    `severity` is info, warning or error.
    """
    statement = insert(alerts).values(
        account_id=tx.account_id,
        key=_storable_key(key),
        severity=severity,
        message=bounded_text(message, LONGEST_MESSAGE) or "",
        what_to_do=bounded_text(what_to_do, LONGEST_MESSAGE) or "",
        times_seen=1,
    )
    worse = _rank(statement.excluded.severity) > _rank(alerts.c.severity)
    statement = statement.on_conflict_do_update(
        index_elements=[alerts.c.account_id, alerts.c.key],
        index_where=alerts.c.closed_at.is_(None),
        set_={
            "times_seen": alerts.c.times_seen + 1,
            "severity": statement.excluded.severity,
            # An alert whose severity rises is delivered again.
            "delivered_at": case((worse, null()), else_=alerts.c.delivered_at),
            "last_seen_at": func.clock_timestamp(),
            "message": statement.excluded.message,
            "what_to_do": statement.excluded.what_to_do,
        },
    ).returning(alerts.c.times_seen)
    return tx.execute(statement).scalar_one() == 1


def subject_hash(text: str) -> str:
    """What stands in a key for a subject that is text of others: short, and telling nothing."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]


def _storable_key(key: str) -> str:
    kind = key.partition(":")[0]
    return key if is_bounded(key, LONGEST_KEY) else f"{kind}:{subject_hash(key)}"


def _rank(severity: ColumnElement[str]) -> ColumnElement[int]:
    return case({name: rank for rank, name in enumerate(SEVERITIES)}, value=severity)


def close_alert(tx: AccountTransaction, *, key: str) -> bool:
    """Close the open alert of this key; True if there was one."""
    statement = (
        update(alerts)
        .where(alerts.c.account_id == tx.account_id, alerts.c.key == _storable_key(key), alerts.c.closed_at.is_(None))
        .values(closed_at=func.clock_timestamp())
    )
    return tx.execute(statement).rowcount > 0


def close_alerts(tx: AccountTransaction, *, keys: Sequence[str]) -> int:
    """Close the open alerts of these keys; how many there were."""
    stored = [_storable_key(key) for key in keys]
    statement = (
        update(alerts)
        .where(alerts.c.account_id == tx.account_id, alerts.c.key.in_(stored), alerts.c.closed_at.is_(None))
        .values(closed_at=func.clock_timestamp())
    )
    return tx.execute(statement).rowcount


def open_alerts(tx: AccountTransaction) -> Sequence[AnyRow]:
    """Open alerts of this account and of none, worst and newest first."""
    statement = (
        select(alerts)
        .where(alerts.c.account_id.in_([tx.account_id, NOBODY]), alerts.c.closed_at.is_(None))
        .order_by(_rank(alerts.c.severity).desc(), alerts.c.opened_at.desc())
    )
    return list(tx.execute(statement))


def open_alert_keys(tx: AccountTransaction, *, prefix: str) -> list[str]:
    """The keys of open alerts that begin so."""
    statement = select(alerts.c.key).where(
        alerts.c.account_id == tx.account_id,
        alerts.c.closed_at.is_(None),
        alerts.c.key.startswith(prefix, autoescape=True),
    )
    return list(tx.execute(statement).scalars())


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
