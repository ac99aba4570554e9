"""What a promise's check works with: the adapter behind a front, a worker in the warehouse, and made-up orders."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance.ends import Broken, NotPossible, expect
from orders_pipeline.wms.conformance.front import Front
from orders_pipeline.wms.conformance.worker import Worker
from orders_pipeline.wms.port import (
    Capability,
    FulfillmentLine,
    FulfillmentOrder,
    ShipmentEvent,
    WarehouseError,
    WarehousePort,
    WarehouseUnavailable,
)

OpenAdapter = Callable[[WarehouseSettings], WarehousePort]
Answer = TypeVar("Answer")

SELLER_ID, MARKETPLACE_ID = "A0CONFORMANCE", "ATVPDKIKX0DER"
EVENTS_A_PAGE = 100
# What happened at the warehouse is in its list of events by then.
EVENT_SECONDS = 20.0
# The longest that any one call may take: a worker's lease is a minute.
CALL_SECONDS = 60.0
_BETWEEN_POLLS_SECONDS = 0.2
CARRIER = "UPS"


class Trial:
    """One adapter and its warehouse. `call_seconds`: how long a call may take at most."""

    def __init__(
        self, open_adapter: OpenAdapter, settings: WarehouseSettings, worker: Worker, *, call_seconds: float
    ) -> None:
        self.front = Front(settings.base_url)
        self.worker = worker
        self.call_seconds = call_seconds
        self._settings = settings.model_copy(update={"base_url": self.front.url})
        self._open_adapter = open_adapter
        self._opened: list[WarehousePort] = []
        self.adapter = self.open()
        self._cursor: str | None = None
        self._seen: list[ShipmentEvent] = []

    def open(self, token: str | None = None) -> WarehousePort:
        """The adapter anew, as after a restart of ours; with another token, if one is given."""
        settings = self._settings
        if token is not None:
            settings = settings.model_copy(update={"token": type(settings.token)(token)})
        opened = self._open_adapter(settings)
        self._opened.append(opened)
        return opened

    @property
    def token(self) -> str:
        """In clear: to see that nobody tells it."""
        return self._settings.token.get_secret_value()

    def close(self) -> None:
        for one in self._opened:
            one.close()
        self.worker.close()
        self.front.close()

    def needs(self, capability: Capability) -> None:
        """Raises NotPossible where the adapter does not declare it."""
        if capability not in self.adapter.capabilities:
            raise NotPossible(f"the adapter does not declare {capability}: {capability.meaning}")

    # --- orders

    def order(self, *quantities: int, order_ref: str | None = None) -> FulfillmentOrder:
        """An order that was never pushed, with so many pieces of each line; nobody else has its buyer's words."""
        skus = self.worker.skus()
        now = datetime.now(UTC).replace(microsecond=0)
        return FulfillmentOrder(
            order_ref=order_ref or "-".join(_digits(length) for length in (3, 7, 7)),
            seller_id=SELLER_ID,
            marketplace_id=MARKETPLACE_ID,
            purchased_at=now - timedelta(hours=1),
            ship_by=now + timedelta(days=1),
            deliver_by=now + timedelta(days=4),
            service_level="STANDARD",
            is_prime=False,
            is_business=False,
            ship_to=Address(
                name=PersonalText(f"Avery {_word()}"),
                address_line1=PersonalText(f"7 {_word()} Row"),
                city=PersonalText("Duluth"),
                state_or_region=PersonalText("MN"),
                postal_code=PersonalText("55802"),
                country_code="US",
                phone=PersonalText(f"+1 218 555 {_digits(7)}"),
                address_type="Residential",
            ),
            lines=tuple(
                FulfillmentLine(_digits(14), sku, quantity, title="A thing")
                for sku, quantity in zip(skus, quantities or (1,), strict=False)
            ),
        )

    def pushed(self, *quantities: int) -> FulfillmentOrder:
        """A new order that the warehouse has taken."""
        order = self.order(*quantities)
        answer = self.adapter.push(order)
        expect(answer.is_there, f"a plain order was answered {answer.answer} ({answer.code})")
        return order

    def copies(self, order: FulfillmentOrder) -> Sequence[Mapping[str, int]]:
        return self.worker.orders(order.order_ref)

    def expect_once(self, order: FulfillmentOrder) -> None:
        """The warehouse has it once, with the pieces that were sent."""
        copies = self.copies(order)
        sent = {str(line.sku): line.quantity for line in order.lines}
        expect(len(copies) == 1, f"the warehouse has {len(copies)} orders under one reference")
        expect(dict(copies[0]) == sent, f"the warehouse has {dict(copies[0])} where {sent} was sent")

    # --- events

    def skip_to_the_end(self) -> None:
        """What the warehouse has reported so far is read; events are looked for after it."""
        self._seen = []
        for _ in range(10_000):
            page = self.adapter.poll(self._cursor, EVENTS_A_PAGE)
            if page.next_cursor is None or page.next_cursor == self._cursor:
                return
            self._cursor = page.next_cursor
            if not page.events:
                return
        raise Broken("the list of events has no end: ten thousand pages were read")

    @property
    def cursor(self) -> str | None:
        """Before everything that this promise's check has made happen."""
        return self._cursor

    def events(self, *orders: FulfillmentOrder, expected: int, repeated: bool = False) -> list[ShipmentEvent]:
        """The events of these orders since the check began, once there are so many; as they came, each once.

        What was read before counts: a warehouse may forget what has changed since. `repeated`: also those that were
        delivered again.
        """
        refs = {order.order_ref for order in orders}
        until = time.monotonic() + EVENT_SECONDS
        while True:
            read = self._read_on(self._cursor)
            self._seen = each_once([*self._seen, *read])
            found = [event for event in (read if repeated else self._seen) if event.order_ref in refs]
            if len(found) >= expected:
                return found
            if time.monotonic() > until:
                seen = ", ".join(event.kind for event in found) or "none"
                raise Broken(f"{expected} events were expected within {EVENT_SECONDS:.0f} s; seen: {seen}")
            time.sleep(_BETWEEN_POLLS_SECONDS)

    def _read_on(self, cursor: str | None) -> list[ShipmentEvent]:
        found: list[ShipmentEvent] = []
        for _ in range(1_000):
            page = self.adapter.poll(cursor, EVENTS_A_PAGE)
            found += page.events
            if not page.events or page.next_cursor in (None, cursor):
                break
            cursor = page.next_cursor
        return found

    # --- troubles

    def raises(self, kind: type[WarehouseError], call: Callable[[], object], when: str) -> WarehouseError:
        """The error that the call ends in; Broken if it ends otherwise."""
        try:
            answer = call()
        except kind as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, it is not what was promised
            raise Broken(f"{when}: {type(error).__name__} instead of {kind.__name__}") from None
        raise Broken(f"{when}: answered {answer!r} instead of {kind.__name__}")

    def unknown_or(self, call: Callable[[], Answer]) -> Answer | None:
        """The call's answer, or None where it ended in WarehouseUnavailable: its outcome is unknown."""
        try:
            return call()
        except WarehouseUnavailable:
            return None


def each_once(events: Sequence[ShipmentEvent]) -> list[ShipmentEvent]:
    """The events without those that were delivered again; Broken if two of one id say different things."""
    known: dict[str, ShipmentEvent] = {}
    for event in events:
        expect(known.setdefault(event.event_id, event) == event, "two events of one event_id say different things")
    return list(known.values())


def changed(order: FulfillmentOrder, **fields: object) -> FulfillmentOrder:
    """The order with other fields of its recipient's address."""
    address = {name: PersonalText(value) if isinstance(value, str) else value for name, value in fields.items()}
    return replace(order, ship_to=replace(order.ship_to, **address))


def buyers_words(order: FulfillmentOrder) -> list[str]:
    """What of this order is found nowhere else: the recipient's name, street and phone."""
    address = order.ship_to
    return [text.plain() for text in (address.name, address.address_line1, address.phone) if text is not None]


def tracking_number() -> str:
    """Of the form of UPS's, and never given out before."""
    return f"1Z{_digits(16)}"


def _digits(count: int) -> str:
    return "".join(secrets.choice("123456789") for _ in range(count))


def _word() -> str:
    """A name that nobody has."""
    return "Quill" + "".join(secrets.choice("bdfghklmnprstvw") + secrets.choice("aeiou") for _ in range(4))
