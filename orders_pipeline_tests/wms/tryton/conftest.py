"""One Tryton for all tests of this folder: each test has orders of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orders_pipeline.wms.tryton.adapter import TrytonWarehouse
from orders_pipeline_tests.wms.tryton.floor import Floor
from warehouses.tryton.server import TrytonServer


@pytest.fixture(scope="session")
def floor(tryton: TrytonServer) -> Floor:
    """With products CUP, PLATE and BOWL, plenty of each."""
    floor = Floor(tryton)
    floor.add_products({"CUP": 10_000, "PLATE": 10_000, "BOWL": 10_000})
    return floor


@pytest.fixture
def warehouse(floor: Floor) -> Iterator[TrytonWarehouse]:
    adapter = floor.warehouse()
    yield adapter
    adapter.close()
