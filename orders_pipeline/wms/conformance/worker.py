"""Who makes the warehouse act while it is tried: packs, ships, voids, runs short, restarts.

For a warehouse of your own: a class on `Worker` that answers what can be done there, by a test system's API or by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orders_pipeline.model.shipping_details import Address
from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance.ends import NotPossible


class Worker:
    """Each call may raise NotPossible: then what needs it is not tried, and the report says why.

    Pieces are given by SKU: a warehouse need not know our line references. Nothing is shipped unless it is said here.
    """

    def skus(self) -> Sequence[str]:
        """Three SKUs that the warehouse knows, with a hundred free pieces each."""
        raise NotPossible("the worker names no SKUs")

    def unknown_sku(self) -> str:
        """One that the warehouse does not know."""
        return "NO-SUCH-SKU-7731"

    def orders(self, order_ref: str) -> Sequence[Mapping[str, int]]:
        """Every order under this reference that has been shipped or may be, as pieces by SKU."""
        raise NotPossible("the worker cannot look up orders")

    def start_packing(self, order_ref: str) -> None:
        raise NotPossible("the worker cannot start to pack")

    def ship(
        self, order_ref: str, lines: Mapping[str, int] | None = None, *, carrier: str, tracking_number: str
    ) -> None:
        """A package leaves with these pieces, or with all that is open."""
        raise NotPossible("the worker cannot ship")

    def ship_split(self, order_ref: str, parcels: Sequence[tuple[Mapping[str, int], str]], *, carrier: str) -> None:
        """All of the order leaves, in several packages: the pieces and the tracking number of each."""
        for lines, tracking_number in parcels:
            self.ship(order_ref, lines, carrier=carrier, tracking_number=tracking_number)

    def ship_together(self, order_refs: Sequence[str], *, carrier: str, tracking_number: str) -> None:
        """One box leaves with all of these orders."""
        raise NotPossible("the warehouse puts no two orders into one box")

    def void(self, order_ref: str) -> None:
        """The order's newest package will not travel."""
        raise NotPossible("the warehouse voids no packages")

    def replace(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        """Another package leaves in the voided one's place."""
        self.ship(order_ref, carrier=carrier, tracking_number=tracking_number)

    def relabel(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        """The order's newest package, which has left, gets another label; nothing is voided."""
        raise NotPossible("the warehouse gives no package another label")

    def ship_again(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        """The voided package leaves after all: the same box under a new label."""
        raise NotPossible("the warehouse ships no voided package again")

    def ship_short(
        self,
        order_ref: str,
        lines: Mapping[str, int],
        missing: Mapping[str, int],
        *,
        carrier: str,
        tracking_number: str,
    ) -> None:
        """A package leaves with these pieces; the missing ones cannot be found and will not come."""
        raise NotPossible("the worker cannot run short")

    def cancel(self, order_ref: str) -> None:
        """The warehouse itself cancels the order: nothing of it was asked for."""
        raise NotPossible("the warehouse cancels nothing by itself")

    def repeat_event(self, order_ref: str) -> None:
        """The warehouse delivers the order's newest event once more."""
        raise NotPossible("the warehouse delivers no event twice")

    def report(self, order_ref: str, **fields: object) -> None:
        """Have the warehouse report a package of the order with these fields in place of its own (kind, carrier,
        service, tracking_number, shipped_at as text, lines as `{line_ref, quantity}`)."""
        raise NotPossible("the worker cannot write an event")

    def refused_address(self) -> Address:
        """An address that the warehouse refuses."""
        raise NotPossible("the warehouse refuses no address")

    def finds(self, texts: Sequence[str]) -> Sequence[str]:
        """Those of these texts that are anywhere in the warehouse's data: its database, its files."""
        raise NotPossible("the worker cannot look into the warehouse's data")

    def restart(self) -> None:
        """The warehouse's server stops and starts; what it had it still has."""
        raise NotPossible("the worker cannot restart the server")

    def webhook(self, order_ref: str) -> tuple[Mapping[str, str], bytes]:
        """The headers and the body of what the warehouse would post of the order's newest event, now."""
        raise NotPossible("the worker cannot make a webhook")

    def on_hand(self, sku: str) -> int:
        """How many pieces there are, wherever they lie."""
        raise NotPossible("the worker cannot count")

    def close(self) -> None:
        """Let go of what was opened."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A warehouse that ships to nobody: how an adapter reaches it, and who works there."""

    settings: WarehouseSettings
    worker: Worker
