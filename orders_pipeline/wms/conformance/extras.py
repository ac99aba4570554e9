"""Promises of what not every warehouse has: erasing, webhooks, acknowledgements, stock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from orders_pipeline.wms.conformance.ends import Broken, expect
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import CARRIER, Trial, buyers_words, tracking_number
from orders_pipeline.wms.port import Capability, FulfillmentOrder, ShipmentEvent, StockLevel, WebhookRefused

# No sender's clock is off by this much.
LONG_AGO = timedelta(days=1)
MOST_STOCK_PAGES = 1_000


def _shipped(trial: Trial) -> tuple[FulfillmentOrder, ShipmentEvent]:
    order = trial.pushed(1)
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    return order, trial.events(order, expected=1)[0]


# --- erasing


def _erases(trial: Trial, order: FulfillmentOrder, when: str) -> None:
    words = buyers_words(order)
    there = set(trial.worker.finds(words))
    expect(there, f"{when}: nothing of the buyer is found before it is erased, so that nothing could be seen to go")
    expect(trial.adapter.erase_pii(order.order_ref), f"{when}: the erasure was answered with no")
    left = trial.worker.finds(words)
    expect(not left, f"{when}: {len(left)} of the buyer's name, street and phone are still in the warehouse's data")


def _erase_shipped(trial: Trial) -> None:
    trial.needs(Capability.ERASE_PII)
    order, _ = _shipped(trial)
    _erases(trial, order, "of an order that has left")
    expect(trial.adapter.erase_pii(order.order_ref), "erased a second time, it was answered with no")
    found = trial.adapter.find(order.order_ref)
    expect(found is None or found.status == "shipped", "what left is no longer shown as shipped")


def _erase_cancelled(trial: Trial) -> None:
    trial.needs(Capability.ERASE_PII)
    trial.needs(Capability.CANCEL)
    order = trial.pushed(1)
    trial.adapter.cancel(order.order_ref, "cancelled at Amazon")
    _erases(trial, order, "of an order that was cancelled")


def _erase_one_alone(trial: Trial) -> None:
    trial.needs(Capability.ERASE_PII)
    first, second = trial.pushed(1), trial.pushed(1)
    _erases(trial, first, "of one of two orders")
    left = set(trial.worker.finds(buyers_words(second)))
    expect(len(left) == len(buyers_words(second)), "the erasure of one order has taken another's address")


def _erase_unknown(trial: Trial) -> None:
    trial.needs(Capability.ERASE_PII)
    expect(
        trial.adapter.erase_pii(trial.order(1).order_ref), "of an order that nobody pushed nothing is there to erase"
    )


# --- webhooks


def _webhook(trial: Trial) -> tuple[ShipmentEvent, Mapping[str, str], bytes]:
    trial.needs(Capability.WEBHOOKS)
    order, polled = _shipped(trial)
    headers, body = trial.worker.webhook(order.order_ref)
    return polled, headers, body


def _same_event(trial: Trial) -> None:
    polled, headers, body = _webhook(trial)
    for spelled in (headers, {name.lower(): value for name, value in headers.items()}):
        page = trial.adapter.parse_webhook(spelled, body, datetime.now(UTC))
        expect(page.events == (polled,), "a webhook gives another event than the poll")


def _refused(trial: Trial, headers: Mapping[str, str], body: bytes, now: datetime, what: str) -> None:
    try:
        trial.adapter.parse_webhook(headers, body, now)
    except WebhookRefused:
        return
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises, it is not what was promised
        raise Broken(f"{what}: {type(error).__name__} instead of WebhookRefused") from None
    raise Broken(f"{what} was believed")


def _forged(trial: Trial) -> None:
    _, headers, body = _webhook(trial)
    now = datetime.now(UTC)
    _refused(trial, headers, body.replace(b"shipped", b"voided!"), now, "a body that was changed on the way")
    _refused(trial, {}, body, now, "a webhook without a signature")
    altered = {name: value[:-1] + ("0" if value[-1:] != "0" else "1") for name, value in headers.items()}
    _refused(trial, altered, body, now, "a signature with another last letter")


def _replayed(trial: Trial) -> None:
    _, headers, body = _webhook(trial)
    _refused(trial, headers, body, datetime.now(UTC) + LONG_AGO, "a webhook of yesterday")
    _refused(trial, headers, body, datetime.now(UTC) - LONG_AGO, "a webhook of tomorrow")


# --- acknowledgements


def _acknowledged(trial: Trial) -> None:
    trial.needs(Capability.ACKNOWLEDGE)
    _, event = _shipped(trial)
    for event_ids in ([], [event.event_id], [event.event_id], ["an-id-that-nobody-gave"]):
        trial.adapter.acknowledge(event_ids)
    order, newer = _shipped(trial)
    expect(newer.order_ref == order.order_ref, "after an acknowledgement a newer event is not delivered")


def _not_acknowledged(trial: Trial) -> None:
    trial.needs(Capability.ACKNOWLEDGE)
    (_, first), (other, second) = _shipped(trial), _shipped(trial)
    trial.adapter.acknowledge([first.event_id])
    page = trial.adapter.poll(trial.cursor, 100)
    own = [event for event in page.events if event.order_ref == other.order_ref]
    expect(own == [second], "the acknowledgement of one event has taken another one away")


# --- stock


def _stock(trial: Trial, limit: int) -> list[StockLevel]:
    levels: list[StockLevel] = []
    cursor: str | None = None
    for _ in range(MOST_STOCK_PAGES):
        page = trial.adapter.read_stock(cursor, limit)
        expect(len(page.levels) <= limit, f"a page of {limit} holds {len(page.levels)} levels")
        levels += page.levels
        if page.next_cursor is None:
            return levels
        expect(page.next_cursor != cursor, "a page of stock leads to itself")
        cursor = page.next_cursor
    raise Broken(f"the stock has no end: {MOST_STOCK_PAGES} pages were read")


def _stock_is_what_lies_there(trial: Trial) -> None:
    trial.needs(Capability.STOCK)
    sku = trial.worker.skus()[0]
    before, on_hand = _stock(trial, 100), trial.worker.on_hand(sku)
    counted = sum(level.on_hand for level in before if level.sku == sku)
    expect(counted == on_hand, f"of a SKU {counted} pieces are told where {on_hand} lie there")
    wrong = [level.sku for level in before if level.available > level.on_hand or not level.sku or not level.location]
    expect(not wrong, "more is available than is on hand, or a level has no SKU or location")
    _shipped(trial)
    counted_after = sum(level.on_hand for level in _stock(trial, 100) if level.sku == sku)
    expect(counted_after == on_hand - 1, f"one piece has left of {on_hand}, and {counted_after} are told")


def _stock_by_pages(trial: Trial) -> None:
    trial.needs(Capability.STOCK)
    whole, by_two = _stock(trial, 100), _stock(trial, 2)
    order: Callable[[StockLevel], tuple[str, str]] = lambda level: (level.sku, level.location)  # noqa: E731
    expect(
        sorted(by_two, key=order) == sorted(whole, key=order), "by pages of two other stock is read than by one page"
    )
    places = [order(level) for level in whole]
    expect(len(set(places)) == len(places), "the same SKU is told twice of the same location")


PROMISES = (
    Promise("erase.shipped", "Of an order that has left the buyer's name, street and phone are gone; the order is not.",
            "contract, erase_pii; DPP §1.5", _erase_shipped),
    Promise("erase.cancelled", "So they are of an order that was cancelled.", "contract, erase_pii", _erase_cancelled),
    Promise("erase.one_alone", "The erasure of one order leaves every other one as it is.", "contract, erase_pii",
            _erase_one_alone),
    Promise("erase.unknown_order", "Of an order that is not there, there is nothing left to erase: True.",
            "contract, erase_pii: 404", _erase_unknown),
    Promise("webhook.same_event", "A webhook gives the same event as the poll, however its headers are spelled.",
            "issue 12: parse_webhook giving the same event", _same_event),
    Promise("webhook.forged", "A webhook that is not signed, or not as it was signed, is refused.",
            "contract: X-Signature", _forged),
    Promise("webhook.replayed", "A webhook of another time is refused, whoever signed it.",
            "issue 12: timestamp, replay window", _replayed),
    Promise("acknowledge.harmless", "An acknowledgement may be repeated, or of nothing; newer events still come.",
            "port: acknowledge", _acknowledged),
    Promise("acknowledge.named_alone", "An acknowledgement is of the events that it names alone; others still come.",
            "peers §3.3: ShipBob", _not_acknowledged),
    Promise("stock.is_what_lies_there", "The pieces of a SKU over all locations are those that lie there.",
            "issue 12: stock by SKU and location", _stock_is_what_lies_there),
    Promise("stock.any_page_size", "Pages of any size give the same stock, each place once.", "port: read_stock",
            _stock_by_pages),
)  # fmt: skip
