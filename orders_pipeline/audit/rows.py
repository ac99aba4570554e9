"""Queries of the audit log.

The rules themselves (numbers, hashes, what is refused) are the database's: migrations/sql/audit*.sql.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from orders_pipeline.database.locks import Lock, hold_shared

# Bounds the memory of a pass over the whole log.
FETCH_ROWS = 5_000

# The text that audit.chain() hashed, rebuilt with built-in functions only: a replaced audit.chain() cannot vouch for
# itself.
CANONICAL = """
  'audit/1,' || entry_id
  || ',' || (extract(epoch from at) * 1000000)::bigint
  || ',' || char_length(actor) || ':' || actor
  || ',' || char_length(action) || ':' || action
  || ',' || char_length(seller_id) || ':' || seller_id
  || ',' || coalesce(char_length(order_id) || ':' || order_id, '-')
  || ',' || char_length(purpose) || ':' || purpose
  || ',' || char_length(outcome) || ':' || outcome
  || ',' || char_length(detail::text) || ':' || detail::text
"""

_APPEND = text("""
    insert into audit.entries (actor, action, seller_id, order_id, purpose, outcome, detail)
    values (:actor, :action, :seller_id, :order_id, :purpose, :outcome, :detail) returning entry_id
""").bindparams(bindparam("detail", type_=JSONB))

_APPEND_MANY = text("""
    insert into audit.entries (actor, action, seller_id, order_id, purpose, outcome, detail)
    select e->>'actor', e->>'action', e->>'seller_id', e->>'order_id', e->>'purpose', e->>'outcome', e->'detail'
    from jsonb_array_elements(cast(:entries as jsonb)) with ordinality as given(e, place) order by place
""")

_APPEND_FOR_EACH = text("""
    insert into audit.entries (actor, action, seller_id, order_id, purpose, outcome, detail)
    select :actor, :action, :seller_id, case when :are_orders then subject end, :purpose, :outcome,
    cast(:detail as jsonb) || case when :are_orders then '{}' else jsonb_build_object('subject', subject) end
    from unnest(cast(:subjects as text[])) with ordinality as given(subject, place) order by place
""")


# As they were, numbers and hashes included: the trigger that sets them is off for this statement, in this transaction.
_APPEND_AS_EXPORTED = text("""
    insert into audit.entries
    (entry_id, at, actor, action, seller_id, order_id, purpose, outcome, detail, previous_hash, entry_hash)
    select (e->>'entry_id')::bigint, (e->>'at')::timestamptz, e->>'actor', e->>'action', e->>'seller_id',
    e->>'order_id', e->>'purpose', e->>'outcome', e->'detail', decode(e->>'previous_hash', 'hex'),
    decode(e->>'entry_hash', 'hex')
    from jsonb_array_elements(cast(:entries as jsonb)) with ordinality as given(e, place) order by place
""")


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One entry, as its hash saw it."""

    entry_id: int
    canonical: str
    previous_hash: bytes
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """A place in the chain: an entry's number and hash."""

    entry_id: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The newest entry that was purged, and when it had been written, as the database says."""

    end: ChainEnd
    newest_at: datetime


def append(connection: Connection, entry: Mapping[str, Any]) -> int:
    """Append one entry; its number. Holds the chain lock until the transaction ends."""
    return connection.execute(_APPEND, dict(entry)).scalar_one()


def append_many(connection: Connection, entries: Sequence[Mapping[str, Any]]) -> int:
    """Append in the order given, in one statement; how many."""
    return connection.execute(_APPEND_MANY, {"entries": json.dumps(list(entries))}).rowcount


def append_for_each(
    connection: Connection, entry: Mapping[str, Any], subjects: Sequence[str], *, are_orders: bool
) -> int:
    """Append the same entry for each subject: an order, or what goes into its detail; how many."""
    values = {**entry, "detail": json.dumps(entry["detail"]), "subjects": list(subjects), "are_orders": are_orders}
    return connection.execute(_APPEND_FOR_EACH, values).rowcount


def append_as_exported(connection: Connection, entries: Sequence[Mapping[str, Any]]) -> int:
    """Append entries that the caller has verified, as they were exported; how many. For the log's owner alone.

    Raises DBAPIError (insufficient_privilege) for every other login: PostgreSQL lets only the owner do without the
    trigger.
    """
    connection.execute(text("alter table audit.entries disable trigger chain"))
    appended = connection.execute(_APPEND_AS_EXPORTED, {"entries": json.dumps(list(entries))}).rowcount
    connection.execute(text("alter table audit.entries enable trigger chain"))
    return appended


def newest_anchor(connection: Connection) -> Anchor | None:
    """Where the log now begins, if its head was ever purged."""
    row = connection.execute(
        text("select entry_id, entry_hash, newest_at from audit.anchors order by entry_id desc limit 1")
    ).one_or_none()
    return None if row is None else Anchor(ChainEnd(row.entry_id, bytes(row.entry_hash)), row.newest_at)


def head(connection: Connection) -> ChainEnd | None:
    """The newest entry."""
    return _end(connection, "select entry_id, entry_hash from audit.entries order by entry_id desc limit 1", {})


def entry_hashes(connection: Connection, entry_ids: Sequence[int]) -> dict[int, bytes]:
    """The hashes that these entries carry, of those that are there."""
    rows = connection.execute(
        text("select entry_id, entry_hash from audit.entries where entry_id = any(:ids)"), {"ids": list(entry_ids)}
    )
    return {row.entry_id: bytes(row.entry_hash) for row in rows}


def exported_days(connection: Connection) -> set[str]:
    """The days that the log says were exported (YYYY-MM-DD). What else stands in such an entry is no day."""
    return set(
        connection.execute(
            text(
                "select distinct detail->>'day' from audit.entries where action = 'export_audit' "
                r"and detail->>'day' ~ '^\d{4}-\d{2}-\d{2}$'"
            )
        ).scalars()
    )


def mail_addresses_of_actors(connection: Connection) -> set[str]:
    """The people who acted and whose name is an e-mail address, in lower case."""
    return set(
        connection.execute(
            text("""
                select distinct lower(split_part(split_part(actor, ':', 2), '/', 1)) from audit.entries
                where actor like '%@%' and (actor like 'person:%' or actor like 'user:%')
            """)
        ).scalars()
    )


def destroyed_keys(connection: Connection, key_ids: Sequence[str]) -> set[str]:
    """Those of the key-encryption keys whose destruction is in the log: by this deployment, under any key provider."""
    return set(
        connection.execute(
            text("""
                select detail->>'key_id' from audit.entries where action = 'destroy_key' and outcome = 'done'
                and detail->>'key_id' = any(:key_ids)
            """),
            {"key_ids": list(key_ids)},
        ).scalars()
    )


def links(connection: Connection) -> Iterator[ChainLink]:
    """The chain in its order, streamed."""
    rows = connection.execute(
        text(
            f"select entry_id, {CANONICAL}, previous_hash, entry_hash from audit.entries order by entry_id"  # noqa: S608  # our own constant
        ).execution_options(yield_per=FETCH_ROWS)
    )
    for entry_id, canonical, previous_hash, entry_hash in rows:
        yield ChainLink(entry_id, canonical, bytes(previous_hash), bytes(entry_hash))


def entries_of_day(connection: Connection, day: date) -> Iterator[Mapping[str, Any]]:
    """The entries of one UTC day, in the chain's order, streamed."""
    rows = connection.execute(
        text("""
            select entry_id, at, actor, action, seller_id, order_id, purpose, outcome, detail,
            encode(previous_hash, 'hex') as previous_hash, encode(entry_hash, 'hex') as entry_hash from audit.entries
            where at >= cast(:day as timestamp) at time zone 'UTC'
            and at < (cast(:day as timestamp) + interval '1 day') at time zone 'UTC' order by entry_id
        """).execution_options(yield_per=FETCH_ROWS),
        {"day": day},
    )
    for row in rows.mappings():
        yield dict(row)


def wait_for_writers(connection: Connection) -> None:
    """Take the chain lock for a moment: who had begun to append has committed, who begins later writes later times."""
    hold_shared(connection, Lock.CHAIN)


def head_before(connection: Connection, moment: datetime) -> ChainEnd | None:
    """The newest entry from before that moment."""
    return _end(
        connection,
        "select entry_id, entry_hash from audit.entries where at < :moment order by entry_id desc limit 1",
        {"moment": moment},
    )


def purged_until(connection: Connection) -> datetime | None:
    """The time of the newest entry that was purged by age; None if nothing ever was."""
    return connection.execute(text("select max(newest_at) from audit.anchors")).scalar_one()


def count_before(connection: Connection, cutoff: datetime) -> int:
    """How many entries are older than the cutoff."""
    return connection.execute(
        text("select count(*) from audit.entries where at < :cutoff"), {"cutoff": cutoff}
    ).scalar_one()


def may_purge(connection: Connection) -> bool:
    """Whether this login has the right to purge by age."""
    return connection.execute(
        text("select has_function_privilege('audit.purge_before(timestamptz, text, bigint)', 'EXECUTE')")
    ).scalar_one()


def purge_before(connection: Connection, cutoff: datetime, actor: str, limit: int) -> int:
    """Purge at most `limit` entries older than the cutoff; how many went."""
    return connection.execute(
        text("select audit.purge_before(:cutoff, :actor, :limit)"), {"cutoff": cutoff, "actor": actor, "limit": limit}
    ).scalar_one()


def oldest_at(connection: Connection) -> datetime | None:
    """The time of the oldest entry that is there."""
    return connection.execute(text("select at from audit.entries order by entry_id limit 1")).scalar_one_or_none()


def _end(connection: Connection, statement: str, values: Mapping[str, int | datetime]) -> ChainEnd | None:
    row = connection.execute(text(statement), dict(values)).one_or_none()
    return None if row is None else ChainEnd(row[0], bytes(row[1]))
