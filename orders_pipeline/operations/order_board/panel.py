"""All that is stored of one order, for the board's panel: items, packages, holds and what happened. No buyer's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.fulfillment.eligibility import WAIVABLE
from orders_pipeline.model.states import PackageState
from orders_pipeline.operations.order_board.cards import Card
from orders_pipeline.operations.order_board.filters import HOLD_WORDS
from orders_pipeline.operations.order_board.rows import read_card

# Of each kind, the newest: an order with more has a story that its alerts tell better.
LONGEST_HISTORY = 50
_ITEMS_AT_MOST = 200

_ITEMS = text("""
select order_item_id, left(sku, 200) as sku, asin, left(title, 300) as title, quantity_ordered, quantity_fulfilled,
  cancelled, cancellation_requested, programs
from pipeline.order_items where account_id = :account_id and order_id = :order_id order by position limit :limit
""")
_PACKAGES = text("""
select package_id, package_reference_id, state, carrier, service, carrier_code, tracking_number, shipped_at,
  confirmed_at, reason,
  (select coalesce(sum((line->>'quantity')::int), 0) from jsonb_array_elements(lines) line) as quantity
from pipeline.shipment_confirmations where account_id = :account_id and order_id = :order_id
order by reported_at, package_id limit :limit
""")
_WAIVED = text("select waived_holds from pipeline.orders where account_id = :account_id and order_id = :order_id")
# Columns of the audit log that the reader role sees: that it happened, not the reason that a person gave.
_HISTORY = text("""
select * from (
  (select received_at as at, 'Amazon' as who, concat_ws(' ', coalesce(change_type, level, 'change'), status_told)
     as what, source as how
   from pipeline.order_events where account_id = :account_id and order_id = :order_id
   order by received_at desc limit :limit)
  union all
  (select v.at, 'pipeline', v.what, v.how from pipeline.wms_orders w
   cross join lateral (values (w.first_attempt_at, 'first pushed to the warehouse', null),
     (w.accepted_at, 'accepted by the warehouse', w.wms_id),
     (w.changed_at, 'the warehouse''s last answer: ' || w.answer, w.answer_code)) v(at, what, how)
   where w.account_id = :account_id and w.order_id = :order_id and v.at is not null)
  union all
  (select received_at, 'warehouse', concat_ws(' ', kind, package_id), concat_ws(' ', carrier, tracking_number)
   from pipeline.wms_shipments where account_id = :account_id and order_id = :order_id
   order by received_at desc limit :limit)
  union all
  (select v.at, 'pipeline', v.what, c.package_id from pipeline.shipment_confirmations c
   cross join lateral (values (c.sent_at, 'package confirmed to Amazon'),
     (c.confirmed_at, 'Amazon shows the package')) v(at, what)
   where c.account_id = :account_id and c.order_id = :order_id and v.at is not null limit :limit)
  union all
  (select at, actor, action, outcome from audit.entries where seller_id = :account_id and order_id = :order_id
   order by entry_id desc limit :limit)
) happened order by at desc limit :limit
""")


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to wait. `is_waived`: a person decided to ship all the same."""

    reason: str
    words: str
    is_waivable: bool
    is_waived: bool


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of an order's history. `who` is Amazon, the warehouse, the pipeline, or an actor of the audit log."""

    at: datetime
    who: str
    what: str
    how: str


@dataclass(frozen=True, slots=True)
class OrderPanel:
    """What is known of one order. Rows as the queries name their columns."""

    card: Card
    items: tuple[AnyRow, ...]
    packages: tuple[AnyRow, ...]
    holds: tuple[Hold, ...]
    history: tuple[Happened, ...]

    @property
    def waivable(self) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.is_waivable and not hold.is_waived)

    @property
    def waived(self) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.is_waived)


def read_panel(connection: Connection, account_id: str, order_id: str) -> OrderPanel | None:
    """None for an order that is not stored."""
    card = read_card(connection, account_id, order_id)
    if card is None:
        return None
    given = {"account_id": account_id, "order_id": order_id}
    items = connection.execute(_ITEMS, {**given, "limit": _ITEMS_AT_MOST}).all()
    packages = connection.execute(_PACKAGES, {**given, "limit": LONGEST_HISTORY}).all()
    history = connection.execute(_HISTORY, {**given, "limit": LONGEST_HISTORY}).all()
    waived = connection.execute(_WAIVED, given).scalar_one()
    return OrderPanel(
        card, tuple(items), tuple(packages), _holds(card, waived), tuple(_happened(row) for row in history)
    )


def package_meaning(state: str) -> str:
    """A package's state in words; an unknown one as it is."""
    try:
        return PackageState(state).meaning
    except ValueError:
        return state


def _holds(card: Card, waived: Sequence[str]) -> tuple[Hold, ...]:
    standing = card.hold_reasons if card.is_on_hold else ()
    reasons = [*standing, *(reason for reason in waived if reason not in standing)]
    return tuple(
        Hold(reason, HOLD_WORDS.get(reason, reason.replace("_", " ")), reason in WAIVABLE, reason in waived)
        for reason in reasons
    )


def _happened(row: AnyRow) -> Happened:
    return Happened(row.at, row.who, row.what.replace("_", " "), row.how or "")
