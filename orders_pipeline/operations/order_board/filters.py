"""What somebody wants to see of the board, checked: a filter, and a place in a column to read on from."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orders_pipeline.fulfillment import eligibility
from orders_pipeline.operations.order_board.columns import Column
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START

LONGEST_SEARCH = 100
_LONGEST_CURSOR = 600
_KEY = re.compile(r"infinity|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00")
# Every reason to hold an order, in words for who packs. docs/runbook.md, "Holds", says what ends it.
HOLD_WORDS: dict[str, str] = {
    eligibility.BUYER_ASKS_TO_CANCEL: "the buyer asks to cancel",
    eligibility.NO_ADDRESS: "no address yet",
    eligibility.LABEL_BOUGHT_AT_AMAZON: "its label is bought at Amazon",
    eligibility.PICKED_UP_IN_STORE: "picked up in a store",
    eligibility.TRANSPARENCY_CODES: "needs Transparency codes",
    eligibility.REGULATED: "regulated, not approved yet",
    eligibility.DOSAGE_LABEL: "needs a dosage label",
    eligibility.NO_SKU: "an item without a SKU",
    eligibility.UNKNOWN_STATUS: "a state of Amazon's that is not known here",
    eligibility.UNKNOWN_FULFILLER: "not known who ships it",
    eligibility.UNKNOWN_MARKETPLACE: "Amazon names no marketplace",
    eligibility.MARKETPLACE_NOT_CONFIGURED: "a marketplace that is not configured",
    eligibility.CANCELLATION_ANNOUNCED: "a cancellation was announced",
    PURCHASED_BEFORE_START: "bought before the start: to be adopted",
}


class Fulfillment(StrEnum):
    """Who ships: the merchant (MFN) or Amazon (AFN)."""

    MFN = "MFN"
    AFN = "AFN"


class Needs(StrEnum):
    """What an order lacks. TRACKING: MFN, open at Amazon, which has not been shown every package."""

    TRACKING = "tracking"


class BadParameter(Exception):
    """A parameter cannot be used: the message says which, why, and what is allowed. It quotes no more than a piece."""


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Empty means everything. `account_ids` are those that are looked at, never none."""

    account_ids: tuple[str, ...]
    fulfillment: Fulfillment | None = None
    needs: Needs | None = None
    marketplace_id: str | None = None
    hold: str | None = None
    search: str | None = None

    @property
    def is_narrow(self) -> bool:
        return any((self.fulfillment, self.needs, self.marketplace_id, self.hold, self.search))


@dataclass(frozen=True, slots=True)
class Place:
    """After which order of a column one reads on. `key` is its sort key as PostgreSQL writes it, in UTC."""

    column: Column
    key: str
    account_id: str
    order_id: str

    def cursor(self) -> str:
        """The place as one opaque word."""
        content = json.dumps([self.column, self.key, self.account_id, self.order_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def read_place(cursor: str) -> Place:
    """The place that a cursor names. Raises BadParameter."""
    no_cursor = BadParameter("cursor is none of ours: leave it out, or give `next_cursor` as it was returned")
    try:
        padded = cursor[:_LONGEST_CURSOR] + "=" * (-len(cursor) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        column, key, account_id, order_id = content
        is_text = all(isinstance(part, str) and "\0" not in part for part in content)
        # A time that is none, such as a 31st of June, is refused here and not by the database.
        is_key = is_text and bool(_KEY.fullmatch(key)) and (key == "infinity" or datetime.fromisoformat(key))
        place = Place(Column(column), key, account_id, order_id) if is_key else None
    except (ValueError, TypeError):
        raise no_cursor from None
    if place is None:
        raise no_cursor
    return place


def read_filter(
    given: Mapping[str, str], *, account_ids: Collection[str], marketplace_ids: Collection[str]
) -> OrderFilter:
    """The filter of a request's parameters; an empty value is none. Raises BadParameter."""
    account = _one_of("account", given, sorted(account_ids))
    search = " ".join(given.get("q", "").split())
    if len(search) > LONGEST_SEARCH or not search.isprintable():
        raise BadParameter(
            f"q has at most {LONGEST_SEARCH} printable characters: an order id, a SKU, a tracking number"
        )
    fulfillment = _one_of("fulfillment", given, list(Fulfillment))
    needs = _one_of("needs", given, list(Needs))
    return OrderFilter(
        account_ids=(account,) if account else tuple(account_ids),
        fulfillment=Fulfillment(fulfillment) if fulfillment else None,
        needs=Needs(needs) if needs else None,
        marketplace_id=_one_of("marketplace", given, sorted(marketplace_ids)),
        hold=_one_of("hold", given, sorted(HOLD_WORDS)),
        search=search or None,
    )


def _one_of(name: str, given: Mapping[str, str], allowed: Collection[str]) -> str | None:
    value = given.get(name, "")
    if value and value not in allowed:
        raise BadParameter(f"{name} is {_shown(value)}: use one of {', '.join(allowed)}, or leave it out")
    return value or None


def _shown(value: str) -> str:
    return repr(value[:40]) + ("…" if len(value) > 40 else "")
