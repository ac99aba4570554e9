"""The alerts about orders on their way to the warehouse, as queries over their state."""

from __future__ import annotations

from sqlalchemy import text

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.fulfillment.states import ENDED
from orders_pipeline.orders.ownership import IS_LATE
from orders_pipeline.work.jobs import AMAZON, WAREHOUSE

RUNBOOK = "Push"
# The warehouse's answer to the newest push; one that it cancelled after it had accepted it is another alert.
_REFUSED = """
select q.order_id as subject, q.order_id, coalesce(w.answer_code, w.answer) as code, case w.answer
    when 'conflict' then
      'The warehouse has it with other content. Compare both; cancel it there or ship it by hand.'
    when 'shipped' then
      'The warehouse says that it shipped it already. Look for its package and confirm it.'
    when 'cancelled' then
      'The warehouse has it as cancelled. Enter it there again, or cancel it at Amazon.'
    else
      'Correct what the warehouse refuses (address, SKU), then run the job replay_parked; or cancel it at Amazon.'
  end as advice
from pipeline.fulfillment_orders q join pipeline.wms_orders w using (account_id, order_id)
where q.account_id = :account_id and q.state = 'refused' and w.answer in ('refused', 'conflict', 'shipped', 'cancelled')
order by q.ship_by, q.order_id
"""

REFUSED = AlertKind(
    name="order.refused",
    severity="error",
    query=text(_REFUSED),
    message="The warehouse does not take order {order_id}: {code}.",
    action="{advice}",
    runbook=RUNBOOK,
    board_filter="needs=tracking",
)
# Nobody here hears that a package came back: after a month it is back, or lost.
TOO_LATE = AlertKind(
    name="order.too_late",
    severity="error",
    query=text("""
        select order_id as subject, order_id from pipeline.fulfillment_orders
        where account_id = :account_id and state = 'too_late' and changed_at > clock_timestamp() - interval '30 days'
        order by order_id
    """),
    message="Order {order_id} is cancelled or held at Amazon, but the warehouse could not stop it.",
    action="Ask the carrier to return the package, or let it go and refund on its return. Do not confirm the shipment "
    "of a cancelled order.",
    runbook=RUNBOOK,
)

LATE = AlertKind(
    name="order.late",
    severity="error",
    query=text(f"""
        select o.order_id as subject, o.order_id, coalesce(q.state, 'not decided') as state,
          to_char(o.ship_by at time zone 'utc', 'YYYY-MM-DD HH24:MI') as ship_by
        from pipeline.orders o left join pipeline.fulfillment_orders q using (account_id, order_id)
        where o.account_id = :account_id and {IS_LATE}
        order by o.ship_by, o.order_id
    """),  # noqa: S608  # our own constant
    message="Order {order_id} was to be shipped by {ship_by} UTC and is not (its fulfillment order is {state}).",
    action="Ship it, or cancel it at Amazon. If it has left, look why its package is not confirmed.",
    runbook=RUNBOOK,
    board_filter="needs=tracking",
    waits_for=lambda _: (WAREHOUSE, AMAZON),
)

# Of an adapter that cannot ask for it: `fulfillment/stop.py` looks every ten minutes at most what came of it.
BY_HAND = AlertKind(
    name="order.by_hand",
    severity="error",
    query=text("""
select q.order_id as subject, q.order_id,
  case q.state when 'hold_asked' then 'hold' when 'release_asked' then 'release' else 'cancel' end as asked,
  case q.state
    when 'hold_asked' then 'Tell the warehouse to hold it; it should not ship until Amazon says more.'
    when 'release_asked' then 'If it was held by hand, tell the warehouse to go on.'
    else 'It is cancelled at Amazon: cancel it at the warehouse.'
  end as advice
from pipeline.fulfillment_orders q join pipeline.wms_orders w using (account_id, order_id)
where q.account_id = :account_id and q.state in ('hold_asked', 'release_asked', 'cancel_asked')
  and w.answer = replace(q.state, '_asked', '_by_hand')
order by q.ship_by, q.order_id
"""),
    message="The warehouse's adapter cannot {asked} orders: order {order_id} is a person's to {asked}.",
    action="{advice} The alert ends once the warehouse shows it, or the order has left.",
    runbook=RUNBOOK,
)

# Until the order is over, or is pushed anew as it is ordered by then.
FEWER_PIECES = AlertKind(
    name="order.fewer_pieces",
    severity="error",
    query=text("""
select o.order_id as subject, o.order_id, array_to_string(o.reduced_items, ', ') as items, o.reduced_at as changed_at
from pipeline.orders o join pipeline.fulfillment_orders q using (account_id, order_id)
left join pipeline.wms_orders w using (account_id, order_id)
where o.account_id = :account_id and o.reduced_at is not null and q.state <> all(:ended)
  and (w.sent_at is null or w.sent_at < o.reduced_at) order by o.order_id
""").bindparams(ended=sorted(ENDED)),
    message="Of order {order_id} the warehouse has more than is ordered: at Amazon, item {items} was cancelled, in "
    "part or all, after the push.",
    action="Tell the warehouse not to ship these pieces.",
    runbook="Fetch",
)

ALERTS = (REFUSED, TOO_LATE, BY_HAND, LATE, FEWER_PIECES)
