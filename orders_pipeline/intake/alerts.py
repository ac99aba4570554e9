"""The alerts about what Amazon tells of orders, as queries over their state."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.intake.addresses import BEFORE_SHIP_BY, PATIENCE
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.model.order import NOT_FOR_THE_WAREHOUSE

FETCH, QUEUE = "Fetch", "Intake"

EVENTS_PARKED = AlertKind(
    name="order.events_parked",
    severity="error",
    query=text("""
select order_id as subject, order_id, min(park_reason) as reason from pipeline.order_events
where account_id = :account_id and parked_at is not null group by order_id order by order_id
"""),
    message="What Amazon told of order {order_id} cannot be applied, and it is not pushed meanwhile: {reason}.",
    action="Report it as a defect; compare the order in Seller Central. The job replay_parked applies it again.",
    runbook=FETCH,
)

# Counted from here: a message that was set aside is an alert for so long, unless it is replayed.
SHOWN_FOR = timedelta(days=3)
# By kind of reason: whoever can write to the queue must not be able to open alerts without end. What is new is the
# newest reason of the kind; a search's entries have an alert of their own.
MESSAGE_PARKED = AlertKind(
    name="message.parked",
    severity="warning",
    query=text("""
with found as (
    select split_part(reason, ':', 1) as kind, reason, min(parked_at) as first_at,
           bool_or(replayed_at is null and parked_at > clock_timestamp() - cast(:shown_for as interval)) as is_shown
    from pipeline.parked_messages
    where account_id = :account_id and notification_type is distinct from 'search entry'
    group by reason)
select kind as subject, (array_agg(reason order by first_at desc))[1] as reason, max(first_at) as changed_at
from found where is_shown group by kind order by kind
""").bindparams(shown_for=SHOWN_FOR),
    message="A message on the queue was set aside: {reason}.",
    action="Look at pipeline.parked_messages; the body is in the vault for two weeks. Mend the cause, then replay it. "
    "The alert ends when none of its kind has come for three days.",
    runbook=QUEUE,
)

GIVEN_UP = AlertKind(
    name="search.given_up",
    severity="error",
    query=text("""
select window_id::text as subject, failures + outages as failures,
       coalesce(last_error, 'no reason was given') as reason,
       to_char(updated_after at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as since,
       to_char(updated_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until,
       to_char(updated_after at time zone 'UTC', 'YYYY-MM-DD') || case
           when (updated_after at time zone 'UTC')::date = (updated_before at time zone 'UTC')::date then ''
           else ', ' || to_char(updated_before at time zone 'UTC', 'YYYY-MM-DD') end as days
from pipeline.search_windows
where account_id = :account_id and given_up_at is not null and finished_at is null order by updated_after
"""),
    message="The search for changes from {since} to {until} UTC failed {failures} times and was given up: {reason}",
    action="The next window goes on. Materialize the partitions {days} of `order_events` to search it again; the alert "
    "closes when that has read it, or the sweep after one of the next midnights, which looks back over three days at "
    "most.",
    runbook=QUEUE,
)

# A marketplace that Amazon does not have was made up by somebody: one alert for all of them.
NOT_CONFIGURED = AlertKind(
    name="marketplace.not_configured",
    severity="warning",
    query=text("""
with found as (
    select marketplace_id from pipeline.orders where account_id = :account_id and other_marketplace
      and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and fulfilled_by <> 'AMAZON'
    union
    select o.marketplace_id from pipeline.fulfillment_orders q join pipeline.orders o using (account_id, order_id)
    where q.account_id = :account_id and q.state = 'held' and 'marketplace_not_configured' = any(q.hold_reasons))
select distinct coalesce(known.id, 'unknown') as subject,
       coalesce(known.id || ' (' || known.country || ')', 'that Amazon does not have') as name
from found left join unnest(cast(:ids as text[]), cast(:countries as text[])) as known(id, country)
  on known.id = found.marketplace_id
where found.marketplace_id is not null order by subject
""").bindparams(ids=list(MARKETPLACES), countries=[one.country_code for one in MARKETPLACES.values()]),
    message="Orders are to be shipped in a marketplace {name}, which is not configured. They are not fetched and not "
    "pushed.",
    action="If you ship them from here, add the marketplace to AMAZON_MARKETPLACE_ID: they come in within the hour. "
    "Otherwise nothing; `order_board` counts them.",
    runbook=FETCH,
)
NO_MARKETPLACE = AlertKind(
    name="order.no_marketplace",
    severity="error",
    query=text("""
select order_id as subject, order_id from pipeline.fulfillment_orders
where account_id = :account_id and state = 'held' and 'unknown_marketplace' = any(hold_reasons) order by order_id
"""),
    message="Amazon does not say in which marketplace order {order_id} was placed. It is held.",
    action="Look at the order in Seller Central, then run the job `recover_order`, or ship it by hand.",
    runbook=FETCH,
)

# After the last recheck (`rechecks` counts them until then); a person's `recover_order` begins anew.
NO_FULFILLER = AlertKind(
    name="order.no_fulfiller",
    severity="error",
    query=text("""
select q.order_id as subject, q.order_id from pipeline.fulfillment_orders q
join pipeline.orders o using (account_id, order_id)
where q.account_id = :account_id and q.state = 'held' and 'unknown_fulfiller' = any(q.hold_reasons)
  and o.rechecks = 0 and o.questioned_since is not null order by q.order_id
"""),
    message="Amazon does not say who ships order {order_id} (fulfilledBy is absent or unknown). It is held.",
    action="Look at the order in Seller Central, then run the job `recover_order`, or ship it by hand.",
    runbook=FETCH,
)

# So many orders whose wait is over, and nobody's address since: that is no single order's trouble.
MANY = 3
# `waiting_since`: before it was to ship, or known here, nobody waited for its address. `address_hidden`: the place is
# shown, and neither a name nor a street: so Amazon answers to who lacks the role.
_ADDRESSES = """
with waiting as materialized (
    select o.order_id, o.ship_by, o.address_hidden, greatest(o.first_seen_at, o.last_updated_at) as waiting_since
    from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id)
    where o.account_id = :account_id and o.fulfilled_by = 'MERCHANT' and o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')
      and not o.has_address and not o.programs && cast(:programs as text[])
      and q.state = 'held' and 'no_address' = any(q.hold_reasons)
      and coalesce(o.deliver_by > clock_timestamp() - interval '28 days', true)),
due as (
    select * from waiting where least(waiting_since + cast(:patience as interval),
                                      ship_by - cast(:before_ship_by as interval)) <= clock_timestamp()),
suspicious as (
    select waiting_since from waiting where address_hidden
    union all
    select waiting_since from due
    where (select count(*) from due) >= :many and not exists (select from waiting where address_hidden)),
nobodys as (
    -- Only if something is suspicious: the question for the newest address reads all orders.
    select case when exists (select from suspicious) then coalesce(
        (select max(address_at) from pipeline.orders where account_id = :account_id)
            < (select min(waiting_since) from suspicious), true) else false end as is_so)
"""
_BOUND = {
    "programs": sorted(NOT_FOR_THE_WAREHOUSE),
    "patience": PATIENCE,
    "before_ship_by": BEFORE_SHIP_BY,
    "many": MANY,
}
NO_ADDRESS = AlertKind(
    name="order.no_address",
    severity="warning",
    query=text(
        _ADDRESSES  # noqa: S608 - our own constant
        + """
select order_id as subject, order_id,
       coalesce(', and is to ship by ' || to_char(ship_by at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', '')
           as ship,
       case when ship_by - cast(:before_ship_by as interval) <= clock_timestamp() then 'error' else 'warning' end
           as severity
from due where not (select is_so from nobodys) order by order_id
"""
    ).bindparams(**_BOUND),
    message="Amazon gives no address that order {order_id} could be shipped to{ship}.",
    action="It is asked again by itself. If Seller Central shows the address, ship and confirm it by hand.",
    runbook=FETCH,
)
NO_ADDRESS_ROLE = AlertKind(
    name="amazon.role:shipping_address",
    severity="error",
    query=text(
        _ADDRESSES  # noqa: S608 - our own constant
        + "select '' as subject, count(*) as orders from waiting where (select is_so from nobodys) "
        "having count(*) > 0"
    ).bindparams(**_BOUND),
    message="Amazon shows no buyer's address of any order; {orders} wait for theirs. The application, or the seller's "
    "authorisation of it, lacks the role Direct-to-Consumer Shipping (Restricted).",
    action="Add the role in the developer profile and to the application, then let the seller authorise the "
    "application again. `orders-pipeline doctor` checks it; the orders go on by themselves within two hours, or at "
    "once by `recover_order`.",
    runbook=FETCH,
)

ALERTS = (
    EVENTS_PARKED,
    MESSAGE_PARKED,
    GIVEN_UP,
    NOT_CONFIGURED,
    NO_MARKETPLACE,
    NO_FULFILLER,
    NO_ADDRESS,
    NO_ADDRESS_ROLE,
)
