"""The alerts about what Amazon tells of orders, as queries over their state."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.intake.addresses import BEFORE_SHIP_BY, PATIENCE
from orders_pipeline.intake.fba_shipments import IS_LATE
from orders_pipeline.intake.rechecks import LONGEST_DELAY
from orders_pipeline.intake.unreadable_entries import WITHOUT_ID
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.model.order import AMAZON, NOT_FOR_THE_WAREHOUSE, REGULATED_PROGRAM
from orders_pipeline.orders.event_rows import SEARCH_ENTRY
from orders_pipeline.work.jobs import NOTIFICATIONS, REGULATED_INFO

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
    where account_id = :account_id and notification_type is distinct from :search_entry
    group by reason)
select kind as subject, (array_agg(reason order by first_at desc))[1] as reason, max(first_at) as changed_at
from found where is_shown group by kind order by kind
""").bindparams(shown_for=SHOWN_FOR, search_entry=SEARCH_ENTRY),
    message="A message on the queue was set aside: {reason}.",
    action="Look at pipeline.parked_messages; the body is in the vault for two weeks. Mend the cause, then replay it. "
    "The alert ends when none of its kind has come for three days.",
    runbook=QUEUE,
    is_cause=True,
)

# Drained every minute: what this dependency refuses is tried again whatever its pause says.
QUEUE_UNAVAILABLE = AlertKind(
    name="queue.unavailable",
    severity="error",
    query=text("""
select '' as subject, reason from pipeline.paused_dependencies
where account_id = :account_id and dependency = :notifications and kind = 'refusal'
""").bindparams(notifications=NOTIFICATIONS),
    message="Notifications cannot be read: {reason}",
    action="Do what the message says. Known orders go on, and hourly sweeps find others.",
    runbook=QUEUE,
)

IDS_SHOWN = 5
# Until a whole sweep can be read.
UNREADABLE_ENTRIES = AlertKind(
    name="search.unreadable_entries",
    severity="warning",
    query=text("""
with found as (
    select entry, has_id, row_number() over (partition by has_id order by entry) as place from (
        select distinct split_part(message_id, ':', 3) as entry,
               not starts_with(split_part(message_id, ':', 3), :without_id) as has_id
        from pipeline.parked_messages
        where account_id = :account_id and notification_type = :search_entry and replayed_at is null) entries)
select '' as subject, count(*) as entries,
       coalesce(string_agg(entry, ', ' order by entry) filter (where has_id and place <= :shown), 'none has an id')
         || case when count(*) filter (where has_id) > :shown then ' and others' else '' end as named
from found having count(*) > 0
""").bindparams(search_entry=SEARCH_ENTRY, without_id=WITHOUT_ID, shown=IDS_SHOWN),
    message="{entries} entries of searches cannot be read ({named}). The rest of the pages is recorded.",
    action="Orders with an id are fetched one by one. For those without, see pipeline.parked_messages and Seller "
    "Central, and report Amazon's answer as a defect.",
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
    is_cause=True,
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
    board_filter="hold=unknown_marketplace",
)

# Of a delivery no message and no search tells: what Amazon shows as shipped is never late here.
FBA_LATE = AlertKind(
    name="fba.late",
    severity="warning",
    query=text(f"""
select order_id as subject, order_id, to_char(least(ship_by, deliver_by), 'YYYY-MM-DD HH24:MI') as promised
from pipeline.orders where account_id = :account_id and fulfilled_by = '{AMAZON}' and {IS_LATE} order by order_id
"""),  # noqa: S608  # our own constants
    message="Order {order_id}, which Amazon ships itself, should have left by {promised} UTC, and Amazon does not show "
    "it as shipped.",
    action="Look at it in Seller Central; Amazon ships, delays or cancels it by itself. FBA Onsite: see whether your "
    "own warehouse has its shipment.",
    runbook="FBA",
    board_filter="fulfillment=AFN",
)

ANSWER_OLDER = AlertKind(
    name="order.answer_older",
    severity="warning",
    query=text("""
select order_id as subject, order_id from pipeline.orders
where account_id = :account_id and answer_older_at is not null and fulfilled_by <> 'AMAZON'
  and status not in ('SHIPPED', 'INVOICE_UNCONFIRMED', 'CANCELLED') order by order_id
"""),
    message=f"A message announced a change of order {{order_id}} that Amazon does not show within "
    f"{LONGEST_DELAY.seconds // 60} minutes. The order goes on as Amazon shows it.",
    action="Compare the order in Seller Central. If it differs, run the job `recover_order`; if many orders are "
    "concerned, see who may write to the queue.",
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
    board_filter="hold=unknown_fulfiller",
)

HOLDS = "Holds"
_REGULATED = """
with regulated as (
    select order_id, verification, dosage_label, needs_review, verification_problem as problem,
           'regulated' = any(waived_holds) as is_waived, 'dosage_label' = any(waived_holds) as is_labelled
    from pipeline.orders where account_id = :account_id and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')
      and fulfilled_by <> 'AMAZON' and :regulated = any(programs))
"""
# What a person has waived is decided.
VERIFICATION = AlertKind(
    name="order.verification",
    severity="warning",
    query=text(
        _REGULATED  # noqa: S608 - our own constant
        + """, found as (
    select *, case
        when problem is not null and not is_waived then 'problem'
        when verification = 'Approved' or is_waived then case when dosage_label and not is_labelled then 'label' end
        when verification = 'Pending' then case when needs_review then 'review' end
        when verification is not null then 'refused' end as about
    from regulated)
select order_id as subject, case about when 'refused' then 'error' else 'warning' end as severity,
    case about
        when 'problem' then
          'Amazon gives no verification of order ' || order_id || ', which has regulated items: ' || problem
        when 'label' then
          'Order ' || order_id || ' is regulated, and a dosage label must go into its package.'
        when 'review' then
          'Order ' || order_id || ' has regulated items, and Amazon waits for your review of it.'
        else 'The verification of the regulated order ' || order_id || ' is ' || lower(verification)
          || ': it must not be shipped.'
    end as message,
    case about
        when 'problem' then 'Look at it in Seller Central. If it needs none, take its SKU out of '
          'AMAZON_REGULATED_SKUS, or waive `regulated` (job `waive_hold`).'
        when 'label' then 'Ship it by hand with the label, or waive `dosage_label` (job `waive_hold`) if the '
          'warehouse adds it.'
        when 'review' then
          'Approve or reject it in Seller Central before its ship-by time; it goes on by itself then.'
        else 'Cancel it in Seller Central, or have the verification set right there; it is looked at every two hours.'
    end as action
from found where about is not null order by order_id
"""
    ).bindparams(regulated=REGULATED_PROGRAM),
    message="{message}",
    action="{action}",
    runbook=HOLDS,
    board_filter="hold=regulated",
)
# Until a verification is read, or no order waits for one: none would be asked for that could succeed.
NO_VERIFICATION_ROLE = AlertKind(
    name="amazon.role:regulated_info",
    severity="error",
    query=text(
        _REGULATED
        + """
select '' as subject, reason from pipeline.paused_dependencies
where account_id = :account_id and dependency = :regulated_info and kind = 'refusal'
  and exists (select from regulated where coalesce(verification, '') <> 'Approved' and not is_waived)
"""
    ).bindparams(regulated=REGULATED_PROGRAM, regulated_info=REGULATED_INFO),
    message="Verifications of regulated orders cannot be read; these orders are held. {reason}",
    action="Add the role for regulated information in the developer profile and let the seller authorise the "
    "application again. Until then review the orders in Seller Central and waive `regulated`.",
    runbook=HOLDS,
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
    board_filter="hold=no_address",
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
    QUEUE_UNAVAILABLE,
    UNREADABLE_ENTRIES,
    GIVEN_UP,
    NOT_CONFIGURED,
    NO_MARKETPLACE,
    FBA_LATE,
    ANSWER_OLDER,
    NO_FULFILLER,
    VERIFICATION,
    NO_VERIFICATION_ROLE,
    NO_ADDRESS,
    NO_ADDRESS_ROLE,
)
