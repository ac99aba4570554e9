"""Tryton as a warehouse to be tried: a server of its own with a fresh database, and who works in it.

python -m orders_pipeline.wms.conformance tryton
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance.ends import NotPossible
from orders_pipeline.wms.conformance.worker import Tried, Worker
from warehouses.tryton import worker
from warehouses.tryton.server import TrytonServer, running_tryton
from warehouses.tryton.worker import Parcel, TrytonWorker

_CONTROL = re.compile(r"[\x00-\x1f]+")


class ConformanceWorker(Worker):
    """Works in this server's database; what Tryton has no word for is left to the class above."""

    def __init__(self, server: TrytonServer) -> None:
        self._server = server
        self._worker = TrytonWorker(server.rpc())

    def skus(self) -> Sequence[str]:
        return [product.sku for product in PRODUCTS[:3]]

    def orders(self, order_ref: str) -> Sequence[Mapping[str, int]]:
        return [one.units for one in self._worker.shipments(order_ref) if one.state != "cancelled"]

    def start_packing(self, order_ref: str) -> None:
        self._worker.start_packing(order_ref)

    def ship(
        self, order_ref: str, lines: Mapping[str, int] | None = None, *, carrier: str, tracking_number: str
    ) -> None:
        if lines is not None:
            self._leave_the_rest(order_ref, lines)
        # Tryton takes text of any length and direction, and no control characters.
        carrier, tracking_number = (" ".join(_CONTROL.split(text)) for text in (carrier, tracking_number))
        try:
            self._worker.ship(order_ref, carrier=carrier, tracking=tracking_number)
        except worker.NotPossible as error:
            raise NotPossible(str(error)) from None

    def ship_split(self, order_ref: str, parcels: Sequence[tuple[Mapping[str, int], str]], *, carrier: str) -> None:
        # The packages of one shipment leave together.
        self._worker.ship(order_ref, [Parcel(lines, number) for lines, number in parcels], carrier=carrier)

    def void(self, order_ref: str) -> None:
        self._worker.void(order_ref)

    def replace(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        self._worker.send_again(order_ref)
        self._worker.ship(order_ref, carrier=carrier, tracking=tracking_number)

    def relabel(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        self._worker.relabel(order_ref, self._worker.packages(order_ref)[-1], tracking_number)

    def ship_again(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        raise NotPossible("in Tryton a voided package does not travel again: a copy of its shipment has others")

    def ship_short(
        self,
        order_ref: str,
        lines: Mapping[str, int],
        missing: Mapping[str, int],
        *,
        carrier: str,
        tracking_number: str,
    ) -> None:
        self._worker.start_packing(order_ref, missing)
        self._worker.ship(order_ref, [Parcel(lines, tracking_number)], carrier=carrier)

    def cancel(self, order_ref: str) -> None:
        self._worker.cancel(order_ref)

    def refused_address(self) -> Address:
        # Of a country that this Tryton was not told of.
        return Address(
            name=PersonalText("Casey Nowhere"),
            address_line1=PersonalText("1 Missing Country Lane"),
            city=PersonalText("Harare"),
            postal_code=PersonalText("00000"),
            country_code="ZW",
        )

    def finds(self, texts: Sequence[str]) -> Sequence[str]:
        dump = self._server.dump()
        return [text for text in texts if text in dump]

    def restart(self) -> None:
        self._server.restart()
        self._worker = TrytonWorker(self._server.rpc())

    def on_hand(self, sku: str) -> int:
        return self._worker.stock(sku)

    def _leave_the_rest(self, order_ref: str, lines: Mapping[str, int]) -> None:
        """A second shipment for what does not leave now: whole lines, for Tryton splits a shipment by its moves."""
        (shipment, *_) = self._worker.shipments(order_ref)
        if any(shipment.units[sku] != units for sku, units in lines.items()):
            raise NotPossible("a part of a line leaves with the rest of it, or is short")
        if rest := {sku: units for sku, units in shipment.units.items() if sku not in lines}:
            self._worker.split(order_ref, rest)


@contextmanager
def tryton_to_try() -> Generator[Tried]:
    """A Tryton of its own, stopped and gone when the block ends. The first of a checkout installs it: a minute."""
    with tempfile.TemporaryDirectory(prefix="tryton-") as folder, running_tryton(Path(folder)) as server:
        yield tried(server)


def tried(server: TrytonServer) -> Tried:
    """This server, as the pipeline's user reaches it."""
    settings = WarehouseSettings(adapter="tryton", base_url=server.url, token=SecretStr(server.token))
    return Tried(settings, ConformanceWorker(server))
