"""The sandbox's warehouse with all that the port knows: what the REST contract has no word for is made up here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import SecretStr

from orders_pipeline.sandbox.sandbox import WAREHOUSE_TOKEN, WEBHOOK_SECRET, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance.sandbox_warehouse import SandboxWorker
from orders_pipeline.wms.conformance.worker import Tried, Worker
from orders_pipeline.wms.port import Capability, StockLevel, StockPage, WarehousePort
from orders_pipeline.wms.rest.adapter import RestWarehouse

STOCKED = 1_000
# Longer than any call to a server of this machine, and no test waits for more.
TOTAL_SECONDS = 4.0


@dataclass
class AbleWarehouse:
    """A factory of adapters for one sandbox."""

    sandbox: Sandbox
    acknowledged: list[str] = field(default_factory=list[str])

    def open(self, settings: WarehouseSettings) -> WarehousePort:
        return Able(settings, self)

    def settings(self) -> WarehouseSettings:
        return WarehouseSettings(
            base_url=self.sandbox.warehouse_url,
            token=SecretStr(WAREHOUSE_TOKEN),
            webhook_secrets=(SecretStr(WEBHOOK_SECRET),),
        )

    def worker(self) -> AbleWorker:
        return AbleWorker(self.sandbox)


@contextmanager
def sandbox_to_try() -> Generator[Tried]:
    """For `--warehouse`: the REST adapter and a sandbox."""
    with Sandbox(subscribed=False, floor=FloorOptions(automatic=False)) as sandbox:
        yield Tried(AbleWarehouse(sandbox).settings(), SandboxWorker(sandbox.url))


def idle_worker(_settings: WarehouseSettings) -> Worker:
    """For `--worker`: one who does nothing."""
    return Worker()


class Able(RestWarehouse):
    def __init__(self, settings: WarehouseSettings, made: AbleWarehouse) -> None:
        super().__init__(
            settings.base_url,
            settings.token,
            webhook_secrets=settings.webhook_secrets,
            total_seconds=TOTAL_SECONDS,
        )
        self.made = made

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability)

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        self.made.acknowledged += event_ids

    def read_stock(self, cursor: str | None, limit: int) -> StockPage:
        # A call to the server, as any warehouse's is.
        self.poll(None, 1)
        levels = [
            StockLevel(sku, location, pieces, pieces)
            for sku in AbleWorker(self.made.sandbox).skus()
            for location, pieces in (("A-1", _left(self.made.sandbox, sku) - 10), ("B-7", 10))
        ]
        start = int(cursor or 0)
        end = start + limit
        return StockPage(tuple(levels[start:end]), str(end) if end < len(levels) else None)


class AbleWorker(SandboxWorker):
    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox.url)
        self._sandbox = sandbox

    def on_hand(self, sku: str) -> int:
        return _left(self._sandbox, sku)


class Bent:
    """A warehouse of which some calls are bent: each is given the real call, and then its arguments."""

    def __init__(self, warehouse: WarehousePort, **calls: Callable[..., object]) -> None:
        self._warehouse = warehouse
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._warehouse, name)
        bent = self._calls.get(name)
        if bent is None:
            return real
        if name == "capabilities":
            return bent(real)
        return lambda *arguments: bent(real, *arguments)

    def __repr__(self) -> str:
        return str(self._calls["repr"](self._warehouse)) if "repr" in self._calls else "a bent warehouse"


def bent(warehouse: WarehousePort, **calls: Callable[..., object]) -> WarehousePort:
    return cast(WarehousePort, Bent(warehouse, **calls))


def _left(sandbox: Sandbox, sku: str) -> int:
    shipped = 0
    for order in sandbox.warehouse.orders.values():
        refs = {line["line_ref"] for line in order.content["lines"] if line["sku"] == sku}
        shipped += sum(order.shipped_units(ref) for ref in refs)
    return STOCKED - shipped
