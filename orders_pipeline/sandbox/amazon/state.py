"""Amazon's state: the orders, and every way in which one can change."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orders_pipeline.sandbox.amazon import fba_shipment, order_change
from orders_pipeline.sandbox.amazon.accounts import Accounts
from orders_pipeline.sandbox.amazon.ledger import AmazonLedger
from orders_pipeline.sandbox.amazon.limits import UsagePlans
from orders_pipeline.sandbox.amazon.order import CANCELLED, PARTIALLY_SHIPPED, SHIPPED, UNSHIPPED, Order, Package
from orders_pipeline.sandbox.amazon.reports import Reports
from orders_pipeline.sandbox.amazon.subscriptions import Subscriptions
from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.faults import Faults

# Of one order, for a listing that lags behind.
KEPT_VERSIONS = 10

Publish = Callable[[str, dict[str, Any]], None]


@dataclass
class AmazonOptions:
    """How strict and how slow this Amazon is."""

    listing_delay_seconds: float = 0.0  # how late a listing shows a change; until then it shows the order as it was
    package_delay_seconds: float = 0.0  # how late getOrder shows a confirmed package
    items_page_size: int = 50  # of v0 getOrderItems; small values make a client page
    # v0's address and buyerInfo operations without a restricted token: 403, or 200 without PII.
    strict_v0: bool = True
    v0_whole_seconds: bool = False  # v0 writes its times without milliseconds
    # A late address: absent altogether, or there with empty strings.
    blank_address_as_empty_strings: bool = False
    item_level_share: float = 0.0  # the share of changes sent as one message for each item
    loss_share: float = 0.0  # the share of messages that Amazon never sends
    # How long a report waits, how long it is made, and how late its data are (Amazon: up to half an hour).
    report_queue_seconds: float = 0.0
    report_work_seconds: float = 0.0
    report_delay_seconds: float = 0.0
    report_gzip: bool = True
    report_charset: str = "UTF-8"  # or Cp1252, Shift_JIS, Windows-31J, ISO-8859-1: as the document's header names it


class AmazonState:
    def __init__(
        self,
        *,
        clock: Clock,
        publish: Publish,
        subscriptions: Subscriptions,
        time_scale: float,
        token_seconds: int,
        options: AmazonOptions,
        seed: int,
    ) -> None:
        self.clock = clock
        self.options = options
        self.accounts = Accounts(clock, token_seconds=token_seconds)
        self.plans = UsagePlans(clock, time_scale)
        self.ledger = AmazonLedger()
        self.faults = Faults(seed)
        self.subscriptions = subscriptions
        self.reports = Reports(clock)
        self.lock = threading.RLock()
        self.orders: dict[str, Order] = {}
        # The shipments of FBA Onsite, by order.
        self.fba_shipments: dict[str, list[str]] = {}
        self._versions: dict[str, list[Order]] = {}
        self._publish = publish
        self._random = random.Random(seed)

    def order(self, order_id: str) -> Order:
        return self.orders[order_id]

    def orders_of(self, seller_id: str) -> list[Order]:
        with self.lock:
            return [order for order in self.orders.values() if order.seller_id == seller_id]

    def listed(self, order: Order) -> Order | None:
        """The order as listings show it now: as it was before what changed within the delay; None: not yet."""
        until = self.clock.now() - timedelta(seconds=self.options.listing_delay_seconds)
        if order.last_updated <= until:
            return order
        versions = self._versions.get(order.order_id, [])
        return next((one for one in reversed(versions) if one.last_updated <= until), None)

    def add_order(self, order: Order, *, notify: bool = True) -> Order:
        with self.lock:
            self.orders[order.order_id] = order
            self._remember(order)
            if notify:
                self._notify(order, order_change.STATUS_CHANGE, "Order created")
                self._tell_of_fba_shipments(order)
        return order

    def change_status(self, order_id: str, status: str, *, notify: bool = True, reason: str = "") -> None:
        """Amazon, or a person in Seller Central, moves the order. SHIPPED means: every unit left, without our doing."""
        with self.lock:
            order = self.orders[order_id]
            order.status = status
            for item in order.items:
                if status == SHIPPED:
                    item.shipped_otherwise += item.quantity - order.shipped_units(item.item_id)
                if status == CANCELLED:
                    item.cancelled_by = item.cancelled_by or "BUYER"
                    item.cancel_reason = item.cancel_reason or "Buyer canceled"
            self._touch(order)
            if notify:
                self._notify(order, order_change.STATUS_CHANGE, reason or "Order status changed")
                self._tell_of_fba_shipments(order)

    def request_cancellation(self, order_id: str, reason: str = "Ordered by mistake", *, notify: bool = True) -> None:
        """The buyer asks. Nothing is cancelled until the seller, or Amazon, does it."""
        with self.lock:
            order = self.orders[order_id]
            for item in order.items:
                item.cancel_request_reason = reason
            self._touch(order)
            if notify:
                self._notify(order, order_change.BUYER_REQUEST, "Buyer Requested Cancel")

    def withdraw_cancellation_request(self, order_id: str, *, notify: bool = True) -> None:
        with self.lock:
            order = self.orders[order_id]
            for item in order.items:
                item.cancel_request_reason = None
            self._touch(order)
            if notify:
                self._notify(order, order_change.BUYER_REQUEST, "Buyer withdrew the cancellation request")

    def cancel(self, order_id: str, *, by: str = "BUYER", reason: str = "Buyer canceled", notify: bool = True) -> None:
        with self.lock:
            for item in self.orders[order_id].items:
                item.cancelled_by, item.cancel_reason = by, reason
            self.change_status(order_id, CANCELLED, notify=notify, reason="Order canceled")

    def cancel_units(self, order_id: str, item_id: str, quantity: int, *, by: str = "MERCHANT") -> None:
        """Part of an order is cancelled: fewer units are ordered from now on."""
        with self.lock:
            order = self.orders[order_id]
            item = order.item(item_id)
            if item is None:
                raise KeyError(item_id)
            item.quantity -= quantity
            item.cancelled_by, item.cancel_reason = by, "No inventory"
            if order.any_shipped:
                order.status = SHIPPED if order.all_shipped else PARTIALLY_SHIPPED
            self._touch(order)
            self._notify(order, order_change.STATUS_CHANGE, "Item canceled")

    def withhold_address(self, order_id: str, seconds: float) -> None:
        """The order is there before its address is."""
        with self.lock:
            self.orders[order_id].address_known_at = self.clock.now() + timedelta(seconds=seconds)

    def mark_delivered(self, order_id: str, reference_id: str | None = None) -> None:
        with self.lock:
            order = self.orders[order_id]
            for package in order.packages.values():
                if reference_id in (None, package.reference_id):
                    package.status = "DELIVERED"
            self._touch(order)

    def store_package(self, order: Order, package: Package) -> None:
        """A confirmation took effect. The caller holds the lock and has checked every rule."""
        package.visible_at = self.clock.now() + timedelta(seconds=self.options.package_delay_seconds)
        order.packages[package.reference_id] = package
        order.status = SHIPPED if order.all_shipped else PARTIALLY_SHIPPED
        self._touch(order)
        self._notify(order, order_change.STATUS_CHANGE, "Shipment confirmed")

    def report_horizon(self) -> datetime:
        """Up to when a report that is made now knows of changes."""
        return self.clock.now() - timedelta(seconds=self.options.report_delay_seconds)

    def next_update_time(self, order: Order) -> datetime:
        """Later than the one before, whatever the clock's resolution."""
        return max(self.clock.now(), order.last_updated + timedelta(milliseconds=1))

    def notify(self, order_id: str, *, item_level: bool = False, reason: str = "Order status changed") -> None:
        """Send the order's present state again, as a fresh notification."""
        with self.lock:
            self._notify(self.orders[order_id], order_change.STATUS_CHANGE, reason, item_level=item_level)

    def _touch(self, order: Order) -> None:
        order.last_updated = self.next_update_time(order)
        self._remember(order)

    def _remember(self, order: Order) -> None:
        if self.options.listing_delay_seconds:
            versions = self._versions.setdefault(order.order_id, [])
            versions.append(copy.deepcopy(order))
            del versions[:-KEPT_VERSIONS]

    def _tell_of_fba_shipments(self, order: Order) -> None:
        """FBA Onsite: a shipment is created once its order is paid, and cancelled with it."""
        if order.merchant_fulfilled or order.marketplace_id != fba_shipment.BRAZIL:
            return
        known = self.fba_shipments.setdefault(order.order_id, [])
        if order.status == UNSHIPPED and not known:
            known.append(f"D{self._random.getrandbits(40):010x}")
            self.tell_fba_shipment(order.order_id, known[0], fba_shipment.CREATED)
        elif order.status == CANCELLED:
            for shipment_id in known:
                self.tell_fba_shipment(order.order_id, shipment_id, fba_shipment.CANCELLED)

    def tell_fba_shipment(self, order_id: str, shipment_id: str, status: str) -> None:
        """FBA_OUTBOUND_SHIPMENT_STATUS to who has subscribed to it."""
        with self.lock:
            order = self.orders[order_id]
            known = self.subscriptions.find(order.seller_id, fba_shipment.FBA_SHIPMENT_STATUS, "1.0")
            if known is None:
                return
            message = fba_shipment.fba_shipment_message(
                order,
                shipment_id,
                status,
                clock=self.clock,
                application_id=self.accounts.application.application_id,
                subscription_id=known.subscription_id,
            )
            self.ledger.record_notification(fba_shipment.FBA_SHIPMENT_STATUS)
            self._publish(known.queue_arn, message)

    def _notify(self, order: Order, change_type: str, reason: str, *, item_level: bool = False) -> None:
        if self._random.random() < self.options.loss_share:
            self.ledger.record_notification("lost")
            return
        item_level = item_level or self._random.random() < self.options.item_level_share
        for subscription in self.subscriptions.wanting(order.seller_id, order.marketplace_id, change_type):
            messages = order_change.order_change_messages(
                order,
                clock=self.clock,
                application_id=self.accounts.application.application_id,
                subscription_id=subscription.subscription_id,
                change_type=change_type,
                reason=reason,
                item_level=item_level,
            )
            for message in messages:
                self.ledger.record_notification(change_type)
                self._publish(subscription.queue_arn, message)
