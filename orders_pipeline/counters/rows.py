"""Counters that never go back, whatever is purged or killed: counts of events, and of how long each took.

A latency is counted in the transaction that makes it true, so that it counts exactly once. It is an insert: no row is
shared, nothing waits. The sum of the rows is read at each scrape, so there are never many: whoever writes counts that
it has gathered makes one of many first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction, AnyRow

# Seconds. Most orders take one to ten; the long ones tell what waited for a person from what waited for us.
BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)
BEYOND = "+Inf"
# So many rows of an account are read in a millisecond.
ROWS_AT_MOST = 500
# SQS keeps a message for so long: what claims to be older has a wrong time, and would spoil every average.
LONGEST_SECONDS = 14 * 86_400


class Counted(StrEnum):
    """What is counted: how long a step of an order took, or how often something happened."""

    MESSAGE_TO_ACCEPTED = "message_to_accepted"
    SHIPPED_TO_CONFIRMED = "shipped_to_confirmed"
    CONFIRMED_TO_VERIFIED = "confirmed_to_verified"
    AMAZON_ANSWERS = "amazon_answers"


_OBSERVE = """
    insert into pipeline.counter_increments (account_id, counter, labels, count, microseconds)
    select :account_id, :counter, array[coalesce(
        (select min(bound) from unnest(cast(:bounds as integer[])) bound where bound >= seconds)::text, :beyond)],
      1, round(seconds * 1000000)
    from (select least(greatest(extract(epoch from clock_timestamp() - since), 0), :longest) as seconds
      from ({since}) as started where since is not null) as took
"""
_SINCE = text(_OBSERVE.format(since="select cast(:since as timestamptz) as since"))


def observe(tx: AccountTransaction, step: Counted, since: datetime) -> None:
    """Count that this step has come to its end now, and began at `since` (aware); by the database's clock."""
    tx.execute(_SINCE, {**_values(tx, step), "since": since})


def observe_since(
    tx: AccountTransaction, step: Counted, since: str, values: Mapping[str, object], *, change: str | None = None
) -> None:
    """The same from a query of one column, `since`; nothing is counted where it is null or there is no row.

    `change`: what is changed in the same statement, in any case; `since` sees the rows as they were before.
    """
    first = "" if change is None else f"with change as ({change})"
    tx.execute(text(first + _OBSERVE.format(since=since)), {**_values(tx, step), **values})


def _values(tx: AccountTransaction, step: Counted) -> dict[str, object]:
    return {
        "account_id": tx.account_id,
        "counter": str(step),
        "bounds": list(BOUNDS),
        "beyond": BEYOND,
        "longest": LONGEST_SECONDS,
    }


# The rows that others are still writing are not seen, and stay for the next time.
_COMPACT = text("""
    with gone as (
      delete from pipeline.counter_increments where increment_id = any(array(
        select increment_id from pipeline.counter_increments where account_id = :account_id
        and (select count(*) from pipeline.counter_increments where account_id = :account_id) > :rows_at_most
        for update skip locked))
      returning counter, labels, count, microseconds)
    insert into pipeline.counter_increments (account_id, counter, labels, count, microseconds)
    select :account_id, counter, labels, sum(count), sum(microseconds) from gone group by counter, labels
""")
_ADD = text("""
    insert into pipeline.counter_increments (account_id, counter, labels, count)
    values (:account_id, :counter, :labels, :count)
""")


def add_counts(tx: AccountTransaction, counter: Counted, counts: Mapping[tuple[str, ...], int]) -> None:
    """Add what was gathered, by its labels; and make one row of many of this account."""
    tx.execute(_COMPACT, {"account_id": tx.account_id, "rows_at_most": ROWS_AT_MOST})
    rows = [
        {"account_id": tx.account_id, "counter": counter, "labels": list(labels), "count": count}
        for labels, count in sorted(counts.items())
    ]
    if rows:
        tx.connection.execute(_ADD, rows)


def counter_totals(connection: Connection, account_ids: Sequence[str]) -> Sequence[AnyRow]:
    """(account_id, counter, labels, counted, seconds) of every counter of these accounts."""
    statement = text("""
        select account_id, counter, labels, sum(count)::bigint as counted, sum(microseconds) / 1000000.0 as seconds
        from pipeline.counter_increments where account_id = any(:account_ids)
        group by account_id, counter, labels order by account_id, counter, labels
    """)
    return connection.execute(statement, {"account_ids": list(account_ids)}).all()
