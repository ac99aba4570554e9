"""Queries of the compliance stage: what the vault holds, and what the audit log says of the last hours."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, text

from orders_pipeline.store.database import AnyRow
from orders_pipeline.store.schema import vault_records


def count_records(connection: Connection, seller_id: str, kind: str) -> int:
    """How many records of this kind the vault holds for the seller."""
    statement = (
        select(func.count())
        .select_from(vault_records)
        .where(vault_records.c.seller_id == seller_id, vault_records.c.kind == kind)
    )
    return connection.execute(statement).scalar_one()


def count_by_action(connection: Connection, seller_id: str, *, hours: int) -> Sequence[AnyRow]:
    """(action, outcome, entries, orders, newest) of the audit log's last hours, most first."""
    return list(
        connection.execute(
            text(
                "select action, outcome, count(*) as entries, count(distinct order_id) as orders, max(at) as newest "
                "from audit.entries where seller_id in (:seller_id, '*') "
                "and at > clock_timestamp() - make_interval(hours => :hours) "
                "group by action, outcome order by entries desc"
            ),
            {"seller_id": seller_id, "hours": hours},
        )
    )
