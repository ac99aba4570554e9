"""The alerts about packages, as queries over their state and over what the warehouse reported."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import TextClause, text

from orders_pipeline.alerts.kinds import AlertKind, Severity
from orders_pipeline.model.order import OrderStatus
from orders_pipeline.model.states import UNCONFIRMED, PackageState
from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.jobs import WAREHOUSE as WAREHOUSE_DEPENDENCY

_OVER = (OrderStatus.SHIPPED, OrderStatus.INVOICE_UNCONFIRMED, OrderStatus.CANCELLED, OrderStatus.UNFULFILLABLE)
CONFIRM, WAREHOUSE = "Confirm", "What the warehouse writes"


def _query(statement: str, **values: Any) -> TextClause:
    bound = {"over": [str(status) for status in _OVER]} if ":over" in statement else {}
    return text(statement).bindparams(**bound, **values)


# --- packages, by their state


def _of_state(name: str, severity: Severity, message: str, action: str, condition: str, section: str) -> AlertKind:
    return AlertKind(
        name=name,
        severity=severity,
        query=_query(f"""
select c.order_id || ':' || c.package_id as subject, c.order_id, c.package_reference_id as package,
  coalesce(c.reason, 'no reason was given') as reason, c.confirmations, c.changed_at
from pipeline.shipment_confirmations c where c.account_id = :account_id and {condition}"""),  # noqa: S608
        message=message,
        action=action,
        runbook=section,
    )


NEEDS_CORRECTION = _of_state(
    "package.needs_correction",
    "error",
    "A package of order {order_id} cannot be confirmed: {reason}.",
    "Have the warehouse report it again with what is missing; confirm it by hand if the ship-by time is near.",
    "c.state = 'needs_correction'",
    CONFIRM,
)
REFUSED = _of_state(
    "package.refused",
    "error",
    "Package {package} of order {order_id} was refused: {reason}",
    "Correct it in Seller Central before the ship-by time, or mend the cause and replay it.",
    "c.state = 'refused'",
    CONFIRM,
)
DROPPED = _of_state(
    "package.dropped",
    "error",
    "Package {package} of order {order_id} was accepted {confirmations} times and is not shown: Amazon drops it.",
    "Check the carrier's code (carriers.csv); then confirm it by hand.",
    "c.state = 'dropped'",
    CONFIRM,
)
# A confirmation takes a minute; with less than this to go a person can still act. A package of a cancelled order is
# another alert.
LATE_BEFORE_SHIP_BY = timedelta(hours=4)
LATE = AlertKind(
    name="package.late",
    severity="error",
    query=_query(
        """
        select c.order_id || ':' || c.package_id as subject, c.order_id, c.package_reference_id as package,
          to_char(c.ship_by at time zone 'utc', 'YYYY-MM-DD HH24:MI') as ship_by, c.state
        from pipeline.shipment_confirmations c
        where c.account_id = :account_id and c.state = any(:unconfirmed)
          and c.ship_by < clock_timestamp() + :before
        order by c.ship_by, c.order_id
        """,
        unconfirmed=[str(state) for state in UNCONFIRMED if state is not PackageState.BLOCKED],
        before=LATE_BEFORE_SHIP_BY,
    ),
    message="Package {package} of order {order_id} left and Amazon does not show it (it is {state}); its ship-by time "
    "is {ship_by} UTC.",
    action="Look at the package on the order board and at what is parked; if the time is short, confirm it in Seller "
    "Central.",
    runbook=CONFIRM,
    waits_for=lambda _: (AMAZON,),
)
# A package that was to be brought back is back after a month, or lost.
BLOCKED = _of_state(
    "package.blocked",
    "error",
    "A package of order {order_id} left, but the order is cancelled at Amazon.",
    "Have the carrier return the package; the shipment is not confirmed.",
    "c.state = 'blocked' and c.changed_at > clock_timestamp() - interval '30 days'",
    CONFIRM,
)
# Three days are long enough for somebody to have read it on the board.
BY_HAND = _of_state(
    "package.by_hand",
    "info",
    "Package {package} of order {order_id} was confirmed by someone else, under other facts than the warehouse's.",
    "Nothing, unless the tracking number at Amazon is wrong.",
    "c.state = 'by_hand' and c.changed_at > clock_timestamp() - interval '3 days'",
    CONFIRM,
)
VOIDED = _of_state(
    "package.voided",
    "error",
    "Amazon was told of a package of order {order_id} that will not travel.",
    "The package that replaces it takes its place at Amazon by itself. If none comes, correct the order in Seller "
    "Central.",
    "c.state = 'awaits_replacement' and c.changed_at > clock_timestamp() - interval '30 days'",
    WAREHOUSE,
)
# No other package of the order contains its items. Within an hour the warehouse may be packing it anew.
NOT_REPLACED = AlertKind(
    name="package.not_replaced",
    severity="error",
    query=_query("""
select c.order_id || ':' || c.package_id as subject, c.order_id from pipeline.shipment_confirmations c
join pipeline.orders o on o.account_id = c.account_id and o.order_id = c.order_id
where c.account_id = :account_id and c.state = 'voided' and c.package_reference_id is not null
  and c.changed_at < clock_timestamp() - interval '1 hour' and o.status <> all(:over)
  and exists (
    select from pipeline.order_items i
    where i.account_id = c.account_id and i.order_id = c.order_id and not i.cancelled
      and exists (select from jsonb_array_elements(c.lines) l where l->>'line_ref' = i.order_item_id)
      and i.quantity_ordered > (
        select coalesce(sum((l->>'quantity')::integer), 0)
        from pipeline.shipment_confirmations d cross join jsonb_array_elements(d.lines) l
        where d.account_id = c.account_id and d.order_id = c.order_id
          and d.state not in ('voided', 'awaits_replacement', 'replaced') and l->>'line_ref' = i.order_item_id))
order by c.order_id, c.package_id
"""),
    message="The warehouse voided a package of order {order_id} before Amazon was told of it, more than an hour ago, "
    "and has reported none in its place.",
    action="Ask the warehouse what leaves instead, and when: the ship-by time goes on.",
    runbook=WAREHOUSE,
)
# One alert a carrier; for a month after its packages were confirmed as `Other`.
CARRIER_UNKNOWN = AlertKind(
    name="carrier.unknown",
    severity="warning",
    query=_query("""
with found as (
  select lower(coalesce(carrier, 'none')) as name, min(coalesce(carrier, 'none')) as carrier,
    bool_or(state = 'awaits_carrier') as waits
  from pipeline.shipment_confirmations
  where account_id = :account_id and carrier_mapped is false
    and state not in ('voided', 'awaits_replacement', 'replaced', 'not_needed')
    and (confirmed_at is null or confirmed_at > statement_timestamp() - interval '30 days')
  group by 1)
select left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 32) as subject, carrier,
  case when waits then 'error' else 'warning' end as severity,
  case when waits then 'packages wait for it.'
       else 'its packages are confirmed as Other, by name.' end as consequence
from found
"""),
    message="Carrier {carrier} has no code at Amazon: {consequence}",
    action="Add it to carriers.csv in the data folder; its packages are then sent or edited.",
    runbook=CONFIRM,
    is_cause=True,
)
CARRIER_FILE = AlertKind(
    name="carriers.file",
    severity="error",
    query=text("select path as subject, problem from pipeline.carrier_files where problem is not null"),
    message="{problem}",
    action="Mend the file; the next run reads it, and packages that went out as 'Other' are edited.",
    runbook=WAREHOUSE,
    per_account=False,
)

# --- what the warehouse reported, by the result of its events


def _of_events(name: str, message: str, action: str, condition: str, *, severity: Severity = "error") -> AlertKind:
    """One alert a package. Its order is not over, or the event is of these days."""
    return AlertKind(
        name=name,
        severity=severity,
        query=_query(f"""
select distinct s.order_id || ':' || s.package_id as subject, s.order_id from pipeline.wms_shipments s
left join pipeline.orders o on o.account_id = s.account_id and o.order_id = s.order_id
where s.account_id = :account_id and s.package_id is not null and {condition}"""),  # noqa: S608
        message=message,
        action=action,
        runbook=WAREHOUSE,
    )


# No later report of the package that says which label travels.
_LAST_WORD = """
  not exists (select from pipeline.wms_shipments later
    where later.account_id = s.account_id and later.order_id = s.order_id and later.package_id = s.package_id
      and later.sequence > s.sequence and (later.kind = 'voided' and later.result <> 'duplicate'
        or later.result in ('relabelled', 'earlier_label', 'other_label')))"""
_READ_OR_OPEN = "(o.status <> all(:over) or s.received_at > clock_timestamp() - interval '3 days')"

VOID_UNCLEAR = _of_events(
    "package.void_unclear",
    "The warehouse voided a label of a package of order {order_id} without its tracking number, and it has reported "
    "several. The one that it reported last stays.",
    "Ask the warehouse which label travels. If none does, have it void that one by its number, before the package is "
    "confirmed.",
    f"s.result = 'voided_label_unknown' and {_READ_OR_OPEN} and {_LAST_WORD}",
)
EARLIER_LABEL = _of_events(
    "package.earlier_label",
    "A package of order {order_id} goes out under a label of before: the newer one was voided, and that one never was.",
    "Ask the warehouse whether the package travels with it. If not, have the warehouse void it.",
    f"s.result = 'earlier_label' and {_READ_OR_OPEN} and {_LAST_WORD}",
    severity="warning",
)
# Its report gives it a reference id.
UNKNOWN_PACKAGE = _of_events(
    "package.unknown",
    "The warehouse voided a package of order {order_id} that it had never reported.",
    "Ask the warehouse what left.",
    """s.result = 'unknown_package' and o.status <> all(:over) and not exists (
    select from pipeline.shipment_confirmations c where c.account_id = s.account_id and c.order_id = s.order_id
      and c.package_id = s.package_id and c.package_reference_id is not null)""",
)


def _of_orders(
    name: str, message: str, action: str, condition: str, more: str = "'' as error", *, section: str = WAREHOUSE
) -> AlertKind:
    """One alert an order."""
    return AlertKind(
        name=name,
        severity="error",
        query=_query(f"""
select s.order_id as subject, s.order_id, {more} from pipeline.wms_shipments s
left join pipeline.orders o on o.account_id = s.account_id and o.order_id = s.order_id
where s.account_id = :account_id and {condition} group by s.order_id"""),  # noqa: S608
        message=message,
        action=action,
        runbook=section,
    )


EVENT_DEFECT = _of_orders(
    "package.event_defect",
    "What the warehouse reported of a package of order {order_id} met a defect of this program: {error}.",
    "Report it; it is tried again for a day. Confirm the package by hand if the ship-by time is near.",
    "s.result = 'defect' and (o.status is null or o.status <> all(:over))",
    "coalesce(max(s.error), 'it is in the log') as error",
)
UNKNOWN_ORDER = _of_orders(
    "package.unknown_order",
    "The warehouse reported a package of order {order_id}, which this pipeline does not know.",
    "Look whose order it is; run `recover_order` if it is ours.",
    "s.result = 'unknown_order' and s.received_at > clock_timestamp() - interval '30 days'",
)
SHORT = _of_orders(
    "order.short",
    "The warehouse cannot ship some items of order {order_id}.",
    "Cancel these items at Amazon (only the seller can), or have the warehouse restock.",
    "s.result = 'short' and o.status <> all(:over)",
    section=CONFIRM,
)
# Until it is pushed again.
WAREHOUSE_CANCELLED = AlertKind(
    name="order.warehouse_cancelled",
    severity="error",
    query=_query("""
select distinct s.order_id as subject, s.order_id from pipeline.wms_shipments s
join pipeline.orders o on o.account_id = s.account_id and o.order_id = s.order_id
where s.account_id = :account_id and s.result = 'cancelled' and o.status <> all(:over) and not exists (
  select from pipeline.wms_orders w where w.account_id = s.account_id and w.order_id = s.order_id
    and greatest(w.sent_at, w.accepted_at) > s.received_at)"""),
    message="The warehouse cancelled order {order_id}, which Amazon still expects.",
    action="Enter it at the warehouse again (replay), or cancel it at Amazon.",
    runbook="Push",
)
UNKNOWN_KIND = AlertKind(
    name="package.unknown_kind",
    severity="error",
    query=text("""
select '' as subject where exists (
  select from pipeline.wms_shipments
  where account_id = :account_id and result = 'unknown_kind'
    and received_at > clock_timestamp() - interval '3 days')"""),
    message="The warehouse reported an event of a kind that is not in the contract.",
    action="Look at pipeline.wms_shipments; the event is kept.",
    runbook=WAREHOUSE,
)

# --- reading the warehouse

_CURSORS = "from pipeline.wms_cursors where account_id = :account_id and"
SHIPMENTS_UNREAD = AlertKind(
    name="warehouse.shipments_unread",
    severity="error",
    query=text(f"select '' as subject, failure {_CURSORS} failure is not null"),
    message="The warehouse's shipments cannot be read. {failure}",
    action="Check the warehouse's status, WMS_BASE_URL and WMS_TOKEN (`orders-pipeline doctor`). Known packages are "
    "told to Amazon meanwhile; nobody hears of those that leave now.",
    runbook=CONFIRM,
    waits_for=lambda _: (WAREHOUSE_DEPENDENCY,),
)
UNREADABLE_EVENT = AlertKind(
    name="warehouse.unreadable_event",
    severity="error",
    query=text(f"""
        select '' as subject, unreadable_events as events
        {_CURSORS} unreadable_at > clock_timestamp() - interval '3 days'
    """),
    message="{events} shipment events of the warehouse have no id, order or lines.",
    action="Ask the warehouse; look for packages that left without being reported.",
    runbook=WAREHOUSE,
)
UNREADABLE_CURSOR = AlertKind(
    name="warehouse.unreadable_cursor",
    severity="error",
    query=text(f"select '' as subject {_CURSORS} cursor_unreadable_since is not null"),
    message="The warehouse's list of shipments has a `next_cursor` that cannot be sent back: too long, or with "
    "characters that cannot be seen.",
    action="Ask the warehouse. Until then only the events of this page are read, again and again.",
    runbook=WAREHOUSE,
)
# A warehouse tries a webhook several times. What is unsigned is anybody's, and only counted.
_MEANING = " ".join(f"when '{one}' then '{one.meaning}'" for one in WebhookRefusal)
WEBHOOKS_REFUSED = AlertKind(
    name="warehouse.webhooks_refused",
    severity="warning",
    query=text(f"""
        select '' as subject, webhooks_refused as refused, case webhook_refusal {_MEANING} end as why
        {_CURSORS} webhooks_refused >= 3 and webhook_refused_at > statement_timestamp() - interval '1 day'
    """),
    message="{refused} webhooks of the warehouse were refused, and none was taken since: {why}. Its packages are found "
    "by polling, some seconds later.",
    action="Set WMS_WEBHOOK_SECRET to what the warehouse signs with, and start the web process again; or have the "
    "warehouse send what the contract says, or nothing.",
    runbook=CONFIRM,
)

ALERTS = (
    NEEDS_CORRECTION,
    REFUSED,
    DROPPED,
    BLOCKED,
    LATE,
    BY_HAND,
    VOIDED,
    NOT_REPLACED,
    CARRIER_UNKNOWN,
    CARRIER_FILE,
    VOID_UNCLEAR,
    EARLIER_LABEL,
    UNKNOWN_PACKAGE,
    EVENT_DEFECT,
    UNKNOWN_ORDER,
    SHORT,
    WAREHOUSE_CANCELLED,
    UNKNOWN_KIND,
    SHIPMENTS_UNREAD,
    UNREADABLE_EVENT,
    UNREADABLE_CURSOR,
    WEBHOOKS_REFUSED,
)
