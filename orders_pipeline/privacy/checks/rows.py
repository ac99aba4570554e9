"""Queries for the compliance checks: what the database itself shows, whatever the code believes.

All of it only reads, but for client secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction


@dataclass(frozen=True, slots=True)
class EvidencePage:
    """A page of a pass. `last` is where the next one begins; None: there is no next."""

    examined: int
    missing: int
    last: str | None
    broken: int = 0  # rows that the pipeline does not write so


# An entry is written before the call, and another if it failed: both carry the call's own number. Entries of releases
# before 0003 have none; then a failure that came after counts.
# A time that the retention mended says nothing of when it was: then any entry about the order counts.
_MENDED_WITHIN = "interval '10 minutes'"


def _unless_mended(column: str) -> str:
    """SQL: the time; null if the retention put it there in the place of one that was still to come."""
    return (
        f"case when not exists (select from unnest(cast(:mends as timestamptz[])) as mend "
        f"where {column} between mend - {_MENDED_WITHIN} and mend) then {column} end"
    )


_STORED = f"""
with page as (
  select subject_id as order_id, {_unless_mended("stored_at")} as at from vault.records
  where account_id = :account_id and kind = :kind and subject_id > :after order by subject_id limit :limit)
select count(*) as examined, max(order_id) as last, 0 as broken, count(*) filter (where not exists (
  select from audit.entries e where e.seller_id = :account_id and e.order_id = page.order_id
  and e.action = 'amazon_restricted_call' and e.outcome = 'requested'
  and (page.at is null or e.at between page.at - interval '1 hour' and page.at)
  and not exists (select from audit.entries f where f.seller_id = e.seller_id and f.order_id = e.order_id
    and f.action = e.action and f.outcome = 'failed' and f.entry_id > e.entry_id and f.at <= coalesce(page.at, f.at)
    and f.detail->>'call' is not distinct from e.detail->>'call'))) as missing from page
"""  # noqa: S608  # our own constants
# What was sent to the warehouse was revealed right before: the newest sending is what the row remembers. A row from
# before release 0002 remembers its first attempt only, to which its reveal can lie on either side.
# A reveal that was refused is the next entry of the same actor about the order.
# The pipeline writes no row without a content hash: one without was changed by somebody else.
_SENT = f"""
with page as (
  select order_id, {_unless_mended("sent_at")} as at, content_hash is null as no_hash from pipeline.wms_orders
  where account_id = :account_id and order_id > :after order by order_id limit :limit)
select count(*) as examined, max(order_id) as last, count(*) filter (where no_hash) as broken,
  count(*) filter (where not exists (
  select from audit.entries e where e.seller_id = :account_id and e.order_id = page.order_id
  and e.action = 'reveal' and e.outcome = 'allowed'
  and (page.at is null or e.at between page.at - interval '1 hour' and page.at)
  and not exists (select from audit.entries f where f.seller_id = e.seller_id and f.order_id = e.order_id
    and f.action = 'reveal' and f.outcome like 'refused%' and f.at <= coalesce(page.at, f.at) and f.entry_id = (
      select min(g.entry_id) from audit.entries g where g.seller_id = e.seller_id and g.order_id = e.order_id
      and g.action = 'reveal' and g.actor = e.actor and g.entry_id > e.entry_id)))) as missing from page
"""  # noqa: S608  # our own constants


def stored_without_call(
    tx: AccountTransaction, kind: str, mends: Sequence[datetime], after: str, limit: int
) -> EvidencePage:
    """Details in the vault, and how many have no restricted call that succeeded in the audit log from before.

    `mends`: see `times_of_mending`.
    """
    return _page(
        tx.connection, _STORED, limit, {"account_id": tx.account_id, "kind": kind, "mends": mends, "after": after}
    )


def sent_without_reveal(tx: AccountTransaction, mends: Sequence[datetime], after: str, limit: int) -> EvidencePage:
    """Orders that the warehouse was sent, and how many have no reveal that succeeded in the audit log from before."""
    return _page(tx.connection, _SENT, limit, {"account_id": tx.account_id, "mends": mends, "after": after})


def times_of_mending(connection: Connection) -> list[datetime]:
    """When the retention put times that were still to come in their place: seldom, or never."""
    return list(connection.execute(text("select at from audit.entries where action = 'mend_times'")).scalars())


def _page(connection: Connection, statement: str, limit: int, values: dict[str, object]) -> EvidencePage:
    row = connection.execute(text(statement), {**values, "limit": limit}).one()
    last = row.last if row.examined == limit else None
    return EvidencePage(row.examined, row.missing, last, row.broken)


# --- the audit log


@dataclass(frozen=True, slots=True)
class AuditKeeping:
    """How far the audit log reaches back, and what was purged of it.

    `wrong_anchors` counts those that stand for an entry younger than 12 months, or that say they were made later than
    now. `is_missed`: the log is empty, and there is data that it must have entries about.
    """

    oldest_at: datetime | None
    first_id: int | None
    was_purged: bool
    wrong_anchors: int
    is_missed: bool


def audit_keeping(connection: Connection) -> AuditKeeping:
    row = connection.execute(
        text("""
            select (select at from audit.entries order by entry_id limit 1),
            (select min(entry_id) from audit.entries), exists (select from audit.anchors),
            (select count(*) from audit.anchors where purged_at > clock_timestamp()
            or newest_at > purged_at - interval '12 months' or newest_at > clock_timestamp() - interval '12 months'),
            not exists (select from audit.entries) and (exists (select from vault.records)
            or exists (select from pipeline.wms_orders))
        """)
    ).one()
    return AuditKeeping(*row)


# --- TLS


def connection_is_protected(connection: Connection) -> bool:
    """Whether what this connection carries is encrypted, or never leaves the machine."""
    return connection.execute(
        text("""
            select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)
            or inet_server_addr() is null or inet_client_addr() <<= inet '127.0.0.0/8'
            or inet_client_addr() = inet '::1'
        """)
    ).scalar_one()


# --- client secrets


# --- what is looked through for leaks


def newest_records(tx: AccountTransaction, kind: str, *, since: datetime, limit: int) -> list[str]:
    """The subjects of the records that were stored since then, newest first."""
    return list(
        tx.execute(
            text("""
                select subject_id from vault.records where account_id = :account_id and kind = :kind
                and stored_at >= :since order by stored_at desc limit :limit
            """),
            {"account_id": tx.account_id, "kind": kind, "since": since, "limit": limit},
        ).scalars()
    )
