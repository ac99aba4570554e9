"""What people look at: where all orders are, what is late, and how far each part of the work is.

It counts whole tables, so it is for an hourly asset, and for no step that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from sqlalchemy import text

from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.fulfillment.rows import answers_by_kind, held_orders, queue_by_state
from orders_pipeline.intake.fba_shipments import fba_orders, shipments_by_status
from orders_pipeline.model.states import UNCONFIRMED
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.alerting.rows import channel_states
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.orders.event_rows import parked_messages_by_reason
from orders_pipeline.orders.ownership import IS_LATE, IS_TO_SHIP, other_marketplace_orders
from orders_pipeline.orders.rows import count_by_status
from orders_pipeline.privacy.retention.rows import count_by_action
from orders_pipeline.shipments.event_rows import shipments_by_kind
from orders_pipeline.shipments.rows import packages_by_state
from orders_pipeline.wms.port import ASKED_OF_A_PERSON, Capability

# A report that takes longer is shown as one that could not be read.
LONGEST_QUERY = "60s"
ROWS_OF_A_REPORT = 25
Rows = Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Report:
    """A table for people: its name, its columns, and how one account's rows are read. No buyer's data."""

    name: str
    columns: Sequence[str]
    read: Callable[[ServedAccount], Rows]


def _report(name: str, columns: Sequence[str], query: Callable[[AccountTransaction], Iterable[AnyRow]]) -> Report:
    """Of the query's rows, read within LONGEST_QUERY. A column is one of the query's, or `that one as this heading`."""
    cells = attrgetter(*(column.split(" as ")[0] for column in columns))

    def read(account: ServedAccount) -> Rows:
        with reading(account) as tx:
            return [cells(row) for row in query(tx)]

    return Report(name, [column.split(" as ")[-1] for column in columns], read)


@contextmanager
def reading(account: ServedAccount) -> Generator[AccountTransaction]:
    """A transaction in which no query may take longer than a report's."""
    with account.transaction() as tx:
        tx.connection.execute(text(f"set local statement_timeout = '{LONGEST_QUERY}'"))
        yield tx


def _asks(capabilities: Collection[Capability], capability: Capability) -> str:
    if capability in capabilities:
        return "the pipeline"
    return "a person (alert)" if capability in ASKED_OF_A_PERSON else "nobody"


def board_rows(tx: AccountTransaction, fulfilled_by: str = "MERCHANT") -> Sequence[AnyRow]:
    """(status, state, orders, next_ship_by, oldest), most first."""
    return list(
        tx.execute(
            text("""
                select o.status, coalesce(q.state, '-') as state, count(*) as orders, min(o.ship_by) as next_ship_by,
                clock_timestamp() - min(o.first_seen_at) as oldest
                from pipeline.orders o left join pipeline.fulfillment_orders q using (account_id, order_id)
                where o.account_id = :account_id and o.fulfilled_by = :fulfilled_by
                group by o.status, coalesce(q.state, '-') order by orders desc
            """),
            {"account_id": tx.account_id, "fulfilled_by": fulfilled_by},
        )
    )


def board_numbers(account: ServedAccount) -> Numbers:
    """What is to ship, by deadline, which packages Amazon has not shown yet, and what needs a person."""
    with reading(account) as tx:
        numbers = (
            tx.execute(
                text(f"""
                select count(*) as to_ship, count(*) filter (where {IS_LATE}) as overdue,
                count(*) filter (where ship_by between statement_timestamp()
                and statement_timestamp() + interval '4 hours')
                as due_within_4_hours,
                (select count(*) from pipeline.shipment_confirmations where account_id = :account_id and state =
                any(:unconfirmed)) as unconfirmed_packages
                from pipeline.orders o where account_id = :account_id and {IS_TO_SHIP}
            """),  # noqa: S608  # our own constants
                {"account_id": tx.account_id, "unconfirmed": [str(state) for state in UNCONFIRMED]},
            )
            .mappings()
            .one()
        )
        return {**numbers, "open_alerts": len(open_alerts(tx))}


BOARD = _report(
    "board",
    ["status as amazon_status", "state as fulfillment_state", "orders", "next_ship_by", "oldest"],
    board_rows,
)
ALERTS_OPEN = _report(
    "alerts",
    ["severity", "message as what", "what_to_do", "opened_at as since", "times_seen as times"],
    open_alerts,
)
# The same for every account: a channel is the whole deployment's.
ALERT_CHANNELS = _report(
    "alert_channels",
    ["channel", "state", "delivered_at as last_delivered", "failing_since", "failure", "waiting as messages_waiting"],
    lambda tx: channel_states(tx.connection),
)
OTHER_MARKETPLACES = _report(
    "marketplaces_not_configured",
    ["marketplace_id as marketplace", "fulfilled_by", "status", "orders", "newest"],
    other_marketplace_orders,
)
PARKED_MESSAGES = _report(
    "parked_messages", ["notification_type as type", "reason", "messages", "newest"], parked_messages_by_reason
)
ORDERS = _report(
    "orders_by_status", ["fulfilled_by", "status", "orders", "oldest_purchase", "next_ship_by"], count_by_status
)
FULFILLMENT = _report("fulfillment_by_state", ["state", "orders", "next_ship_by", "oldest"], queue_by_state)
WAITING = _report(
    "waiting",
    ["order_id as order", "state", "hold_reasons as reasons", "ship_by", "changed_at as since"],
    partial(held_orders, limit=ROWS_OF_A_REPORT),
)
ANSWERS = _report("warehouse_answers", ["answer", "answer_code as code", "orders", "newest"], answers_by_kind)
SHIPMENTS = _report("shipments_by_kind", ["kind", "result", "events", "newest"], shipments_by_kind)
CONFIRMATIONS = _report("confirmations_by_state", ["state", "packages", "next_ship_by", "oldest"], packages_by_state)
AMAZON_SHIPS = _report("by_status", ["status", "orders"], partial(board_rows, fulfilled_by="AMAZON"))
ACTIONS_OF_THE_LAST_DAY = _report(
    "by_action", ["action", "outcome", "entries", "orders", "newest"], partial(count_by_action, hours=24)
)
FBA_SHIPMENTS = _report("shipments_by_status", ["status", "shipments", "newest"], shipments_by_status)
FBA_ORDERS = _report(
    "to_be_shipped_by_amazon",
    ["order_id as order", "status", "purchased_at", "ship_by", "deliver_by", "is_late as late", "shipments"],
    partial(fba_orders, limit=ROWS_OF_A_REPORT),
)
# What the asset `fba_shipments` shows.
FBA_REPORTS = (AMAZON_SHIPS, FBA_ORDERS, FBA_SHIPMENTS)
# Amazon's limits as they stand, a row an operation.
LIMITS = Report(
    "limits",
    ["operation", "rate_per_s", "burst", "tokens", "granted", "throttled_429", "waited_s"],
    lambda account: [
        (
            one.operation, round(one.rate, 4), one.burst, round(one.tokens, 1), one.granted, one.throttled,
            round(one.waited_seconds, 1),
        )
        for one in account.amazon.limits.report()
    ],
)  # fmt: skip
# What the warehouse's adapter can ask for, and who does what it cannot.
WAREHOUSE_CAPABILITIES = Report(
    "warehouse_capabilities",
    ["capability", "meaning", "who"],
    lambda account: [(str(one), one.meaning, _asks(account.warehouse.capabilities, one)) for one in Capability],
)
# What `order_board` shows, in this order.
BOARD_REPORTS = (
    BOARD, ALERTS_OPEN, ALERT_CHANNELS, WAITING, ORDERS, FULFILLMENT, ANSWERS, SHIPMENTS, CONFIRMATIONS,
    OTHER_MARKETPLACES, PARKED_MESSAGES, LIMITS, WAREHOUSE_CAPABILITIES,
)  # fmt: skip
