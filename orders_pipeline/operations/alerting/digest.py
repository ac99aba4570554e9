"""The daily digest: what is open, what opened and closed within a day, and the day's figures. No buyer's data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from orders_pipeline.alerts.kinds import AlertKind, kind_name
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.operations.alerting.groups import Group
from orders_pipeline.operations.alerting.plan import DIGEST, Event
from orders_pipeline.operations.alerting.rows import Wanted
from orders_pipeline.operations.alerting.words import Message, Places, digest_message
from orders_pipeline.orders.ownership import IS_LATE

# A shop of millions of orders is counted within a second; a digest without figures is better than none.
LONGEST_QUERY = "5s"
GROUPS_SHOWN = 10
KINDS_SHOWN = 10


def make_digest(
    database: Database, groups: Sequence[Group], kinds: Mapping[str, AlertKind], places: Places, day: date
) -> Message:
    """The digest that is due on this day."""
    lines: list[str] = [f"Open: {_number(groups)}."]
    lines += [f"• [{one.severity}] {one.alerts[0].message}{_more(one)}" for one in groups[:GROUPS_SHOWN]]
    if len(groups) > GROUPS_SHOWN:
        lines.append(f"… and {len(groups) - GROUPS_SHOWN} more.")
    try:
        with database.begin() as connection:
            connection.execute(text(f"set local statement_timeout = '{LONGEST_QUERY}'"))
            changed = _changed(connection)
            figures = list(connection.execute(_FIGURES))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        lines.append("The figures of the day could not be counted in time.")
    else:
        lines.append(f"Opened in the last 24 hours: {_by_kind(changed, 'opened', kinds)}.")
        lines.append(f"Closed in the last 24 hours: {_by_kind(changed, 'closed', kinds)}.")
        lines += _told(figures)
    return digest_message(f"[digest] {day:%Y-%m-%d}: {_number(groups)} open", lines, places, day)


def digest_told(now: datetime) -> Wanted:
    """How a digest stands among what a channel was told."""
    return Wanted(DIGEST, str(Event.DIGEST), "info", DIGEST, 0, now)


def _number(groups: Collection[Group]) -> str:
    by_severity = Counter(one.severity for one in groups)
    parts = [
        f"{by_severity[severity]} {severity}" for severity in ("error", "warning", "info") if by_severity[severity]
    ]
    return ", ".join(parts) or "nothing"


def _more(group: Group) -> str:
    return f" ({group.count} alerts)" if group.count > 1 else ""


def _changed(connection: Connection) -> Sequence[AnyRow]:
    return list(connection.execute(_CHANGED, {"age": timedelta(hours=24)}))


def _by_kind(rows: Sequence[AnyRow], what: str, kinds: Mapping[str, AlertKind]) -> str:
    counted = Counter[str]()
    for row in rows:
        counted[kind_name(row.key, kinds)] += getattr(row, what)
    shown = [f"{number} {kind}" for kind, number in counted.most_common(KINDS_SHOWN) if number]
    more = sum(number for _, number in counted.most_common()[KINDS_SHOWN:])
    return ", ".join([*shown, *([f"{more} others"] if more else [])]) or "none"


def _told(figures: Sequence[AnyRow]) -> list[str]:
    several = len(figures) > 1
    return [
        f"{f'{row.account_id}: ' if several else ''}Orders pushed: {row.pushed}; packages confirmed: {row.confirmed}; "
        f"late now: {row.late}."
        for row in figures
    ] or ["No orders yet."]


# By key, since a storm opens fifty of one kind at most.
_CHANGED = text("""
select key, count(*) filter (where opened_at > statement_timestamp() - :age) as opened,
  count(*) filter (where closed_at > statement_timestamp() - :age) as closed
from pipeline.alerts where opened_at > statement_timestamp() - :age or closed_at > statement_timestamp() - :age
group by key
""")

_FIGURES = text(f"""
select account_id, sum(pushed)::bigint as pushed, sum(confirmed)::bigint as confirmed, sum(late)::bigint as late
from (
  select account_id, 0 as pushed, 0 as confirmed, count(*) as late from pipeline.orders o
  where {IS_LATE} group by account_id
  union all
  select account_id, count(*), 0, 0 from pipeline.wms_orders
  where accepted_at > statement_timestamp() - interval '24 hours' group by account_id
  union all
  select account_id, 0, count(*), 0 from pipeline.shipment_confirmations
  where confirmed_at > statement_timestamp() - interval '24 hours' group by account_id
  union all
  select distinct account_id, 0, 0, 0 from pipeline.work_done where account_id <> '*') each_one
group by account_id order by account_id
""")  # noqa: S608  # our own constant
