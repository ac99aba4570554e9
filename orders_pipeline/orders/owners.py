"""Whose order it is, where one warehouse ships for several accounts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction

# By each account's key: orders have no index by order id alone.
_OF_OTHERS = text("""
select o.order_id
from pipeline.account_starts s
cross join unnest(cast(:order_ids as text[])) as asked(order_id)
join pipeline.orders o on o.account_id = s.account_id and o.order_id = asked.order_id
where s.account_id <> :account_id
""")


def orders_of_others(tx: AccountTransaction, order_ids: Sequence[str]) -> set[str]:
    """Those of these orders that another account has."""
    found = tx.execute(_OF_OTHERS, {"account_id": tx.account_id, "order_ids": list(order_ids)})
    return set(found.scalars())
