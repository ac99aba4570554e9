"""Queries of alerts: what a person should look at, once each while it lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, case, func, select, text, update

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


def take_unlogged_alerts(connection: Connection, *, limit: int) -> Sequence[AnyRow]:
    """Note of so many alerts that the log has them, the oldest first, closed ones too; the alerts."""
    waiting = (
        select(alerts.c.alert_id)
        .where(alerts.c.delivered_at.is_(None))
        .order_by(alerts.c.alert_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    statement = (
        update(alerts)
        .where(alerts.c.alert_id == waiting.c.alert_id)
        .values(delivered_at=func.clock_timestamp())
        .returning(alerts)
    )
    return sorted(connection.execute(statement), key=lambda row: row.alert_id)


def close_alerts_of_others(connection: Connection, account_ids: Collection[str]) -> None:
    """Close what is open of every account but these: it is not evaluated any more."""
    statement = text("""
        update pipeline.alerts set closed_at = clock_timestamp()
        where closed_at is null and account_id <> all(:account_ids)
    """)
    connection.execute(statement, {"account_ids": list(account_ids)})
