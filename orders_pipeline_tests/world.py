"""A small world for the stages: Amazon, its queue and a warehouse as objects of this process, and the stages beside them.

Belongs here: ports over the sandbox's own state (its rules, its rendering, its ledgers), without HTTP and without
waiting; faults that a test scripts; time, moved by making due what is due later. Elsewhere: the servers (sandbox).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import text

from orders_pipeline.amazon.carriers import CarrierTable
from orders_pipeline.amazon.errors import AmazonBadRequest, AmazonNotFound
from orders_pipeline.amazon.fields import Fields
from orders_pipeline.amazon.order import (
    FetchedOrder,
    Order,
    OrderParts,
    Priority,
    SearchPage,
    SearchWindow,
)
from orders_pipeline.amazon.orders_v2026 import STATE_DATA
from orders_pipeline.amazon.orders_v2026_wire import read_order, read_shipping_details
from orders_pipeline.amazon.shipment import ShipmentConfirmation
from orders_pipeline.amazon.shipments_v0 import confirmation_body, ship_date
from orders_pipeline.fulfillment.push import Pushing, PushTotals, act_on_due_orders
from orders_pipeline.fulfillment.queue import derive_queue
from orders_pipeline.intake.drain import DrainTotals, drain_notifications
from orders_pipeline.intake.queue import NotificationQueue, QueueMessage
from orders_pipeline.intake.search import record_orders
from orders_pipeline.orders.absorb import AbsorbTotals, absorb_events
from orders_pipeline.orders.fetch import FetchTotals, fetch_due_orders
from orders_pipeline.sandbox.amazon.accounts import DIRECT_TO_CONSUMER
from orders_pipeline.sandbox.amazon.gate import ApiError
from orders_pipeline.sandbox.amazon.order import Order as SandboxOrder
from orders_pipeline.sandbox.amazon.render_v2026 import render_order
from orders_pipeline.sandbox.amazon.shipments import Shipments
from orders_pipeline.sandbox.amazon.state import AmazonOptions, AmazonState
from orders_pipeline.sandbox.amazon.subscriptions import ORDER_CHANGE, Subscriptions
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.day.people import People
from orders_pipeline.sandbox.order_factory import OrderFactory
from orders_pipeline.sandbox.warehouse.app import RefusedError, WarehouseApi
from orders_pipeline.sandbox.warehouse.state import WarehouseState
from orders_pipeline.shipments.confirm import Confirming, ConfirmTotals, confirm_due_packages
from orders_pipeline.shipments.packages import PackageTotals, absorb_shipments
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline.shipments.read_back import read_back_due_packages
from orders_pipeline.store.database import AnyRow, Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.audit import AuditLog
from orders_pipeline.vault.keyring import LocalKeyring
from orders_pipeline.wms.warehouse import (
    CancelAnswer,
    FulfillmentOrder,
    HoldAnswer,
    PushAnswer,
    PushResult,
    ShipmentEvent,
    ShipmentPage,
    WarehouseOrder,
)
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER

QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
_CONFLICTS: dict[str, PushAnswer] = {
    "order_conflict": "conflict",
    "order_shipped": "shipped",
    "order_cancelled": "cancelled",
}


class MemoryQueue(NotificationQueue):
    """SQS in memory: what was received is invisible until it is deleted, or `reappear` is called."""

    def __init__(self) -> None:
        self.waiting: list[QueueMessage] = []
        self.in_flight: list[QueueMessage] = []
        self.undeletable = 0
        self._sent = 0

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self._sent += 1
            name = f"m{self._sent:05d}"
            self.waiting.append(QueueMessage(name, f"r-{name}", body, datetime.now(UTC)))

    def receive(self, *, wait_seconds: int) -> list[QueueMessage]:
        taken, self.waiting = self.waiting[:10], self.waiting[10:]
        self.in_flight += taken
        return taken

    def delete(self, messages: Any) -> int:
        failed = min(self.undeletable, len(messages))
        self.undeletable -= failed
        gone = {message.message_id for message in list(messages)[failed:]}
        self.in_flight = [message for message in self.in_flight if message.message_id not in gone]
        return failed

    def reappear(self) -> None:
        self.waiting, self.in_flight = self.in_flight + self.waiting, []


class Scripted:
    """Errors to raise, by what they strike: before the call has its effect, or after (the answer is lost)."""

    def __init__(self) -> None:
        self._errors: list[tuple[str, str, bool, Exception, int]] = []

    def fail(self, call: str, error: Exception, order_id: str = "*", *, after: bool = False, times: int = 1) -> None:
        self._errors.append((call, order_id, after, error, times))

    def strike(self, call: str, order_id: str, *, after: bool = False) -> None:
        for index, (name, target, is_after, error, times) in enumerate(self._errors):
            if name == call and target in ("*", order_id) and is_after == after:
                if times <= 1:
                    del self._errors[index]
                else:
                    self._errors[index] = (name, target, is_after, error, times - 1)
                raise error

    def clear(self) -> None:
        self._errors.clear()


class AmazonPorts:
    """OrdersPort and ShipmentsPort over the sandbox's Amazon."""

    def __init__(self, state: AmazonState, faults: Scripted, *, api_version: str = "2026-01-01") -> None:
        self._state = state
        self._faults = faults
        self._shipments = Shipments(state)
        self.api_version = api_version
        self.asked: list[tuple[str, OrderParts]] = []
        self.told: list[ShipmentConfirmation] = []
        # Called after the answer was read and before it is given: what changes meanwhile is not in it.
        self.meanwhile: Callable[[str], None] | None = None
        self.page_size = 100
        self.searched: list[tuple[SearchWindow, str | None]] = []

    def get_order(
        self,
        order_id: str,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        self.asked.append((order_id, parts))
        self._faults.strike("get_order", order_id)
        with self._state.lock:
            order = self._state.orders.get(order_id)
            if order is None:
                raise AmazonNotFound("getOrder answered 404", operation="getOrder", status=404)
            answer = self._read(order, parts)
        if self.meanwhile is not None:
            self.meanwhile(order_id)
        return answer

    def get_orders(
        self, order_ids: list[str], *, priority: Priority = Priority.EVENT, deadline_seconds: float = 20.0
    ) -> dict[str, Order]:
        return {order_id: self.get_order(order_id).order for order_id in order_ids}

    def search_orders(
        self,
        window: SearchWindow,
        *,
        page_token: str | None = None,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        self._faults.strike("search_orders", page_token or "first")
        self.searched.append((window, page_token))
        start = int(page_token or 0)
        with self._state.lock:
            found = sorted(
                (
                    order
                    for order in self._state.orders.values()
                    if window.updated_after <= order.last_updated < window.updated_before
                ),
                key=lambda order: order.last_updated,
            )
            page = tuple(self._read(order, OrderParts.STATE).order for order in found[start : start + self.page_size])
        end = start + self.page_size
        return SearchPage(page, str(end) if end < len(found) else None, window.updated_before)

    def confirm_shipment(self, confirmation: ShipmentConfirmation, *, deadline_seconds: float = 20.0) -> None:
        self._faults.strike("confirm", confirmation.order_id)
        self.told.append(confirmation)
        body = confirmation_body(confirmation, ship_date(confirmation, datetime.now(UTC) + timedelta(seconds=3)))
        order = self._state.orders[confirmation.order_id]
        reference_id = str(confirmation.package_reference_id)
        try:
            with self._state.lock:
                self._shipments._confirm(order, body, body["packageDetail"])
        except ApiError as error:
            reason = str(error)
            self._shipments._record(order.order_id, reference_id, "refused", reason=reason)
            raise AmazonBadRequest(reason, operation="confirmShipment", status=400) from None
        self._faults.strike("confirm", confirmation.order_id, after=True)

    def _read(self, order: SandboxOrder, parts: OrderParts) -> FetchedOrder:
        included = [*STATE_DATA]
        details, packages = OrderParts.SHIPPING_DETAILS in parts, OrderParts.PACKAGES in parts
        included += ["RECIPIENT"] if details else []
        included += ["PACKAGES"] if packages and self.api_version != "v0" else []
        rendered = render_order(order, tuple(included), {DIRECT_TO_CONSUMER}, self._state.clock.now())
        body = Fields(json.loads(json.dumps(rendered)), "order")
        read = read_order(body, with_packages="PACKAGES" in included)
        return FetchedOrder(read, read_shipping_details(body) if details else None)


class WarehousePorts:
    """WarehousePort over the sandbox's warehouse."""

    def __init__(self, state: WarehouseState, faults: Scripted) -> None:
        self._state = state
        self._faults = faults
        self._api = WarehouseApi(state)
        self.calls: list[tuple[str, str]] = []
        self.shuffled_events: list[dict[str, Any]] | None = None
        self.meanwhile: Callable[[str, str], None] | None = None

    def push(self, order: FulfillmentOrder) -> PushResult:
        sent = json.dumps(order.wire()).encode()
        answer = self._ask("push", order.order_ref, "put_order", sent)
        if isinstance(answer, RefusedError):
            if answer.status == 409:
                return PushResult(_CONFLICTS.get(answer.code, "conflict"), code=answer.code)
            return PushResult("refused", code=answer.code)
        return PushResult("accepted", wms_id=answer["wms_id"])

    def find(self, order_ref: str) -> WarehouseOrder | None:
        answer = self._ask("find", order_ref, "get_order", b"")
        return None if isinstance(answer, RefusedError) else WarehouseOrder(answer["wms_id"], answer["status"])

    def hold(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._wait_or_go_on("hold", order_ref, reason)

    def release(self, order_ref: str, reason: str) -> HoldAnswer:
        return self._wait_or_go_on("release", order_ref, reason)

    def cancel(self, order_ref: str, reason: str) -> CancelAnswer:
        answer = self._ask("cancel", order_ref, "cancel", json.dumps({"reason": reason}).encode())
        if isinstance(answer, RefusedError):
            return "too_late" if answer.status == 409 else "not_found"
        return cast(CancelAnswer, answer["outcome"])

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        self._faults.strike("poll", "*")
        start = int(cursor or 0)
        page = self._state.events[start : start + limit]
        return ShipmentPage(tuple(shipment_event(event) for event in page), str(start + len(page)))

    def erase_pii(self, order_ref: str) -> bool:
        return self._state.erase(order_ref) or True

    def _wait_or_go_on(self, call: str, order_ref: str, reason: str) -> HoldAnswer:
        answer = self._ask(call, order_ref, call, json.dumps({"reason": reason}).encode())
        if isinstance(answer, RefusedError):
            return "too_late" if answer.status == 409 else "not_found"
        return "done"

    def _ask(self, call: str, order_ref: str, handler: str, raw: bytes) -> dict[str, Any] | RefusedError:
        self.calls.append((call, order_ref))
        self._faults.strike(call, order_ref)
        try:
            outcome, _, body = getattr(self._api, handler)(None, order_ref, raw)
        except RefusedError as error:
            self._record(handler, order_ref, error.code, raw)
            return error
        self._record(handler, order_ref, outcome, raw)
        if self.meanwhile is not None:
            self.meanwhile(call, order_ref)
        self._faults.strike(call, order_ref, after=True)
        return body or {}

    def _record(self, handler: str, order_ref: str, outcome: str, raw: bytes) -> None:
        from orders_pipeline.sandbox.warehouse.app import _hash_or_none

        self._state.record(handler, order_ref, outcome, _hash_or_none(raw) if handler == "put_order" else None)


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
        order = self.amazon.add_order(self._factory.make(**{"items": items, **specification}))
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
        """A parcel leaves with so many pieces of each line (by its place), or with all that is open; its id."""
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
        return drain_notifications(self.queue, self.database, self.vault, seller_id=SELLER, wait_seconds=0)

    def absorb(self) -> AbsorbTotals:
        return absorb_events(self.database, seller_id=SELLER)

    def fetch(self) -> FetchTotals:
        return fetch_due_orders(self.ports, self.database, self.vault, seller_id=SELLER)

    def derive(self) -> dict[str, int]:
        return derive_queue(self.database, self.vault.audit, seller_id=SELLER).changed

    def act(self) -> PushTotals:
        work = Pushing(
            database=self.database, vault=self.vault, audit=self.vault.audit, warehouse=self.wms, seller_id=SELLER
        )
        return act_on_due_orders(work)

    def sync(self) -> PushTotals:
        """What the job `sync_orders` does, after what its sensor does."""
        self.drain()
        self.absorb()
        self.fetch()
        self.derive()
        return self.act()

    def poll(self) -> PackageTotals:
        poll_shipments(self.wms, self.database, seller_id=SELLER)
        return absorb_shipments(self.database, self.vault.audit, seller_id=SELLER)

    def confirm(self) -> ConfirmTotals:
        return confirm_due_packages(self._confirming())

    def read_back(self) -> ConfirmTotals:
        return read_back_due_packages(self._confirming())

    def tell_amazon(self) -> None:
        """What the job `confirm_shipments` does, and again once Amazon may be asked what it shows."""
        self.poll()
        self.confirm()
        self.make_due()
        self.read_back()

    def sweep(self) -> int:
        """What a search over everything finds."""
        with self.amazon.lock:
            found = [self.ports._read(order, OrderParts.STATE).order for order in self.amazon.orders.values()]
        with self.database.transaction() as connection:
            return record_orders(connection, SELLER, "sweep", found)

    def settle(self, rounds: int = 12) -> None:
        """Time passes until nothing changes any more."""
        before: Any = None
        for _ in range(rounds):
            self.hear()
            self.sync()
            self.tell_amazon()
            self.make_due()
            after = (self.rows("pipeline.fulfillment_queue", "order_id, state"), self._packages(), self._statuses())
            if after == before and not self.notified:
                return
            before = after

    def make_due(self) -> None:
        """Time passes: everything that is due later is due now, and no push is on its way any more."""
        self.sql("update pipeline.orders set fetch_due_at = clock_timestamp() where fetch_due_at is not null")
        for table in ("fulfillment_queue", "shipment_confirmations"):
            self.sql(f"update pipeline.{table} set action_due_at = clock_timestamp() where action_due_at is not null")
        self.sql("update pipeline.wms_orders set changed_at = changed_at - interval '5 minutes'")

    # --- what there is to see

    def sql(self, statement: str, **values: object) -> None:
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def rows(self, table: str, columns: str = "*", where: str = "true") -> list[AnyRow]:
        with self.database.transaction() as connection:
            return list(connection.execute(text(f"select {columns} from {table} where {where} order by 1, 2")))

    def one(self, table: str, order_id: str) -> AnyRow:
        with self.database.transaction() as connection:
            return connection.execute(
                text(f"select * from {table} where order_id = :order_id"), {"order_id": order_id}
            ).one()

    def state(self, order_id: str) -> str:
        return self.one("pipeline.fulfillment_queue", order_id).state

    def status(self, order_id: str) -> str:
        return self.one("pipeline.orders", order_id).status

    def package(self, package_id: str) -> AnyRow:
        with self.database.transaction() as connection:
            return connection.execute(
                text("select * from pipeline.shipment_confirmations where package_id = :id"), {"id": package_id}
            ).one()

    def alerts(self) -> dict[str, AnyRow]:
        """Open alerts by what they are about: the key's first part."""
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
        with self.database.transaction() as connection:
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
            seller_id=SELLER,
            default_marketplace_id=MARKETPLACE,
        )

    def _packages(self) -> list[AnyRow]:
        return self.rows("pipeline.shipment_confirmations", "order_id, package_id, state, tracking_number")

    def _statuses(self) -> list[AnyRow]:
        return self.rows("pipeline.orders", "order_id, status")


def open_world(database: Database, folder: Path, **arguments: Any) -> World:
    """A world on this database, with a keyring of its own."""
    return World(database, Vault(database, LocalKeyring(folder / "keyring.json"), AuditLog(database)), **arguments)


def shipment_event(event: dict[str, Any]) -> ShipmentEvent:
    """An event of the sandbox's warehouse as the REST adapter reads it."""
    return ShipmentEvent(
        event_id=event["event_id"],
        kind=event["kind"],
        order_ref=event["order_ref"],
        package_id=event["package_id"],
        carrier=event["carrier"],
        service=event["service"],
        tracking_number=event["tracking_number"],
        shipped_at=datetime.fromisoformat(event["shipped_at"]),
        lines=tuple((line["line_ref"], line["quantity"]) for line in event["lines"]),
    )
