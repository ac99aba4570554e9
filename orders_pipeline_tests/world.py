"""A small world for the stages: Amazon, its queue and a warehouse in this process, and the stages beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY, AlertKind
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.channels.amazon.carriers import CarrierTable
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.fulfillment.decide import decide_orders
from orders_pipeline.fulfillment.push import Pushing, push_orders
from orders_pipeline.intake import alerts as intake_alerts
from orders_pipeline.intake.apply_events import apply_events
from orders_pipeline.intake.drain import DrainTotals, drain_notifications
from orders_pipeline.intake.fetch import fetch_due_orders
from orders_pipeline.intake.search import record_orders
from orders_pipeline.intake.verification import Verifier
from orders_pipeline.model.order import OrderParts
from orders_pipeline.orders.fetches import request_fetch
from orders_pipeline.sandbox.amazon.state import AmazonOptions, AmazonState
from orders_pipeline.sandbox.amazon.subscriptions import ORDER_CHANGE, Subscriptions
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.order_factory import OrderFactory
from orders_pipeline.sandbox.warehouse.state import WarehouseState
from orders_pipeline.shipments.alerts import ALERTS as PACKAGE_ALERTS
from orders_pipeline.shipments.confirm import confirm_due_packages
from orders_pipeline.shipments.confirming import Confirming
from orders_pipeline.shipments.event_rows import note_webhook
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline.shipments.record import record_shipments
from orders_pipeline.shipments.verify import verify_due_packages
from orders_pipeline.vault import alerts as vault_alerts
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.wms.port import ShipmentPage
from orders_pipeline.wms.shipment_events import read_shipment_events
from orders_pipeline.work.jobs import Job, Queue, job_of
from orders_pipeline.work.queue import find
from orders_pipeline.work.tally import Tally
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.due import make_jobs_due
from orders_pipeline_tests.ports import AmazonPorts, MemoryQueue, Scripted, WarehousePorts

QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:orders"


@dataclass
class World:
    """Everything that a stage touches, and the stages, each by one call."""

    database: Database
    vault: Vault
    clock: Clock = field(default_factory=Clock)
    faults: Scripted = field(default_factory=Scripted)
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    carriers: CarrierTable = field(default_factory=CarrierTable)
    api_version: str = "2026-01-01"
    # Those that are configured.
    marketplace_ids: tuple[str, ...] = (MARKETPLACE,)
    regulated_skus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        subscriptions = Subscriptions()
        destination = subscriptions.add_destination("orders", QUEUE_ARN)
        assert destination is not None
        types = {"orderChangeTypes": ["OrderStatusChange", "BuyerRequestedChange"]}
        subscriptions.subscribe(SELLER, ORDER_CHANGE, "1.0", destination, {"eventFilter": types})
        self.notified: list[str] = []
        self.amazon = AmazonState(
            clock=self.clock,
            publish=lambda _arn, message: self.notified.append(json.dumps(message)),
            subscriptions=subscriptions,
            time_scale=1000,
            token_seconds=3600,
            options=AmazonOptions(),
            seed=1,
        )
        self.warehouse = WarehouseState(clock=self.clock, token="-", seed=1)
        self._factory = OrderFactory(
            clock=self.clock, people=People(canary=True), seller_id=SELLER, marketplace_id=MARKETPLACE, seed=1
        )
        self.ports = AmazonPorts(self.amazon, self.faults, api_version=self.api_version)
        self.wms = WarehousePorts(self.warehouse, self.faults)

    # --- what happens outside

    def order(self, *, quantities: tuple[int, ...] = (1,), hear: bool = True, **specification: Any) -> str:
        """A new order at Amazon; its id. `hear`: its notification is on the queue."""
        items = [{"quantity": quantity, "sku": f"SKU-{index}"} for index, quantity in enumerate(quantities)]
        order = self.amazon.add_order(self._factory.make(items=items, **specification))
        if hear:
            self.hear()
        return order.order_id

    def fewer_pieces(self, order_id: str, quantity: int) -> str:
        """At Amazon only so many pieces of the first line are ordered from now on; its id."""
        item = self.amazon.orders[order_id].items[0]
        item.quantity = quantity
        self.amazon.change_status(order_id, self.amazon.orders[order_id].status)
        self.hear()
        return item.item_id

    def accepted(self, **specification: Any) -> str:
        """An order that the warehouse has."""
        order_id = self.order(**specification)
        self.sync()
        assert self.state(order_id) == "accepted"
        return order_id

    def hear(self) -> None:
        """Put what Amazon has sent so far on the queue."""
        self.queue.send(*self.notified)
        self.notified.clear()

    def ship(
        self, order_id: str, lines: dict[int, int] | None = None, *, carrier: str = "UPS", tracking: str = ""
    ) -> str:
        """A package leaves with so many pieces of each line (by its place), or with all that is open; its id."""
        items = [item.item_id for item in self.amazon.orders[order_id].items]
        units = {items[line]: quantity for line, quantity in (lines or {}).items()}
        number = self.warehouse.next_number()
        return self.warehouse.ship(
            order_id,
            units or self.warehouse.orders[order_id].open_units(),
            carrier,
            None,
            tracking or f"1Z{number:016d}",
        )

    # --- the stages

    def drain(self) -> DrainTotals:
        return drain_notifications(self.queue, self.database, self.vault, account_id=SELLER, wait_seconds=0)

    def absorb(self) -> Tally:
        return apply_events(self.database, account_id=SELLER, marketplace_ids=self.marketplace_ids)

    def fetch(self) -> Tally:
        return fetch_due_orders(
            self.ports,
            self.database,
            self.vault,
            account_id=SELLER,
            marketplace_ids=self.marketplace_ids,
            verifier=Verifier(self.ports, self.regulated_skus),
        )

    def request_fetch(self, order_id: str, delay: timedelta = timedelta()) -> None:
        """Somebody wants Amazon asked about this order."""
        with self.database.transaction(SELLER) as tx:
            request_fetch(tx, order_id=order_id, delay=delay)

    def decide(self) -> Tally:
        audit = self.vault.audit
        return decide_orders(self.database, audit, account_id=SELLER, marketplace_ids=self.marketplace_ids)

    def push(self) -> Tally:
        work = Pushing(
            database=self.database,
            vault=self.vault,
            audit=self.vault.audit,
            warehouse=self.wms,
            account_id=SELLER,
            seller_id=SELLER,
            marketplace_ids=self.marketplace_ids,
        )
        return push_orders(work)

    def sync(self) -> Tally:
        """What the job `sync_orders` does, after what its sensor does."""
        self.drain()
        self.absorb()
        self.fetch()
        self.decide()
        return self.push()

    def poll(self) -> Tally:
        poll_shipments(self.wms, self.database, self.vault, account_id=SELLER)
        return apply_shipments(self.database, self.vault.audit, account_id=SELLER)

    def webhook(self, entries: Sequence[object] | None = None, *, account_id: str = SELLER) -> int:
        """A webhook brings these entries, or all that happened at the warehouse; how many events were new."""
        events, unreadable = read_shipment_events(self.warehouse.events if entries is None else entries)
        page = ShipmentPage(events, None, unreadable=unreadable)
        return record_shipments(self.database, self.vault, page, account_id=account_id, note=note_webhook)

    def confirm(self) -> Tally:
        return confirm_due_packages(self._confirming())

    def verify(self) -> Tally:
        return verify_due_packages(self._confirming())

    def confirm_and_verify(self) -> None:
        """What the job `confirm_shipments` does, and again once Amazon may be asked what it shows."""
        self.poll()
        self.confirm()
        self.make_due()
        self.verify()

    def sweep(self) -> int:
        """What a search over everything finds."""
        with self.amazon.lock:
            found = [self.ports.read(order, OrderParts.STATE).order for order in self.amazon.orders.values()]
        with self.database.transaction(SELLER) as tx:
            return record_orders(tx, "sweep", found)

    def run_until_idle(self, rounds: int = 12) -> None:
        """Time passes until nothing changes any more."""
        before: Any = None
        for _ in range(rounds):
            self.hear()
            self.sync()
            self.confirm_and_verify()
            self.make_due()
            after = (self.rows("pipeline.fulfillment_orders", "order_id, state"), self._packages(), self._statuses())
            if after == before and not self.notified:
                return
            before = after

    def make_due(self) -> None:
        """Time passes: everything that is due later is due now, and no push is on its way any more."""
        self.sql(
            "update pipeline.orders o set questioned_since = questioned_since "
            "- greatest(j.due_at - clock_timestamp(), interval '0') from pipeline.jobs j "
            "where j.account_id = o.account_id and j.queue = 'fetch' and j.subject = o.order_id"
        )
        self.sql(
            # The next verification of an accepted package is due a minute later, at most four.
            "update pipeline.shipment_confirmations set sent_at = sent_at - interval '1 minute'"
        )
        with self.database.begin() as connection:
            make_jobs_due(connection)
        self.sql("update pipeline.wms_orders set changed_at = changed_at - interval '5 minutes'")

    # --- what there is to see

    def job(self, queue: Queue, subject: str) -> Job | None:
        """What is pending of one subject."""
        with self.database.transaction(SELLER) as tx:
            return find(tx, queue, subject)

    def sql(self, statement: str, **values: object) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), values)

    def rows(self, table: str, columns: str = "*", where: str = "true") -> list[AnyRow]:
        with self.database.begin() as connection:
            return list(connection.execute(text(f"select {columns} from {table} where {where} order by 1, 2")))

    def one(self, table: str, order_id: str) -> AnyRow:
        with self.database.begin() as connection:
            return connection.execute(
                text(f"select * from {table} where order_id = :order_id"), {"order_id": order_id}
            ).one()

    def state(self, order_id: str) -> str:
        return self.one("pipeline.fulfillment_orders", order_id).state

    def status(self, order_id: str) -> str:
        return self.one("pipeline.orders", order_id).status

    def due_in(self, order_id: str) -> timedelta:
        """How long until Amazon is asked about this order."""
        job = self.job(Queue.FETCH, order_id)
        assert job is not None
        return job.due_at - self.database.now()

    def package(self, package_id: str) -> AnyRow:
        with self.database.begin() as connection:
            return connection.execute(
                text("select * from pipeline.shipment_confirmations where package_id = :id"), {"id": package_id}
            ).one()

    def jobs(self, queue: Queue | None = None) -> list[Job]:
        """Pending work of this queue, or all of it."""
        return [job for job in map(job_of, self.rows("pipeline.jobs")) if queue in (None, job.queue)]

    def alerts(self, kinds: Sequence[AlertKind] = ()) -> dict[str, AnyRow]:
        """Open alerts by what they are about: the key's first part. These kinds are evaluated before, and intake's, the
        vault's and packages'."""
        for who in (NOBODY, SELLER):
            every = (*kinds, *intake_alerts.ALERTS, *vault_alerts.ALERTS, *PACKAGE_ALERTS)
            assert evaluate(self.database, who, every).failed == {}
        found = self.rows("pipeline.alerts", "key, message, what_to_do, severity", "closed_at is null")
        return {row.key.split(":")[0]: row for row in found}

    def calls(self, order_id: str) -> Counter[str]:
        """How often the warehouse was asked what about this order."""
        return Counter(call for call, asked in self.wms.calls if asked == order_id)

    def shown(self, order_id: str) -> dict[str, str]:
        """What Amazon shows: tracking number by package reference id."""
        return {
            reference: package.tracking_number for reference, package in self.amazon.orders[order_id].packages.items()
        }

    def everything_stored(self) -> str:
        """All text of every table, as someone who reads a dump would see it."""
        with self.database.begin() as connection:
            tables = connection.execute(
                text(
                    "select format('%I.%I', schemaname, tablename) from pg_tables "
                    "where schemaname in ('pipeline', 'vault', 'vault_keys', 'audit')"
                )
            ).scalars()
            return "\n".join(
                str(
                    connection.execute(
                        text(f"select coalesce(string_agg(t::text, E'\\n'), '') from {table} t")
                    ).scalar()
                )
                for table in list(tables)
            )

    def _confirming(self) -> Confirming:
        return Confirming(
            database=self.database,
            audit=self.vault.audit,
            shipments=self.ports,
            orders=self.ports,
            carrier_overrides=self.carriers,
            account_id=SELLER,
            default_marketplace_id=MARKETPLACE,
        )

    def _packages(self) -> list[AnyRow]:
        return self.rows("pipeline.shipment_confirmations", "order_id, package_id, state, tracking_number")

    def _statuses(self) -> list[AnyRow]:
        return self.rows("pipeline.orders", "order_id, status")


def open_world(database: Database, folder: Path, **arguments: Any) -> World:
    """A world on this database, with a keyring of its own."""
    return World(database, Vault(database, LocalKeyring(folder / "keyring.json"), AuditLog(database)), **arguments)
