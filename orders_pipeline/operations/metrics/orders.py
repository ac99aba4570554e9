"""Orders and packages that are on their way, by state.

Those that are over are not counted: they are all that there ever were, and the histograms' counts say how many came to
each end. `order_board` counts them all, hourly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.model.order import AMAZON, MERCHANT, SHIPPED_STATUSES, UNKNOWN_FULFILLER, OrderStatus
from orders_pipeline.model.states import UNCONFIRMED, FulfillmentState
from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded, new_words, summed
from orders_pipeline.orders.ownership import IS_LATE

# What is over. A status that we do not know counts among those that are not.
OVER = tuple(sorted({*SHIPPED_STATUSES, OrderStatus.CANCELLED}))
KNOWN_STATUSES = frozenset(value for name, value in vars(OrderStatus).items() if name.isupper())
KNOWN_FULFILLERS = frozenset({MERCHANT, AMAZON, UNKNOWN_FULFILLER})
# A state that holds more shows this number: to read more would cost every scrape too much.
COUNTED_AT_MOST = 100_000
# Amazon has eight statuses and three fulfillers.
PAIRS_AT_MOST = 100
OPEN_STATES = [
    str(state) for state in FulfillmentState if state not in (FulfillmentState.CLOSED, FulfillmentState.CANCELLED)
]

ORDERS = Family(
    "orders_pipeline_orders",
    "gauge",
    "Orders that are neither shipped nor cancelled, by Amazon's status.",
    ("account", "status", "fulfilled_by"),
)
ORDERS_AGE = Family(
    "orders_pipeline_orders_oldest_age_seconds",
    "gauge",
    "How long ago the oldest of them became known.",
    ("account", "status", "fulfilled_by"),
)
PAST_SHIP_BY = Family(
    "orders_pipeline_orders_past_ship_by",
    "gauge",
    "Orders that we ship whose ship-by time has passed and that Amazon does not show as shipped.",
    ("account",),
)
FULFILLMENT = Family(
    "orders_pipeline_fulfillment_orders",
    "gauge",
    "Fulfillment orders by state, but for those that are closed or cancelled.",
    ("account", "state"),
)
FULFILLMENT_AGE = Family(
    "orders_pipeline_fulfillment_orders_oldest_age_seconds",
    "gauge",
    "How long the one that changed longest ago has been in this state.",
    ("account", "state"),
)
HELD = Family(
    "orders_pipeline_orders_held", "gauge", "Orders that wait, by the reason; one may have several.",
    ("account", "reason"),
)  # fmt: skip
PACKAGES = Family(
    "orders_pipeline_packages",
    "gauge",
    "Packages that left and that Amazon has not shown yet, by state.",
    ("account", "state"),
)
PACKAGES_AGE = Family(
    "orders_pipeline_packages_oldest_age_seconds",
    "gauge",
    "How long the one that changed longest ago has been in this state.",
    ("account", "state"),
)
EVENTS = Family(
    "orders_pipeline_order_events_pending",
    "gauge",
    "Order events that no order has taken in; those of a backfill and those set aside do not count.",
    ("account",),
)
EVENTS_AGE = Family(
    "orders_pipeline_order_events_oldest_age_seconds",
    "gauge",
    "How long ago the oldest of them came; 0 where there is none.",
    ("account",),
)
PARKED_EVENTS = Family(
    "orders_pipeline_order_events_parked", "gauge", "Order events that were set aside.", ("account",)
)

# The statuses that there are, by a look into the index for each; then the orders of those that are not over.
_ORDERS = text(f"""
    with recursive pair as (
      (select status, fulfilled_by from pipeline.orders where account_id = :account_id
       order by status, fulfilled_by limit 1)
      union all
      select after.status, after.fulfilled_by from pair cross join lateral (
        select o.status, o.fulfilled_by from pipeline.orders o where o.account_id = :account_id
        and (o.status, o.fulfilled_by) > (pair.status, pair.fulfilled_by)
        order by o.status, o.fulfilled_by limit 1) as after)
    select open.status, open.fulfilled_by, of_it.orders, of_it.late,
      extract(epoch from statement_timestamp() - of_it.oldest)::float as age
    from (select * from pair limit :pairs) as open cross join lateral (
      select count(*) as orders, count(*) filter (where is_late) as late, min(first_seen_at) as oldest
      from (select {IS_LATE} as is_late, first_seen_at from pipeline.orders o where o.account_id = :account_id
        and o.status = open.status and o.fulfilled_by = open.fulfilled_by limit :at_most) as counted) as of_it
    where open.status <> all(:over)
""")  # noqa: S608  # our own constant
_FULFILLMENT = text("""
    select state, of_it.orders, extract(epoch from statement_timestamp() - of_it.oldest)::float as age
    from unnest(cast(:states as text[])) as state cross join lateral (
      select count(*) as orders, min(changed_at) as oldest from (
        select changed_at from pipeline.fulfillment_orders q where q.account_id = :account_id and q.state = state.state
        limit :at_most) as counted) as of_it
""")
_HELD = text("""
    select reason, count(*) as orders from (
      select hold_reasons from pipeline.fulfillment_orders where account_id = :account_id and state = :held
      limit :at_most) as held cross join unnest(hold_reasons) as reason group by reason
""")
_PACKAGES = text("""
    select state, of_it.packages, extract(epoch from statement_timestamp() - of_it.oldest)::float as age
    from unnest(cast(:states as text[])) as state cross join lateral (
      select count(*) as packages, min(changed_at) as oldest from (
        select changed_at from pipeline.shipment_confirmations c where c.account_id = :account_id
        and c.state = state.state and c.state not in ('confirmed', 'replaced') limit :at_most) as counted) as of_it
""")
_EVENTS = text("""
    select (select count(*) from (select from pipeline.order_events where account_id = :account_id
        and processed_at is null and source <> 'backfill' and parked_at is null limit :at_most) as counted) as pending,
      (select count(*) from (select from pipeline.order_events where account_id = :account_id
        and parked_at is not null limit :at_most) as counted) as parked,
      coalesce((select extract(epoch from statement_timestamp() - received_at) from pipeline.order_events
        where account_id = :account_id and processed_at is null and source <> 'backfill' and parked_at is null
        order by event_id limit 1), 0)::float as age
""")


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    for account_id in account_ids:
        values: dict[str, object] = {"account_id": account_id, "at_most": COUNTED_AT_MOST}
        yield from _orders(connection, values)
        for row in connection.execute(_FULFILLMENT, {**values, "states": OPEN_STATES}):
            yield Sample(FULFILLMENT, (account_id, row.state), row.orders)
            yield Sample(FULFILLMENT_AGE, (account_id, row.state), row.age or 0.0)
        for row in connection.execute(_HELD, {**values, "held": str(FulfillmentState.HELD)}):
            yield Sample(HELD, (account_id, row.reason), row.orders)
        for row in connection.execute(_PACKAGES, {**values, "states": [str(state) for state in UNCONFIRMED]}):
            yield Sample(PACKAGES, (account_id, row.state), row.packages)
            yield Sample(PACKAGES_AGE, (account_id, row.state), row.age or 0.0)
        events = connection.execute(_EVENTS, values).one()
        yield Sample(EVENTS, (account_id,), events.pending)
        yield Sample(EVENTS_AGE, (account_id,), events.age)
        yield Sample(PARKED_EVENTS, (account_id,), events.parked)


def _orders(connection: Connection, values: dict[str, object]) -> Iterator[Sample]:
    rows = connection.execute(_ORDERS, {**values, "pairs": PAIRS_AT_MOST, "over": list(OVER)}).all()
    account_id, late, found = str(values["account_id"]), 0, list[Sample]()
    statuses = new_words((row.status for row in rows), KNOWN_STATUSES)
    fulfillers = new_words((row.fulfilled_by for row in rows), KNOWN_FULFILLERS)
    for row in rows:
        labels = (
            account_id,
            bounded(row.status, KNOWN_STATUSES, statuses),
            bounded(row.fulfilled_by, KNOWN_FULFILLERS, fulfillers),
        )
        found += [Sample(ORDERS, labels, row.orders), Sample(ORDERS_AGE, labels, row.age or 0.0)]
        late += row.late
    yield from summed(found)
    yield Sample(PAST_SHIP_BY, (account_id,), late)


GROUP = Group(
    "orders",
    (
        ORDERS, ORDERS_AGE, PAST_SHIP_BY, FULFILLMENT, FULFILLMENT_AGE, HELD, PACKAGES, PACKAGES_AGE, EVENTS,
        EVENTS_AGE, PARKED_EVENTS,
    ),
    _read,
)  # fmt: skip
