"""One order as the board shows it, and what its facts mean for a person. No buyer's data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.model.order import AMAZON, MERCHANT
from orders_pipeline.operations.order_board.attention import NEEDS_WORDS
from orders_pipeline.operations.order_board.columns import Column, column_of
from orders_pipeline.operations.order_board.filters import HOLD_WORDS, Fulfillment

_WHERE = {
    "queued": "to be sent to the warehouse",
    "pushing": "being sent to the warehouse",
    "accepted": "at the warehouse",
    "refused": "refused by the warehouse",
    "held": "on hold, not at the warehouse",
    "hold_asked": "the warehouse is asked to hold it",
    "holding": "on hold at the warehouse",
    "release_asked": "the warehouse is asked to go on",
    "cancel_asked": "the warehouse is asked to cancel it",
    "cancelled": "cancelled at the warehouse",
    "too_late": "left, although it should not",
}
_ON_HOLD = ("held", "hold_asked", "holding")
_LEFT = ("shipped", "closed")
_PACKAGE_PROBLEMS = {
    "needs_correction": "a package has to be corrected",
    "refused": "Amazon refused a package",
    "dropped": "Amazon never showed a package",
    "blocked": "a package left, and the order is cancelled",
}


class Tone(StrEnum):
    """The kind of a card: its colour, and the word that stands beside the colour."""

    LATE = "late"
    ACTION = "action"
    AFN = "afn"
    SHIPPED = "shipped"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Line:
    """One item: what, and how many pieces."""

    sku: str | None
    asin: str | None
    quantity: int
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What is stored of one order. Times are aware, UTC. `problems` are states of its packages that need a person.

    `needs` are keys of NEEDS_WORDS.
    """

    account_id: str
    order_id: str
    key: str
    marketplace_id: str | None
    status: str
    fulfilled_by: str
    programs: tuple[str, ...]
    purchased_at: datetime | None
    first_seen_at: datetime
    last_updated_at: datetime | None
    ship_by: datetime | None
    deliver_by: datetime | None
    delivered_at: datetime | None
    other_marketplace: bool
    state: str | None
    hold_reasons: tuple[str, ...]
    items: tuple[Line, ...]
    item_count: int
    quantity: int
    packages: int
    unconfirmed: int
    problems: tuple[str, ...]
    needs: tuple[str, ...]
    is_parked: bool
    claimed_by: str | None
    claimed_at: datetime | None
    # By the database's clock, when it was read.
    is_overdue: bool

    @property
    def column(self) -> Column:
        return column_of(self.status, delivered=self.delivered_at is not None)

    @property
    def is_open(self) -> bool:
        """Whether somebody may still have to do something: not shipped, delivered or cancelled."""
        return self.column in (Column.PENDING, Column.UNSHIPPED, Column.OTHER)

    @property
    def fulfillment(self) -> Fulfillment | None:
        return {MERCHANT: Fulfillment.MFN, AMAZON: Fulfillment.AFN}.get(self.fulfilled_by)

    @property
    def marketplace(self) -> str:
        """The country of a marketplace that is known, else Amazon's id."""
        known = MARKETPLACES.get(self.marketplace_id or "")
        return known.country_code if known else self.marketplace_id or "?"

    @property
    def is_expected(self) -> bool:
        """Amazon waits for us to ship it."""
        return self.column is Column.UNSHIPPED and self.fulfilled_by == MERCHANT and not self.other_marketplace

    @property
    def is_to_ship(self) -> bool:
        """Expected, and not all of it has left."""
        return self.is_expected and (self.state or "") not in (*_LEFT, "too_late", "cancel_asked", "cancelled")

    @property
    def needs_tracking(self) -> bool:
        """Expected, and Amazon has not been shown every package of it."""
        if self.state == "shipped":
            return self.is_expected and bool(self.unconfirmed)
        return self.is_expected and (self.state or "") not in ("closed", "cancel_asked", "cancelled")

    @property
    def is_late(self) -> bool:
        """As Amazon counts: what has left is late until Amazon shows it."""
        return self.is_overdue and self.is_expected

    @property
    def is_claimable(self) -> bool:
        """Whether somebody can work on it: while it is open, or needs a person."""
        return self.is_open or bool(self.attention)

    @property
    def is_on_hold(self) -> bool:
        return self.is_open and self.state in _ON_HOLD

    @property
    def tone(self) -> Tone:
        if self.is_late:
            return Tone.LATE
        if self.column in (Column.SHIPPED, Column.DELIVERED):
            return Tone.SHIPPED
        if self.fulfilled_by == AMAZON and self.column is not Column.CANCELED:
            return Tone.AFN
        return Tone.ACTION if self.is_to_ship else Tone.QUIET

    @property
    def tone_word(self) -> str:
        """What the colour says, in a word."""
        if self.tone is Tone.LATE:
            return "Late"
        if self.state == "refused" and self.is_open:
            return "Refused"
        if self.tone is Tone.ACTION:
            return "On hold" if self.is_on_hold else "To ship"
        if self.tone is Tone.AFN and self.is_open:
            return "Amazon ships"
        if self.state in (*_LEFT, "too_late") and self.is_open:
            return "Left"
        return self.column.value.capitalize() if self.column is not Column.OTHER else "Unknown state"

    @property
    def whereabouts(self) -> str:
        """Where it is, beside what Amazon says."""
        if self.fulfilled_by == AMAZON:
            if self.column is Column.CANCELED:
                return "not shipped"
            return "in Amazon's warehouse" if self.is_open else "shipped by Amazon"
        if self.other_marketplace:
            return "of a marketplace that is not configured"
        if self.state == "shipped" and self.is_open:
            if {"needs_correction", "refused", "dropped"} & {*self.problems}:
                return "left; Amazon does not know of all of it"
            return "left; Amazon is being told" if self.unconfirmed else "left; Amazon was told"
        if self.column in (Column.SHIPPED, Column.DELIVERED):
            return "arrived" if self.delivered_at else "on its way"
        if self.state in _LEFT:
            return "done"
        return _WHERE.get(self.state or "", "with Amazon")

    @property
    def attention(self) -> tuple[str, ...]:
        """Why a person has to look at it, the worst first; nothing where it goes on by itself."""
        found: list[str] = []
        found += [words for key, words in NEEDS_WORDS.items() if key in self.needs]
        if self.state == "refused":
            found.append("the warehouse refused it")
        found += [_PACKAGE_PROBLEMS[problem] for problem in self.problems if problem in _PACKAGE_PROBLEMS]
        if self.is_parked:
            found.append("its work was set aside")
        if self.is_on_hold:
            found += [HOLD_WORDS.get(reason, reason.replace("_", " ")) for reason in self.hold_reasons]
        if self.is_late:
            found.append("its ship-by time is over")
        return tuple(found)
