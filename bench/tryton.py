"""Pushes to a real Tryton, of what its one process can take: a script's shipments, made with the same concurrency.

Ours are looked for first, made so that none is made twice, and marked so that each can be told from another content.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, SELLER_ID
from orders_pipeline.wms.port import FulfillmentLine, FulfillmentOrder
from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from warehouses.tryton.bare_client import BareClient
from warehouses.tryton.master_data import PIPELINE
from warehouses.tryton.server import running_tryton

TITLE = "Tryton"
# As many as the pipeline has open at once.
CONCURRENCY = 8
ROUNDS = 3


def run(workload: Workload) -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        running_tryton(Path(folder) / "tryton", notify) as tryton,
    ):
        bare = BareClient(tryton.rpc(PIPELINE))
        warehouse = TrytonWarehouse(tryton.url, SecretStr(tryton.token))
        numbers = itertools.count(1)
        ours = theirs = 0.0
        for _ in range(ROUNDS):
            theirs += _seconds(lambda ref: bare.push(ref, {PRODUCTS[0].sku: 1}), workload.tryton_pushes, numbers)
            ours += _seconds(lambda ref: _push(warehouse, ref), workload.tryton_pushes, numbers)
        warehouse.close()
    pushes = ROUNDS * workload.tryton_pushes
    return [row("pushes to Tryton a second, of bare shipments made", pushes / ours, pushes / theirs, ">= 0.5")]


def _seconds(push: Callable[[str], object], count: int, numbers: Iterator[int]) -> float:
    references = [f"111-{next(numbers):07d}-0000000" for _ in range(count)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(push, references))
    return time.perf_counter() - started


def _push(warehouse: TrytonWarehouse, order_ref: str) -> None:
    now = datetime.now(UTC)
    ship_to = Address(
        name=PersonalText("Ada Abernathy"),
        address_line1=PersonalText("1 Maple Street"),
        city=PersonalText("Boise"),
        state_or_region=PersonalText("ID"),
        postal_code=PersonalText("83702"),
        country_code="US",
    )
    order = FulfillmentOrder(
        order_ref=order_ref,
        seller_id=SELLER_ID,
        marketplace_id=MARKETPLACE_ID,
        purchased_at=now,
        ship_by=now + timedelta(days=1),
        deliver_by=None,
        service_level="STANDARD",
        is_prime=False,
        is_business=False,
        ship_to=ship_to,
        lines=(FulfillmentLine("1", PRODUCTS[0].sku, 1),),
    )
    result = warehouse.push(order)
    assert result.answer == "accepted", result
