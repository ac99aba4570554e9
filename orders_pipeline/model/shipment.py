"""A shipment confirmation as Amazon is told, and the port that tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ConfirmedItem:
    order_item_id: str
    quantity: int
    transparency_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShipmentConfirmation:
    """One package of one order. Sending it again under the same `package_reference_id` edits it at Amazon."""

    order_id: str
    marketplace_id: str
    package_reference_id: int
    carrier_code: str
    tracking_number: str
    shipped_at: datetime
    items: tuple[ConfirmedItem, ...]
    carrier_name: str | None = None  # required with carrier_code "Other"
    shipping_method: str | None = None
    purchased_at: datetime | None = None  # to check that shipped_at is not before it
    cash_on_delivery: bool = False  # codCollectionMethod; JP only


class ShipmentsPort(Protocol):
    """Confirms shipments at Amazon. A normal return means 204: accepted, not yet proven; read it back."""

    def confirm_shipment(self, confirmation: ShipmentConfirmation, *, deadline_seconds: float = 20.0) -> None:
        """Raises AmazonError. AmazonUnavailable leaves the outcome unknown; repeating is safe (it edits)."""
        ...
