"""What people look at: where all orders are, what is late, and how far each part of the work is.

It counts whole tables, so it is for an hourly asset, and for no step that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.database.engine import AccountTransaction, AnyRow
from orders_pipeline.fulfillment.rows import answers_by_kind, held_orders, queue_by_state
from orders_pipeline.model.states import UNCONFIRMED
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.orders.event_rows import parked_messages_by_reason
from orders_pipeline.orders.ownership import other_marketplace_orders
from orders_pipeline.orders.rows import count_by_status
from orders_pipeline.privacy.retention.rows import count_by_action
from orders_pipeline.shipments.event_rows import shipments_by_kind
from orders_pipeline.shipments.rows import packages_by_state

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


def _query(rows: Callable[[AccountTransaction], Rows]) -> Callable[[ServedAccount], Rows]:
    """Read in a transaction of its own, within LONGEST_QUERY."""

    def read(account: ServedAccount) -> Rows:
        with account.transaction() as tx:
            tx.connection.execute(text(f"set local statement_timeout = '{LONGEST_QUERY}'"))
            return list(rows(tx))

    return read


@dataclass(frozen=True, slots=True)
class Board:
    """Orders that are still to ship, by deadline, and packages that Amazon has not shown yet."""

    to_ship: int
    overdue: int
    due_soon: int
    unconfirmed_packages: int


def board(tx: AccountTransaction) -> Board:
    """Counts at the database's now; "soon" is within four hours."""
    row = tx.execute(
        text("""
            select count(*) as to_ship,
            count(*) filter (where ship_by < clock_timestamp()) as overdue,
            count(*) filter (where ship_by between clock_timestamp() and clock_timestamp() + interval '4 hours')
            as due_soon,
            (select count(*) from pipeline.shipment_confirmations where account_id = :account_id and state =
            any(:unconfirmed)) as unconfirmed_packages
            from pipeline.orders where account_id = :account_id and fulfilled_by = 'MERCHANT'
            and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')
        """),
        {"account_id": tx.account_id, "unconfirmed": [str(state) for state in UNCONFIRMED]},
    ).one()
    return Board(int(row.to_ship), int(row.overdue), int(row.due_soon), int(row.unconfirmed_packages))


def board_rows(tx: AccountTransaction, fulfilled_by: str = "MERCHANT") -> Sequence[AnyRow]:
    """(status, state, orders, next_ship_by, oldest_seconds), most first."""
    return list(
        tx.execute(
            text("""
                select o.status, coalesce(q.state, '-') as state, count(*) as orders, min(o.ship_by) as next_ship_by,
                extract(epoch from clock_timestamp() - min(o.first_seen_at)) as oldest_seconds
                from pipeline.orders o left join pipeline.fulfillment_orders q using (account_id, order_id)
                where o.account_id = :account_id and o.fulfilled_by = :fulfilled_by
                group by o.status, coalesce(q.state, '-') order by orders desc
            """),
            {"account_id": tx.account_id, "fulfilled_by": fulfilled_by},
        )
    )


def board_numbers(account: ServedAccount) -> Numbers:
    """What is to ship, by deadline, and what needs a person."""
    with account.transaction() as tx:
        tx.connection.execute(text(f"set local statement_timeout = '{LONGEST_QUERY}'"))
        numbers = board(tx)
        alerts = open_alerts(tx)
    return {
        "to_ship": numbers.to_ship,
        "overdue": numbers.overdue,
        "due_within_4_hours": numbers.due_soon,
        "unconfirmed_packages": numbers.unconfirmed_packages,
        "open_alerts": len(alerts),
    }


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=float(value))


BOARD = Report(
    "board",
    ["amazon_status", "fulfillment_state", "orders", "next_ship_by", "oldest"],
    _query(
        lambda tx: [(r.status, r.state, r.orders, r.next_ship_by, _seconds(r.oldest_seconds)) for r in board_rows(tx)]
    ),
)
ALERTS_OPEN = Report(
    "alerts",
    ["severity", "what", "what_to_do", "since", "times"],
    _query(lambda tx: [(a.severity, a.message, a.what_to_do, a.opened_at, a.times_seen) for a in open_alerts(tx)]),
)
OTHER_MARKETPLACES = Report(
    "marketplaces_not_configured",
    ["marketplace", "fulfilled_by", "status", "orders", "newest"],
    _query(
        lambda tx: [
            (r.marketplace_id, r.fulfilled_by, r.status, r.orders, r.newest) for r in other_marketplace_orders(tx)
        ]
    ),
)
PARKED_MESSAGES = Report(
    "parked_messages",
    ["type", "reason", "messages", "newest"],
    _query(lambda tx: [(r.notification_type, r.reason, r.messages, r.newest) for r in parked_messages_by_reason(tx)]),
)
ORDERS = Report(
    "orders_by_status",
    ["fulfilled_by", "status", "orders", "oldest_purchase", "next_ship_by"],
    _query(
        lambda tx: [
            (r.fulfilled_by, r.status, r.orders, r.oldest_purchase, r.next_ship_by) for r in count_by_status(tx)
        ]
    ),
)
FULFILLMENT = Report(
    "fulfillment_by_state",
    ["state", "orders", "next_ship_by", "oldest"],
    _query(
        lambda tx: [(r.state, r.orders, r.next_ship_by, _seconds(r.oldest_change_seconds)) for r in queue_by_state(tx)]
    ),
)
WAITING = Report(
    "waiting",
    ["order", "state", "reasons", "ship_by", "since"],
    _query(
        lambda tx: [
            (r.order_id, r.state, r.hold_reasons, r.ship_by, r.changed_at) for r in held_orders(tx, ROWS_OF_A_REPORT)
        ]
    ),
)
ANSWERS = Report(
    "warehouse_answers",
    ["answer", "code", "orders", "newest"],
    _query(lambda tx: [(r.answer, r.answer_code, r.orders, r.newest) for r in answers_by_kind(tx)]),
)
SHIPMENTS = Report(
    "shipments_by_kind",
    ["kind", "result", "events", "newest"],
    _query(lambda tx: [(r.kind, r.result, r.events, r.newest) for r in shipments_by_kind(tx)]),
)
CONFIRMATIONS = Report(
    "confirmations_by_state",
    ["state", "packages", "next_ship_by", "oldest"],
    _query(
        lambda tx: [(r.state, r.packages, r.next_ship_by, _seconds(r.oldest_seconds)) for r in packages_by_state(tx)]
    ),
)
AMAZON_SHIPS = Report(
    "by_status",
    ["status", "orders"],
    _query(lambda tx: [(r.status, r.orders) for r in board_rows(tx, fulfilled_by="AMAZON")]),
)
ACTIONS_OF_THE_LAST_DAY = Report(
    "by_action",
    ["action", "outcome", "entries", "orders", "newest"],
    _query(lambda tx: [(r.action, r.outcome, r.entries, r.orders, r.newest) for r in count_by_action(tx, hours=24)]),
)
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
# What `order_board` shows, in this order.
BOARD_REPORTS = (
    BOARD, ALERTS_OPEN, WAITING, ORDERS, FULFILLMENT, ANSWERS, SHIPMENTS, CONFIRMATIONS, OTHER_MARKETPLACES,
    PARKED_MESSAGES, LIMITS,
)  # fmt: skip
