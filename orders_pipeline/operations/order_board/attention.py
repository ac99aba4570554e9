"""Which orders a person has to look at, as SQL, and why, in words: what the alerts of severity error are about.

The alerts tell of it once; here it stands until it is over. A condition is that of its alert (`fulfillment/alerts.py`,
`shipments/alerts.py`). What the warehouse reported amiss, which is rare, is taken from the open alerts themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from orders_pipeline.model.states import UNCONFIRMED, PackageState
from orders_pipeline.shipments.alerts import LATE_BEFORE_SHIP_BY

# By the key that the column `needs` of a card holds, the worst first.
NEEDS_WORDS = {
    "too_late": "it should not ship, and could not be stopped",
    "cancel_by_hand": "tell the warehouse to cancel it: its adapter cannot",
    "hold_by_hand": "tell the warehouse to hold it: its adapter cannot",
    "release_by_hand": "tell the warehouse to go on: its adapter cannot",
    "fewer_pieces": "the warehouse has more pieces than are ordered now",
    "package_late": "a package left, and Amazon does not show it in time",
    "awaits_replacement": "Amazon was told of a package that will not travel",
    "order.short": "the warehouse cannot ship all of it",
    "order.warehouse_cancelled": "the warehouse cancelled it",
    "package.not_replaced": "a package was voided, and none came in its place",
    "package.void_unclear": "it is not clear which label of a package was voided",
    "package.unknown": "a package was voided that was never reported",
    "package.event_defect": "what the warehouse reported of it met a defect",
}
_TOLD_KINDS = ", ".join(f"'{key}'" for key in NEEDS_WORDS if "." in key)


def _listed(states: Iterable[str]) -> str:
    return ", ".join(f"'{state}'" for state in states)


UNCONFIRMED_STATES = _listed(UNCONFIRMED)
# Nobody here hears that a package came back: after a month it is back, or lost.
_A_MONTH = "interval '30 days'"
# Over `f`, a row of pipeline.fulfillment_orders.
_TOO_LATE = f"f.state = 'too_late' and f.changed_at > statement_timestamp() - {_A_MONTH}"
# With `w`, its row of pipeline.wms_orders.
_BY_HAND = """f.state in ('hold_asked', 'release_asked', 'cancel_asked')
  and w.answer = replace(f.state, '_asked', '_by_hand')"""
# And `o`, its order.
_FEWER_PIECES = """o.reduced_at is not null and f.state not in ('cancelled', 'closed')
  and (w.sent_at is null or w.sent_at < o.reduced_at)"""
# Over `c`, a row of pipeline.shipment_confirmations.
_PACKAGE_LATE = f"""c.state in ({_listed(one for one in UNCONFIRMED if one is not PackageState.BLOCKED)})
  and c.ship_by < statement_timestamp() + interval '{LATE_BEFORE_SHIP_BY.total_seconds():.0f} seconds'"""
_PACKAGE_OF_A_MONTH = f"""c.state in ('blocked', 'awaits_replacement')
  and c.changed_at > statement_timestamp() - {_A_MONTH}"""
PACKAGE_PROBLEM = (
    f"(c.state in ('needs_correction', 'refused', 'dropped') or c.state = 'blocked' and {_PACKAGE_OF_A_MONTH})"
)

# Order by order: these are few, and reading all of the table is never cheaper.
_PUSHED = """(
    select * from pipeline.wms_orders x where x.account_id = f.account_id and x.order_id = f.order_id offset 0)"""
# Order ids of the account `a.account_id`, by the small indexes over what is open, held, refused or parked.
ATTENTION_IDS = f"""
  select n.order_id from pipeline.orders n
  where n.account_id = a.account_id and n.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and n.fulfilled_by = 'MERCHANT'
    and not n.other_marketplace and coalesce(n.ship_by, 'infinity'::timestamptz) < statement_timestamp()
  union all
  select f.order_id from pipeline.fulfillment_orders f
  where f.account_id = a.account_id and f.state in ('held', 'hold_asked', 'holding', 'refused')
  union all
  select f.order_id from pipeline.fulfillment_orders f where f.account_id = a.account_id and {_TOO_LATE}
  union all
  select f.order_id from pipeline.fulfillment_orders f left join lateral {_PUSHED} w on true
  where f.account_id = a.account_id and {_BY_HAND}
  union all
  select o.order_id from pipeline.orders o
  cross join lateral (
    select * from pipeline.fulfillment_orders x
    where x.account_id = o.account_id and x.order_id = o.order_id offset 0) f
  left join lateral {_PUSHED} w on true
  where o.account_id = a.account_id and {_FEWER_PIECES}
  union all
  select c.order_id from pipeline.shipment_confirmations c
  where c.account_id = a.account_id and c.state in ('needs_correction', 'refused', 'dropped')
  union all
  select c.order_id from pipeline.shipment_confirmations c where c.account_id = a.account_id and {_PACKAGE_OF_A_MONTH}
  union all
  select c.order_id from pipeline.shipment_confirmations c where c.account_id = a.account_id and {_PACKAGE_LATE}
  union all
  select split_part(t.key, ':', 2) from pipeline.alerts t
  where t.account_id = a.account_id and t.closed_at is null and split_part(t.key, ':', 1) in ({_TOLD_KINDS})
  union all
  select split_part(j.subject, ':', 1) from pipeline.jobs j
  where j.account_id = a.account_id and j.parked_at is not null and j.queue <> 'report'
  union all
  select e.order_id from pipeline.order_events e where e.account_id = a.account_id and e.parked_at is not null
"""  # noqa: S608  # our own constants
# A part of a `with`, after a part `page` of orders: the open alerts of their accounts, by order.
TOLD = f"""told as materialized (
  select t.account_id, split_part(t.key, ':', 2) as order_id, array_agg(distinct split_part(t.key, ':', 1)) as kinds
  from pipeline.alerts t
  where t.account_id in (select account_id from page) and t.closed_at is null
    and split_part(t.key, ':', 1) in ({_TOLD_KINDS})
  group by 1, 2)"""  # noqa: S608
# The keys of NEEDS_WORDS, over `o`, `f`, `w` and `told`.
NEEDS = f"""array_remove(array[
    case when {_TOO_LATE} then 'too_late' end, case when {_BY_HAND} then w.answer end,
    case when {_FEWER_PIECES} then 'fewer_pieces' end], null) || coalesce(told.kinds, '{{}}')"""
# The keys that a package gives its order, over `c`.
PACKAGE_NEEDS = f"""case when {_PACKAGE_LATE} then 'package_late'
  when c.state = 'awaits_replacement' and {_PACKAGE_OF_A_MONTH} then c.state end"""
