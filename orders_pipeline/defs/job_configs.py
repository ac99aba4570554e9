"""What a person may give to a job that they start: described, with defaults, and no free text.

Run configuration is kept in Dagster's database in clear, and a text that a person types could hold a buyer's name: it
takes words of a list, numbers, and order ids. Nothing here validates an id: an error would repeat what was typed.
"""

from enum import Enum

import dagster as dg
from pydantic import Field

from orders_pipeline.fulfillment.eligibility import (
    BUYER_ASKS_TO_CANCEL,
    DOSAGE_LABEL,
    REGULATED,
    TRANSPARENCY_CODES,
)


def _one_of(words: type[Enum]) -> str:
    """What Dagster's own error about a wrong word leaves out."""
    return f"One of: {', '.join(word.name for word in words)}."


_ORDER_ID = "Amazon's order id, such as 902-1845936-5435065, and nothing else."


class ParkedStage(Enum):
    """Where an order was set aside."""

    ANY = "any"
    EVENTS = "events"
    FETCH = "fetch"
    DECIDE = "decide"
    PUSH = "push"
    CONFIRM = "confirm"
    ERASE = "erase"
    DELIVERY = "delivery"
    REPORT = "report"


class ReplayConfig(dg.Config):
    """Which orders get another chance: the named ones, or all that are parked, everywhere or in one stage."""

    order_ids: list[str] = Field(
        [], description="Amazon's order ids of the orders to replay. Empty: all that are parked in `stage`."
    )
    stage: ParkedStage = Field(
        ParkedStage.ANY, description=f"Without order ids: where they were set aside. {_one_of(ParkedStage)}"
    )


class RecoverConfig(dg.Config):
    """The order to fetch and bring into line, known or not."""

    order_id: str = Field(description=_ORDER_ID)


class AdoptConfig(dg.Config):
    """Which orders from before the start are ours to ship from now on: the named ones, or all that wait."""

    order_ids: list[str] = Field([], description="Amazon's order ids of the orders to adopt.")
    everything: bool = Field(False, description="Instead of order ids: all orders that wait for it, of every account.")
    dry_run: bool = Field(True, description="Only count them. `false` adopts them: the warehouse is told to ship them.")


class HoldReason(Enum):
    """The reasons to wait that a person may waive (fulfillment.eligibility.WAIVABLE)."""

    BUYER_ASKS_TO_CANCEL = BUYER_ASKS_TO_CANCEL
    TRANSPARENCY_CODES = TRANSPARENCY_CODES
    REGULATED = REGULATED
    DOSAGE_LABEL = DOSAGE_LABEL


class WaivedBecause(Enum):
    """Why a person decided so: the word that the audit log keeps."""

    BUYER_WITHDREW = "buyer_withdrew_the_request"
    CODES_ARE_ATTACHED = "codes_are_attached"
    CHECKED_BY_US = "checked_by_us"
    ALREADY_PACKED = "already_packed"
    DECIDED_BY_MISTAKE = "decided_by_mistake"


class WaiveConfig(dg.Config):
    """Which order ships in spite of which reasons to wait, and why. No reasons: the decision is taken back."""

    order_id: str = Field(description=_ORDER_ID)
    reasons: list[HoldReason] = Field(
        description="The reasons to waive; the table `waiting` of `order_board` shows them. []: take it back. "
        f"{_one_of(HoldReason)}"
    )
    why: WaivedBecause = Field(description=f"The word that the audit log keeps. {_one_of(WaivedBecause)}")
    ticket: int | None = Field(None, description="The number of the ticket in which the story stands, if there is one.")


class RequestedBy(Enum):
    """Whose request it is."""

    BUYER = "buyer"
    AMAZON = "amazon"
    SELLER = "seller"


class EraseConfig(dg.Config):
    """Whose data to erase: one order's. A whole seller's is for the command line alone (`erase --seller`)."""

    order_id: str = Field(description=f"{_ORDER_ID} Its buyer is forgotten at once, and nothing brings the data back.")
    requested_by: RequestedBy = Field(description=f"Who asked for it. {_one_of(RequestedBy)}")


class ErasedByHandConfig(dg.Config):
    """The order whose buyer the warehouse has erased, because a person had it done."""

    order_id: str = Field(description=f"{_ORDER_ID} Only once the warehouse has erased it: this ends the alert.")
