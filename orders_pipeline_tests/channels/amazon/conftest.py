"""A client on canned answers, and one on the sandbox; both with a real database and a real keyring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.database.engine import Database
from orders_pipeline.model.account import OrdersApi
from orders_pipeline.model.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.channels.amazon.canned import CannedAmazon
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER

ENDPOINT = "https://amazon.test"


@dataclass
class Recorded:
    """An audit sink that a test can look into. `refuse` makes it fail, as a full disk would."""

    entries: list[tuple[str, str | None, str, str, dict[str, object]]] = field(default_factory=list[Any])
    refuse: Exception | None = None

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.entries.append((action, order_id, purpose, outcome, dict(detail)))

    def record_each(
        self, action: str, order_ids: Sequence[str], purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        for order_id in order_ids:
            self.record(action, order_id, purpose, outcome, detail)


@dataclass
class Naps:
    """A sleep that takes no time, and remembers how long it should have been."""

    slept: list[float] = field(default_factory=list[float])
    now: float = 1000.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeyring:
    return LocalKeyring(tmp_path / "keyring.json")


@pytest.fixture
def audit() -> Recorded:
    return Recorded()


@pytest.fixture
def naps() -> Naps:
    return Naps()


def account(orders_api: OrdersApi = "2026-01-01", **changes: Any) -> AmazonSettings:
    """The settings of one account, of Amazon's that is not there."""
    values: dict[str, Any] = {
        "client_id": "amzn1.application-oa2-client.test",
        "client_secret": SecretStr("amzn1.oa2-cs.v1.new"),
        "refresh_token": SecretStr("Atzr|refresh"),
        "seller_id": SELLER,
        "marketplaces": (MARKETPLACES[MARKETPLACE],),
        "region": "na",
        "queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/orders",
        "start_at": None,
        "orders_api": orders_api,
        "spapi_endpoint": ENDPOINT,
        "lwa_endpoint": "https://login.test",
    }
    return AmazonSettings(**{**values, **changes})


@pytest.fixture
def amazon() -> CannedAmazon:
    return CannedAmazon()


OpenCanned = Callable[..., AmazonClient]


@pytest.fixture
def open_canned(
    database: Database, keys: LocalKeyring, audit: Recorded, amazon: CannedAmazon, naps: Naps
) -> Iterator[OpenCanned]:
    """Opens clients on the canned answers; they sleep without taking time."""
    opened: list[AmazonClient] = []

    def open_one(orders_api: OrdersApi = "2026-01-01", **changes: Any) -> AmazonClient:
        client = open_amazon(
            account(orders_api, **changes), database, keys, audit, sleep=naps.sleep, monotonic=naps.monotonic
        )
        client.session.mount("https://", amazon)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def client(open_canned: OpenCanned) -> AmazonClient:
    return open_canned()


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=1000, floor=FloorOptions(automatic=False), subscribed=False) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The module's sandbox, without what the last test did to its faults and options."""
    yield shared_sandbox
    shared_sandbox.amazon.faults.clear()
    shared_sandbox.amazon.accounts.add_role(shared_sandbox.seller_id)
    shared_sandbox.amazon.accounts.authorize_again(shared_sandbox.seller_id)
    for name, value in vars(AmazonOptions()).items():
        setattr(shared_sandbox.amazon.options, name, value)


OpenSandboxed = Callable[..., AmazonClient]


@pytest.fixture
def open_sandboxed(
    database: Database, keys: LocalKeyring, audit: Recorded, sandbox: Sandbox
) -> Iterator[OpenSandboxed]:
    """Opens clients on the sandbox, in real time."""
    opened: list[AmazonClient] = []

    def open_one(orders_api: OrdersApi = "2026-01-01", **arguments: Any) -> AmazonClient:
        settings = load_settings({**sandbox.environment(), "AMAZON_ORDERS_API": orders_api}).require_amazon()
        client = open_amazon(settings, database, keys, audit, **arguments)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()
