"""The warehouse, whichever it is: what we ask of it and what it answers.

`docs/warehouse-adapters.md` is the guide for who brings their own; `wms/conformance/` tries an adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.model.state_machine import DescribedWord
from orders_pipeline.model.webhook import WebhookRefusal


class Capability(DescribedWord):
    """What not every warehouse can be asked by a program. What is missing is never called: a person is asked."""

    HOLD = "hold", "hold an order, and release it again"
    CANCEL = "cancel", "cancel an order"
    ERASE_PII = "erase_pii", "erase what it holds of a buyer"
    WEBHOOKS = "webhooks", "push its shipment events to us, signed"
    ACKNOWLEDGE = "acknowledge", "be told which events we have"
    STOCK = "stock", "say what lies where"


# Without these an alert asks a person; without the others there is only less to know, or later.
ASKED_OF_A_PERSON = (Capability.HOLD, Capability.CANCEL, Capability.ERASE_PII)


class WarehouseError(Exception):
    """The warehouse did not do what was asked. `code` is its word; its message is dropped, for it may echo a name."""

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class WarehouseUnavailable(WarehouseError):
    """429, 5xx, a connection error or a time-out. After a write the outcome is unknown: find first, then repeat."""


class WarehouseUnauthorized(WarehouseError):
    """401: the token is wrong. Nothing can be pushed until WMS_TOKEN is set right."""


class WarehouseForbidden(WarehouseError):
    """403: the token lacks a right, or a firewall dislikes this one request."""


class WarehouseRefused(WarehouseError):
    """The request itself is refused (other 4xx). Repeating it cannot succeed."""


class NotCapable(WarehouseRefused):
    """It was asked for what its `capabilities` do not name. No call was made: the caller is to ask a person."""

    def __init__(self, capability: Capability) -> None:
        super().__init__(f"This warehouse cannot be asked for this: its adapter does not declare {capability}.")


class WebhookRefused(Exception):
    """A call that claims to be the warehouse's webhook and is not to be believed, or not to be read.

    `reason` is one word of ours, never the caller's text.
    """

    def __init__(self, reason: WebhookRefusal) -> None:
        self.reason = WebhookRefusal(reason)
        super().__init__(f"The webhook is refused: {self.reason.meaning}")


@dataclass(frozen=True, slots=True)
class FulfillmentLine:
    line_ref: str
    sku: str | None
    quantity: int
    title: str | None = None
    gift_message: PersonalText | None = None
    customization_url: PersonalText | None = None


@dataclass(frozen=True, slots=True)
class FulfillmentOrder:
    """What the warehouse is asked to ship: the contract's "Fulfillment order", times aware, UTC."""

    order_ref: str
    seller_id: str
    marketplace_id: str | None
    purchased_at: datetime | None
    ship_by: datetime | None
    deliver_by: datetime | None
    service_level: str | None
    is_prime: bool
    is_business: bool
    ship_to: Address
    lines: tuple[FulfillmentLine, ...]

    def wire(self) -> dict[str, object]:
        """The JSON object of the contract, in clear: for the request's body and its fingerprint, nowhere else."""
        return {
            "order_ref": self.order_ref,
            "channel": "amazon",
            "seller_id": self.seller_id,
            "marketplace_id": self.marketplace_id,
            "purchased_at": _wire_time(self.purchased_at),
            "ship_by": _wire_time(self.ship_by),
            "deliver_by": _wire_time(self.deliver_by),
            "service_level": self.service_level,
            "is_prime": self.is_prime,
            "is_business": self.is_business,
            "ship_to": self.ship_to.plain(),
            "lines": [
                {
                    "line_ref": line.line_ref,
                    "sku": line.sku,
                    "quantity": line.quantity,
                    "title": line.title,
                    "gift_message": _plain(line.gift_message),
                    "customization_url": _plain(line.customization_url),
                }
                for line in self.lines
            ],
        }


PushAnswer = Literal["accepted", "duplicate", "conflict", "shipped", "cancelled", "refused"]
CancelAnswer = Literal["cancelled", "partial", "pending", "too_late", "not_found"]
HoldAnswer = Literal["done", "too_late", "not_found"]


@dataclass(frozen=True, slots=True)
class PushResult:
    """`accepted`, or `duplicate` where an earlier push had arrived: it is there, once, with this content.

    The others are permanent; `code` says why.
    """

    answer: PushAnswer
    wms_id: str | None = None
    code: str | None = None

    @property
    def is_there(self) -> bool:
        """The warehouse has the order with the content that was sent."""
        return self.answer in ("accepted", "duplicate")


@dataclass(frozen=True, slots=True)
class WarehouseOrder:
    """`status`: accepted, held, packing, partially_shipped, shipped or cancelled; others are taken for accepted."""

    wms_id: str | None
    status: str


@dataclass(frozen=True, slots=True)
class ShipmentEvent:
    """What happened to a package. `kind` (shipped, voided, short, cancelled) is open; `lines`: (line_ref, quantity)."""

    event_id: str
    kind: str
    order_ref: str
    package_id: str | None
    carrier: str | None
    service: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ShipmentPage:
    """Events in the order in which they happened. `unreadable` counts entries that had no event id or order.

    `cursor_unreadable`: there was a next cursor, and it is none that could be sent back.
    """

    events: tuple[ShipmentEvent, ...]
    next_cursor: str | None
    unreadable: int = 0
    cursor_unreadable: bool = False


@dataclass(frozen=True, slots=True)
class StockLevel:
    """Pieces of a SKU at one place of the warehouse. `available`: on hand, and not promised to an order."""

    sku: str
    location: str
    on_hand: int
    available: int


@dataclass(frozen=True, slots=True)
class StockPage:
    """`next_cursor` is None with the last page."""

    levels: tuple[StockLevel, ...]
    next_cursor: str | None


class WarehousePort(Protocol):
    """Every call is bounded in time and may raise WarehouseError. Asking twice for the same is safe."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be asked; the call of one that is missing is never made."""
        ...

    def push(self, order: FulfillmentOrder) -> PushResult:
        """After WarehouseUnavailable the outcome is unknown: the caller looks by `find` before it repeats."""
        ...

    def find(self, order_ref: str) -> WarehouseOrder | None: ...

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        """Only with HOLD, as `release`."""
        ...

    def release(self, order_ref: str, reason: str) -> HoldAnswer: ...

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        """Only with CANCEL."""
        ...

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        """The events after this cursor (None: from the first), in the order in which they happened."""
        ...

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ShipmentPage:
        """The same events as `poll` gives, without a cursor. Only with WEBHOOKS. Raises WebhookRefused.

        `now` is aware, and is what the call's own time is compared with; header names are in any case.
        """
        ...

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        """These events are committed here. Only with ACKNOWLEDGE; one that fails or is repeated does no harm.

        What `poll` could not read has no id to be named by: the adapter itself takes it off the warehouse's list.
        """
        ...

    def erase_pii(self, order_ref: str) -> bool:
        """True when the warehouse holds nothing of the buyer any more: erased now, or not known there.

        Only with ERASE_PII.
        """
        ...

    def read_stock(self, cursor: str | None, limit: int) -> StockPage:
        """Only with STOCK."""
        ...

    def close(self) -> None: ...


def _plain(value: PersonalText | None) -> str | None:
    return value.plain() if value is not None else None


def _wire_time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value is not None else None
