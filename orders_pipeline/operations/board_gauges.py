"""What `order_board` plots: one number a name, the same names at every hour, so that each is a line on its page.

Counts of several accounts add up; of ages, latencies and used quota the worst account's is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.states import NEEDS_A_PERSON, UNCONFIRMED, FulfillmentState
from orders_pipeline.operations.board import reading
from orders_pipeline.operations.deployment import ServedAccount

# Of Amazon's canonical statuses those in which an order waits for somebody.
_OPEN_STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED")
# Of the operations whose limits hold an order up, in this order.
_OPERATIONS = ("getOrder", "searchOrders", "confirmShipment")

_COUNTS = text("""
select (select count(*) from pipeline.orders where account_id = :account_id) as orders_known,
  (select count(*) from pipeline.shipment_confirmations where account_id = :account_id
    and state = any(:needs_a_person)) as packages_that_need_a_person
""")
_BY_STATUS = text("""
select status, count(*) as orders from pipeline.orders
where account_id = :account_id and fulfilled_by = 'MERCHANT' and status = any(:statuses) group by status
""")
_BY_STATE = text("""
select state, count(*) as orders from pipeline.fulfillment_orders where account_id = :account_id group by state
""")
# Zero where nothing waits.
_AGES = text("""
select coalesce(extract(epoch from clock_timestamp() - (select min(received_at) from pipeline.order_events
    where account_id = :account_id and processed_at is null and parked_at is null)), 0) as oldest_event_seconds,
  coalesce(extract(epoch from clock_timestamp() - (select min(changed_at) from pipeline.fulfillment_orders
    where account_id = :account_id and state in ('queued', 'pushing'))), 0) as oldest_unpushed_seconds,
  coalesce(extract(epoch from clock_timestamp() - (select min(reported_at) from pipeline.shipment_confirmations
    where account_id = :account_id and state = any(:unconfirmed))), 0) as oldest_unconfirmed_seconds
""")
# Of the last hour's: from Amazon's newest message about the order to the warehouse's word, and from the warehouse's
# report of the package to Amazon's 204.
_LATENCIES = text("""
with pushed as (
  select extract(epoch from w.accepted_at - told.at) as seconds from pipeline.wms_orders w
  cross join lateral (select max(published_at) as at from pipeline.order_events e where e.account_id = w.account_id
    and e.order_id = w.order_id and e.source = 'notification' and e.received_at <= w.accepted_at) told
  where w.account_id = :account_id and w.accepted_at > clock_timestamp() - interval '1 hour'
), told as (
  select extract(epoch from sent_at - reported_at) as seconds from pipeline.shipment_confirmations
  where account_id = :account_id and sent_at > clock_timestamp() - interval '1 hour'
)
select (select percentile_cont(0.5) within group (order by seconds) from pushed) as message_to_warehouse_p50_seconds,
  (select percentile_cont(0.95) within group (order by seconds) from pushed) as message_to_warehouse_p95_seconds,
  (select percentile_cont(0.5) within group (order by seconds) from told) as package_to_amazon_p50_seconds,
  (select percentile_cont(0.95) within group (order by seconds) from told) as package_to_amazon_p95_seconds
""")


@dataclass(frozen=True, slots=True)
class Gauges:
    """One account's, or, by `together`, those of several. A latency that nothing had in the last hour is missing."""

    counts: Mapping[str, int]
    levels: Mapping[str, float]


def board_gauges(account: ServedAccount) -> Gauges:
    """Read within the time of a report. Ages and latencies are in seconds, quotas in percent of the burst."""
    limits = {one.operation: one for one in account.amazon.limits.report()}
    used = {
        f"quota_used_{name}_percent": round(100 * (1 - limits[name].tokens / limits[name].burst), 1)
        if name in limits
        else 0.0
        for name in _OPERATIONS
    }
    with reading(account) as tx:
        counts = {**_counts(tx), "amazon_calls_ever": sum(one.granted for one in limits.values())}
        return Gauges(counts, {**_levels(tx), **used})


def together(gauges: Mapping[str, Gauges]) -> Gauges:
    """Several accounts' as one."""
    each = list(gauges.values())
    counts = {name: sum(one.counts[name] for one in each) for name in (each[0].counts if each else ())}
    names = {name for one in each for name in one.levels}
    return Gauges(counts, {name: max(one.levels[name] for one in each if name in one.levels) for name in sorted(names)})


def calls_per_order(counts: Mapping[str, int], before: Mapping[str, object]) -> dict[str, float]:
    """Calls of Amazon's APIs for each order that became known since the numbers of `before`; {} where none did."""
    calls, orders = (before.get(name) for name in ("amazon_calls_ever", "orders_known"))
    if not isinstance(calls, int) or not isinstance(orders, int):
        return {}
    new_calls = counts.get("amazon_calls_ever", 0) - calls
    new_orders = counts.get("orders_known", 0) - orders
    return {"calls_per_new_order": round(new_calls / new_orders, 2)} if new_orders > 0 and new_calls >= 0 else {}


def _counts(tx: AccountTransaction) -> dict[str, int]:
    states = {row.state: int(row.orders) for row in tx.execute(_BY_STATE, {"account_id": tx.account_id})}
    by_status = tx.execute(_BY_STATUS, {"account_id": tx.account_id, "statuses": list(_OPEN_STATUSES)})
    statuses = {row.status: int(row.orders) for row in by_status}
    needed = {"account_id": tx.account_id, "needs_a_person": [str(state) for state in NEEDS_A_PERSON]}
    return {
        **{name: int(value) for name, value in tx.execute(_COUNTS, needed).mappings().one().items()},
        **{f"orders_{status.lower()}": statuses.get(status, 0) for status in _OPEN_STATUSES},
        **{f"fulfillment_{state}": states.get(state, 0) for state in FulfillmentState},
    }


def _levels(tx: AccountTransaction) -> dict[str, float]:
    values = {"account_id": tx.account_id, "unconfirmed": [str(state) for state in UNCONFIRMED]}
    found = {**tx.execute(_AGES, values).mappings().one(), **tx.execute(_LATENCIES, values).mappings().one()}
    return {name: round(float(value), 1) for name, value in found.items() if value is not None}
