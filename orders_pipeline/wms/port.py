"""The warehouse, whichever it is: what we ask of it and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address


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


PushAnswer = Literal["accepted", "conflict", "shipped", "cancelled", "refused"]
CancelAnswer = Literal["cancelled", "partial", "pending", "too_late", "not_found"]
HoldAnswer = Literal["done", "too_late", "not_found"]


@dataclass(frozen=True, slots=True)
class PushResult:
    """`accepted`: it is there with this content. The others are permanent; `code` says why."""

    answer: PushAnswer
    wms_id: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class WarehouseOrder:
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


class WarehousePort(Protocol):
    """Every call is bounded in time and may raise WarehouseError. Asking twice for the same is safe."""

    def push(self, order: FulfillmentOrder) -> PushResult: ...

    def find(self, order_ref: str) -> WarehouseOrder | None: ...

    def hold(self, order_ref: str, reason: str) -> HoldAnswer: ...

    def release(self, order_ref: str, reason: str) -> HoldAnswer: ...

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer: ...

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage: ...

    def erase_pii(self, order_ref: str) -> bool:
        """True when the warehouse holds nothing of the buyer any more: erased now, or not known there."""
        ...


def _plain(value: PersonalText | None) -> str | None:
    return value.plain() if value is not None else None


def _wire_time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value is not None else None
