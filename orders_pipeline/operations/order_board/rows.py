"""Queries of the board: how many orders are in each column, and pages of them by the place where the last one ended.

Each page is read in the order of an index, account by account, and merged: its cost is that of its rows, however many
orders there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.operations.order_board.attention import (
    ATTENTION_IDS,
    NEEDS,
    PACKAGE_NEEDS,
    PACKAGE_PROBLEM,
    TOLD,
    UNCONFIRMED_STATES,
)
from orders_pipeline.operations.order_board.cards import Card, Line
from orders_pipeline.operations.order_board.columns import COLUMNS, Column, ColumnRule
from orders_pipeline.operations.order_board.filters import Needs, OrderFilter, Place

# Of an order with more, the card says how many there are.
LINES_OF_A_CARD = 5
_FULFILLERS = {"MFN": "MERCHANT", "AFN": "AMAZON"}

# Its braces are filled twice: here, and with a column's direction.
_CARDS = f""", {TOLD}
select o.account_id, o.order_id, p.board_key::text as key, o.marketplace_id, o.status, o.fulfilled_by, o.programs,
  o.purchased_at, o.first_seen_at, o.last_updated_at, o.ship_by, o.deliver_by, o.delivered_at, o.other_marketplace,
  coalesce(o.ship_by < statement_timestamp(), false) as is_overdue, f.state,
  coalesce(f.hold_reasons, '{{{{}}}}') as hold_reasons, i.lines, coalesce(i.items, 0) as items,
  coalesce(i.quantity, 0) as quantity, coalesce(c.packages, 0) as packages, coalesce(c.unconfirmed, 0) as unconfirmed,
  coalesce(c.problems, '{{{{}}}}') as problems, m.claimed_by, m.claimed_at,
  {NEEDS.replace("{", "{{").replace("}", "}}")} || coalesce(c.needs, '{{{{}}}}') as needs,
  coalesce(z.is_parked, false) as is_parked
from page p
join pipeline.orders o on o.account_id = p.account_id and o.order_id = p.order_id
left join pipeline.fulfillment_orders f on f.account_id = o.account_id and f.order_id = o.order_id
left join pipeline.wms_orders w on w.account_id = o.account_id and w.order_id = o.order_id
left join told on told.account_id = o.account_id and told.order_id = o.order_id
left join pipeline.order_claims m on m.account_id = o.account_id and m.order_id = o.order_id
left join lateral (
  select true as is_parked from pipeline.jobs j
  where j.account_id = o.account_id and j.queue in ('fetch', 'decide', 'push', 'verify', 'erase', 'delivery')
    and j.subject = o.order_id and j.parked_at is not null
  union all
  select true from pipeline.shipment_confirmations s join pipeline.jobs j on j.account_id = s.account_id
    and j.queue = 'confirm' and j.subject = s.order_id || ':' || s.package_id
  where s.account_id = o.account_id and s.order_id = o.order_id and j.parked_at is not null
  union all
  select true from pipeline.order_events e
  where e.account_id = o.account_id and e.order_id = o.order_id and e.parked_at is not null limit 1) z on true
left join lateral (
  select count(*) filter (where t.counts) as items, sum(t.quantity_ordered) filter (where not t.cancelled) as quantity,
    (array_agg(json_build_array(left(t.sku, 200), t.asin, t.quantity_ordered, left(t.title, 300)) order by t.position)
      filter (where t.counts))[1:{{lines}}] as lines
  from (
    -- What is cancelled is not to be packed. Where all of it is, it says what the order was of.
    select n.*, not n.cancelled or bool_and(n.cancelled) over () as counts from pipeline.order_items n
    where n.account_id = o.account_id and n.order_id = o.order_id) t) i on true
left join lateral (
  select count(*) filter (where c.state not in ('voided', 'awaits_replacement', 'replaced')) as packages,
    count(*) filter (where c.state in ({UNCONFIRMED_STATES})) as unconfirmed,
    array_agg(distinct c.state) filter (where {PACKAGE_PROBLEM}) as problems,
    array_remove(array_agg(distinct {PACKAGE_NEEDS}), null) as needs
  from pipeline.shipment_confirmations c where c.account_id = o.account_id and c.order_id = o.order_id) c on true
order by p.board_key {{direction}}, p.account_id {{direction}}, p.order_id {{direction}}
"""  # noqa: S608  # our own constants
_PAGE = """
with page as materialized (
  select one.account_id, one.order_id, one.board_key
  from unnest(cast(:accounts as text[])) as a(account_id)
  cross join lateral (
    select o.account_id, o.order_id, {key} as board_key
    from {source} {join}
    where o.account_id = a.account_id and {condition}
    order by {key} {direction}, o.order_id {direction} limit :limit) one
  order by one.board_key {direction}, one.account_id {direction}, one.order_id {direction} limit :limit)
"""
_COUNT = """
select count(*) from (
  select from unnest(cast(:accounts as text[])) as a(account_id)
  cross join lateral (
    select from {source} {join} where o.account_id = a.account_id and {condition} {order} limit :limit) one
  limit :limit) counted
"""
# Found by an index each, whatever was typed: a whole order id, its last block, a SKU, an ASIN, a tracking number.
_SEARCH_IDS = """
  select n.order_id from pipeline.orders n where n.account_id = a.account_id and n.order_id = :search
  union all
  select n.order_id from pipeline.orders n
  where n.account_id = a.account_id and right(n.order_id, 7) = :search
  union all
  select t.order_id from pipeline.order_items t where t.account_id = a.account_id and lower(t.sku) = lower(:search)
  union all
  select t.order_id from pipeline.order_items t where t.account_id = a.account_id and t.asin = upper(:search)
  union all
  select s.order_id from pipeline.shipment_confirmations s
  where s.account_id = a.account_id and s.tracking_number is not null
    and upper(s.tracking_number) in (upper(:search), upper(replace(:search, ' ', '')))
"""
# Orders by their ids, one by one: how many there are the planner cannot know, and reading all orders is never cheaper.
# Of a SKU with more orders these are some, except in the columns of what is open: there each order is asked.
IDS_AT_MOST = 20_000
_ASKED_EACH = (Column.PENDING, Column.UNSHIPPED, Column.OTHER)
_BY_IDS = """
(select distinct order_id from ({ids} limit :ids_at_most) ids) found cross join lateral (
  select * from pipeline.orders x where x.account_id = a.account_id and x.order_id = found.order_id offset 0) o
"""
_HAS_MORE_IDS = text(f"""
select count(*) > :ids_at_most from (
  select from unnest(cast(:accounts as text[])) as a(account_id)
  cross join lateral (select from ({_SEARCH_IDS}) ids limit :ids_at_most + 1) one limit :ids_at_most + 1) found
""")  # noqa: S608  # our own constants
# What has so many orders is a SKU or an ASIN: no order id and no tracking number.
_IS_OF_ITEM = """exists (
  select from pipeline.order_items t where t.account_id = o.account_id and t.order_id = o.order_id
    and (lower(t.sku) = lower(:search) or t.asin = upper(:search)))"""
# Of few orders, one by one; of all that are open, as the planner likes.
_BY_ORDER = """left join lateral (
  select x.state from pipeline.fulfillment_orders x
  where x.account_id = o.account_id and x.order_id = o.order_id offset 0) q on true"""
_ALL_OPEN = "left join pipeline.fulfillment_orders q on q.account_id = o.account_id and q.order_id = o.order_id"
_ONE = """with page as materialized (
  select o.account_id, o.order_id, o.first_seen_at as board_key from pipeline.orders o
  where o.account_id = :account_id and o.order_id = :order_id)
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Cards of one column, in its order. `next` is where to read on; None at the end."""

    cards: tuple[Card, ...]
    next: Place | None


def count_orders(connection: Connection, column: Column, chosen: OrderFilter, *, ids_at_most: int = IDS_AT_MOST) -> int:
    """How many orders of the column pass the filter, counted to `countable` and one more."""
    if _is_empty(column, chosen):
        return 0
    rule = COLUMNS[column]
    parts = _parts(connection, column, chosen, ids_at_most)
    # Of what is over only some are counted: in the order of their index, no more than these are read.
    order = f"order by {rule.key} desc" if rule.newest_first else ""
    statement = _COUNT.format(**parts.sql, order=order)
    return connection.execute(text(statement), {**parts.values, "limit": rule.countable + 1}).scalar_one()


def read_page(
    connection: Connection,
    column: Column,
    chosen: OrderFilter,
    *,
    limit: int,
    after: Place | None = None,
    until: Place | None = None,
    ids_at_most: int = IDS_AT_MOST,
) -> Page:
    """At most `limit` cards after a place and, with `until`, up to and with that place."""
    if _is_empty(column, chosen):
        return Page((), None)
    rule = COLUMNS[column]
    parts = _parts(connection, column, chosen, ids_at_most)
    for name, place, comparison, least in (("after", after, ">", ">="), ("until", until, "<=", "<=")):
        if place is not None:
            parts.conditions.append(_bound(rule.key, name, comparison, least, newest_first=rule.newest_first))
            parts.values |= {
                f"{name}_key": place.key,
                f"{name}_account": place.account_id,
                f"{name}_order": place.order_id,
            }
    direction = _direction(rule)
    statement = _PAGE.format(**parts.sql, key=rule.key, direction=direction) + _CARDS.format(
        direction=direction, lines=LINES_OF_A_CARD
    )
    rows = connection.execute(text(statement), {**parts.values, "limit": limit + 1}).all()
    cards = tuple(_card(row) for row in rows[:limit])
    return Page(cards, place_of(column, cards[-1]) if len(rows) > limit else None)


def read_card(connection: Connection, account_id: str, order_id: str) -> Card | None:
    """One order, whatever its column."""
    statement = _ONE + _CARDS.format(direction="asc", lines=LINES_OF_A_CARD)
    row = connection.execute(text(statement), {"account_id": account_id, "order_id": order_id}).one_or_none()
    return None if row is None else _card(row)


def place_of(column: Column, card: Card) -> Place:
    return Place(column, card.key, card.account_id, card.order_id)


@dataclass
class _Parts:
    """Of a query of one column: where its orders come from, what they have to be like, and the values."""

    conditions: list[str]
    values: dict[str, Any]
    source: str = "pipeline.orders o"
    join: str = ""

    @property
    def sql(self) -> dict[str, str]:
        return {"source": self.source, "join": self.join, "condition": " and ".join(self.conditions)}


def _is_empty(column: Column, chosen: OrderFilter) -> bool:
    """Whether no order of this column can pass: what has left needs no tracking number."""
    return chosen.needs is Needs.TRACKING and column not in (Column.UNSHIPPED, Column.ATTENTION)


def _direction(rule: ColumnRule) -> str:
    return "desc" if rule.newest_first else "asc"


def _parts(connection: Connection, column: Column, chosen: OrderFilter, ids_at_most: int) -> _Parts:
    conditions = [COLUMNS[column].condition]
    values: dict[str, Any] = {"accounts": list(chosen.account_ids), "ids_at_most": ids_at_most}
    parts = _Parts(conditions, values)
    if column is Column.ATTENTION and chosen.search is None:
        parts = _Parts(conditions, values, _BY_IDS.format(ids=ATTENTION_IDS))
        conditions[:] = ["true"]
    if chosen.fulfillment is not None:
        conditions.append("o.fulfilled_by = :fulfilled_by")
        values["fulfilled_by"] = _FULFILLERS[chosen.fulfillment]
    if chosen.marketplace_id is not None:
        conditions.append("o.marketplace_id = :marketplace_id")
        values["marketplace_id"] = chosen.marketplace_id
    if chosen.hold is not None:
        conditions.append(
            "o.order_id in (select h.order_id from pipeline.fulfillment_orders h where h.account_id = a.account_id "
            "and h.state in ('held', 'hold_asked', 'holding') and :hold = any(h.hold_reasons))"
        )
        values["hold"] = chosen.hold
    if chosen.needs is Needs.TRACKING:
        parts.join = _BY_ORDER if column is Column.ATTENTION else _ALL_OPEN
        conditions.append(
            "o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and o.fulfilled_by = 'MERCHANT' "
            "and not o.other_marketplace "
            "and coalesce(q.state, '') not in ('closed', 'cancel_asked', 'cancelled') "
            "and (coalesce(q.state, '') <> 'shipped' or exists (select from pipeline.shipment_confirmations u "
            f"where u.account_id = o.account_id and u.order_id = o.order_id and u.state in ({UNCONFIRMED_STATES})))"
        )
    if chosen.search is not None:
        values["search"] = chosen.search
        if column in _ASKED_EACH and connection.execute(_HAS_MORE_IDS, values).scalar_one():
            conditions.append(_IS_OF_ITEM)
        else:
            parts.source = _BY_IDS.format(ids=_SEARCH_IDS)
    return parts


def _bound(key: str, name: str, comparison: str, least: str, *, newest_first: bool) -> str:
    """An order before or after a place; the first part is what an index is entered by."""
    if newest_first:
        comparison, least = comparison.translate(_TURNED), least.translate(_TURNED)
    at = f"cast(:{name}_key as timestamptz)"
    place = f"({at}, cast(:{name}_account as text), cast(:{name}_order as text))"
    return f"{key} {least} {at} and ({key}, o.account_id, o.order_id) {comparison} {place}"


_TURNED = str.maketrans("<>", "><")


def _card(row: AnyRow) -> Card:
    lines: Sequence[tuple[str | None, str | None, int, str | None]] = row.lines or ()
    return Card(
        account_id=row.account_id,
        order_id=row.order_id,
        key=row.key,
        marketplace_id=row.marketplace_id,
        status=row.status,
        fulfilled_by=row.fulfilled_by,
        programs=tuple(row.programs),
        purchased_at=row.purchased_at,
        first_seen_at=row.first_seen_at,
        last_updated_at=row.last_updated_at,
        ship_by=row.ship_by,
        deliver_by=row.deliver_by,
        delivered_at=row.delivered_at,
        other_marketplace=row.other_marketplace,
        state=row.state,
        hold_reasons=tuple(row.hold_reasons),
        items=tuple(Line(sku, asin, quantity, title) for sku, asin, quantity, title in lines),
        item_count=row.items,
        quantity=row.quantity,
        packages=row.packages,
        unconfirmed=row.unconfirmed,
        problems=tuple(row.problems),
        needs=tuple(row.needs),
        is_parked=row.is_parked,
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        is_overdue=row.is_overdue,
    )
