"""Tryton is killed and restarted while orders are on their way to it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orders_pipeline.wms.port import FulfillmentOrder, WarehouseUnavailable
from orders_pipeline_tests.wms.tryton.floor import Floor, an_order
from warehouses.tryton.server import TrytonServer, running_tryton

ORDERS, AT_ONCE = 12, 4
PATIENCE_SECONDS = 90


def test_a_restart_in_mid_push_leaves_each_order_there_once_whole_and_waiting(tryton: TrytonServer, tmp_path: Path):
    # A server of its own: the other tests' one (which has prepared the database) stays up.
    with running_tryton(tmp_path) as server:
        floor = Floor(server)
        floor.add_products({"CUP": 1_000, "PLATE": 1_000})
        warehouse = floor.warehouse()
        orders = [an_order(("CUP", 2), ("PLATE", 1)) for _ in range(ORDERS)]
        unknown = threading.Event()

        def push(order: FulfillmentOrder) -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    assert warehouse.push(order).answer in ("accepted", "duplicate")
                except WarehouseUnavailable:
                    unknown.set()
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
                else:
                    return

        with ThreadPoolExecutor(AT_ONCE) as pool:
            pushes = [pool.submit(push, order) for order in orders]
            pushes[1].result(PATIENCE_SECONDS)
            server.kill()
            assert unknown.wait(PATIENCE_SECONDS), "nothing was on its way"
            server.restart()
            for pushed in pushes:
                pushed.result(PATIENCE_SECONDS)
        warehouse.close()
        for order in orders:
            (shipment,) = [one for one in floor.worker.shipments(order.order_ref) if one.state != "cancelled"]
            assert (shipment.state, dict(shipment.units)) == ("waiting", {"CUP": 2, "PLATE": 1})
