"""Many orders at an Amazon that is served over HTTP, and the stages that read them by the real client."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.operations.deployment import AmazonAudit
from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.settings import load_settings
from orders_pipeline.shipments.confirm import confirm_due_packages
from orders_pipeline.shipments.confirming import Confirming
from orders_pipeline.shipments.verify import verify_due_packages
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World, open_world

LISTED, UNLISTED = timedelta(minutes=10), timedelta(seconds=30)


@dataclass
class Crowd:
    """A world whose Amazon is served over HTTP, at Amazon's own rates, with its list lag."""

    world: World
    sandbox: Sandbox
    client: AmazonClient

    def orders(self, count: int, *, ago: timedelta = LISTED) -> list[str]:
        """New orders that changed so long ago, each told by a message that was applied."""
        self.world.clock.advance(-ago)
        made = [self.world.order(hear=False) for _ in range(count)]
        self.world.clock.advance(ago)
        self.hear()
        return made

    def fetched(self, count: int) -> list[str]:
        """New orders whose state and details are here."""
        made = self.orders(count)
        self.fetch()
        return made

    def packages(self) -> list[AnyRow]:
        return self.world.rows("pipeline.shipment_confirmations", "order_id, state")

    def hear(self) -> None:
        self.world.hear()
        while self.world.queue.waiting:
            self.world.drain()
        self.world.absorb()

    def refill_calls(self) -> None:
        """What a plan of pages leaves to calls is waited for in seconds: the client hears of it by the first answer."""
        self.sandbox.amazon.plans.set_plan("getOrder", 20, 30)

    def fetch(self, seconds: float = 300.0, fulfilled_by: Sequence[str] = ()) -> Tally:
        return fetch_due_orders(
            self.client.orders,
            self.world.database,
            self.world.vault,
            account_id=SELLER,
            marketplace_ids=(MARKETPLACE,),
            fulfilled_by=fulfilled_by,
            deadline_seconds=seconds,
        )

    def ship(self, order_ids: Sequence[str], *, ago: timedelta = timedelta(minutes=4)) -> None:
        """The warehouse ships them whole, and Amazon was told so long ago; what it shows is to be verified now."""
        self.world.decide()
        self.world.push()
        for order_id in order_ids:
            self.world.ship(order_id)
        self.world.poll()
        self.sandbox.amazon.plans.set_plan("confirmShipment", 100, 10)
        confirm_due_packages(self._confirming())
        for order_id in order_ids:
            self.sandbox.amazon.orders[order_id].last_updated -= ago
        self.world.sql("update pipeline.shipment_confirmations set sent_at = sent_at - cast(:ago as interval)", ago=ago)
        self.world.sql("update pipeline.orders set last_updated_at = last_updated_at - interval '1 hour'")
        self.world.sql("update pipeline.jobs set due_at = clock_timestamp() where queue = 'verify'")

    def verify(self, seconds: float = 300.0) -> Tally:
        return verify_due_packages(self._confirming(), deadline_seconds=seconds)

    def _confirming(self) -> Confirming:
        return Confirming(
            database=self.world.database,
            audit=self.world.vault.audit,
            shipments=self.client.shipments,
            orders=self.client.orders,
            carrier_overrides=self.world.carriers,
            account_id=SELLER,
            default_marketplace_id=MARKETPLACE,
            marketplace_ids=(MARKETPLACE,),
        )

    @property
    def calls(self) -> dict[str, int]:
        return dict(self.sandbox.amazon.ledger.requests)

    def statuses(self) -> set[tuple[str, bool]]:
        return {(row.status, row.has_address) for row in self.world.rows("pipeline.orders", "status, has_address")}


@contextmanager
def served_crowd(database: Database, tmp_path: Path, orders_api: str = "2026-01-01") -> Generator[Crowd]:
    """No orders yet."""
    lagging = AmazonOptions(listing_delay_seconds=120)
    with Sandbox(floor=FloorOptions(automatic=False), subscribed=False, amazon=lagging) as sandbox:
        world = open_world(database, tmp_path)
        sandbox.amazon.subscriptions = world.amazon.subscriptions
        sandbox.amazon._publish = world.amazon._publish
        world.amazon = sandbox.amazon
        settings = load_settings({**sandbox.environment(), "AMAZON_ORDERS_API": orders_api}).require_amazon()
        keys, audit = LocalKeyring(tmp_path / "client.json"), AmazonAudit(world.vault.audit, SELLER)
        client = open_amazon(settings, database, keys, audit)
        yield Crowd(world, sandbox, client)
        client.close()
