"""The columns of the order board: which orders are in each, and in which order they are read.

A column is Amazon's state of an order in one of five words. What Amazon calls otherwise is in `other`: it is shown, and
never an error. `attention` crosses them: what needs a person, wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orders_pipeline.operations.order_board.attention import ATTENTION_IDS

# With the conditions below, word for word those of the indexes ix_orders_board_*: only so PostgreSQL uses them.
_SHIP_BY = "coalesce(o.ship_by, 'infinity'::timestamptz)"
_NEWEST = "coalesce(o.last_updated_at, o.first_seen_at)"
_LEFT = "o.status in ('SHIPPED', 'INVOICE_UNCONFIRMED')"
_KNOWN = """'PENDING', 'PENDING_AVAILABILITY', 'UNSHIPPED', 'PARTIALLY_SHIPPED', 'SHIPPED', 'INVOICE_UNCONFIRMED',
  'CANCELLED', 'UNFULFILLABLE'"""


class Column(StrEnum):
    """In the order in which they stand on the board."""

    ATTENTION = "attention"
    PENDING = "pending"
    UNSHIPPED = "unshipped"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """`condition` and `key` are SQL over `o`, a row of pipeline.orders, and `a.account_id`. `key` sorts the column.

    `countable` is how far its orders are counted: of what is over there may be a million.
    """

    title: str
    means: str
    condition: str
    key: str
    newest_first: bool = False
    countable: int = 50_000


_OVER_COUNTED = 999
COLUMNS: dict[Column, ColumnRule] = {
    Column.ATTENTION: ColumnRule(
        "Needs a person", "nothing happens to these by itself", f"o.order_id in ({ATTENTION_IDS})", _SHIP_BY
    ),
    Column.PENDING: ColumnRule(
        "Pending",
        "ordered, and not released by Amazon yet",
        "o.status in ('PENDING', 'PENDING_AVAILABILITY')",
        _SHIP_BY,
    ),
    Column.UNSHIPPED: ColumnRule(
        "Unshipped", "to be shipped, nearest ship-by first", "o.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED')", _SHIP_BY
    ),
    Column.SHIPPED: ColumnRule(
        "Shipped", "on the way, newest first", f"{_LEFT} and o.delivered_at is null", _NEWEST, True, _OVER_COUNTED
    ),
    Column.DELIVERED: ColumnRule(
        "Delivered",
        "Amazon says that it has arrived, newest first",
        f"{_LEFT} and o.delivered_at is not null",
        "o.delivered_at",
        True,
        _OVER_COUNTED,
    ),
    Column.CANCELED: ColumnRule(
        "Canceled",
        "cancelled at Amazon, newest first",
        "o.status in ('CANCELLED', 'UNFULFILLABLE')",
        _NEWEST,
        True,
        _OVER_COUNTED,
    ),
    Column.OTHER: ColumnRule(
        "Other states", "Amazon calls it something that is not known here", f"o.status not in ({_KNOWN})", _SHIP_BY
    ),
}
# Amazon's states of an order, each once: without what crosses them.
STATUS_COLUMNS = tuple(column for column in Column if column is not Column.ATTENTION)
_BY_STATUS = {
    "PENDING": Column.PENDING,
    "PENDING_AVAILABILITY": Column.PENDING,
    "UNSHIPPED": Column.UNSHIPPED,
    "PARTIALLY_SHIPPED": Column.UNSHIPPED,
    "CANCELLED": Column.CANCELED,
    "UNFULFILLABLE": Column.CANCELED,
}


def column_of(status: str, *, delivered: bool) -> Column:
    """Where an order of this status of Amazon's stands."""
    if status in ("SHIPPED", "INVOICE_UNCONFIRMED"):
        return Column.DELIVERED if delivered else Column.SHIPPED
    return _BY_STATUS.get(status, Column.OTHER)
