"""The sandbox with a real Tryton as its warehouse: the same Amazon, the same queue, the same day."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from orders_pipeline.sandbox.day.verdicts import Judge
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import Floor, FloorOptions
from warehouses.tryton.books import TrytonBooks
from warehouses.tryton.floor import TrytonFloor
from warehouses.tryton.judge import TrytonJudge
from warehouses.tryton.server import TrytonNotStarted, TrytonServer
from warehouses.tryton.worker import TrytonWorker

# What a service manager waits before it starts a process again.
RESTART_PAUSE_SECONDS = 1.0


class TrytonSandbox(Sandbox):
    """`folder`: where Tryton's database and log are. Its own REST warehouse runs too, and nobody is told of it."""

    def __init__(self, *, folder: Path, **parts: Any) -> None:
        self.tryton = TrytonServer(folder)
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._keep_running, name="tryton-supervisor", daemon=True)
        super().__init__(**parts)

    def make_floor(self, options: FloorOptions, seed: int) -> Floor:
        rpc = self.tryton.rpc()
        self._books = TrytonBooks(rpc, self.warehouse, self._line_refs)
        worker = TrytonWorker(rpc)
        return TrytonFloor(
            self.warehouse, clock=self.clock, options=options, seed=seed, worker=worker, books=self._books
        )

    def make_judge(self) -> Judge:
        return TrytonJudge(self.amazon, self.warehouse, self._books)

    def start(self) -> Sandbox:
        self.tryton.copy_prepared()
        try:
            self.tryton.start()
            self._supervisor.start()
            return super().start()
        except BaseException:
            self.tryton.stop()
            raise

    def stop(self) -> None:
        super().stop()
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        self.tryton.stop()

    def environment(self, seller_id: str | None = None) -> dict[str, str]:
        environment = super().environment(seller_id)
        # Tryton sends no webhooks.
        environment.pop("WMS_WEBHOOK_SECRET", None)
        tryton = {"WMS_ADAPTER": "tryton", "WMS_BASE_URL": self.tryton.url, "WMS_TOKEN": self.tryton.token}
        return environment | tryton

    def _keep_running(self) -> None:
        """Start Tryton again whenever it ended, as a service manager would."""
        while not self._stopping.wait(RESTART_PAUSE_SECONDS):
            if self.tryton.pid is None:
                try:
                    self.tryton.start()
                except TrytonNotStarted as error:
                    print(error, file=sys.stderr)  # noqa: T201 - the process's log; it is tried again

    def _line_refs(self, order_ref: str) -> dict[str, str]:
        """Amazon's item ids by SKU; in the sandbox's orders each SKU stands once."""
        order = self.amazon.orders.get(order_ref)
        return {str(item.sku): item.item_id for item in order.items} if order is not None else {}
