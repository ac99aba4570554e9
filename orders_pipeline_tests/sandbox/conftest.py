"""One sandbox for each test module, and its client. Tests make their own orders, so they do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.sandbox.honest_client import HonestClient


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """Everything shipped by hand; quotas refilled a hundred thousand times faster than Amazon's."""
    with Sandbox(time_scale=100_000, floor=FloorOptions(automatic=False)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """The module's sandbox, without what the last test did to its faults and options."""
    yield shared
    shared.amazon.faults.clear()
    shared.warehouse.faults.clear()
    shared.amazon.accounts.add_role(shared.seller_id)
    shared.amazon.accounts.authorize_again(shared.seller_id)
    for name, value in vars(AmazonOptions()).items():
        setattr(shared.amazon.options, name, value)


@pytest.fixture
def client(sandbox: Sandbox) -> HonestClient:
    return HonestClient(sandbox.environment())
