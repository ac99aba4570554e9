"""Promises of the list of events: nothing is left out, whatever page it is read by, and whoever restarts."""

from __future__ import annotations

from collections.abc import Callable

from orders_pipeline.wms.conformance.ends import Broken, expect
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import CARRIER, Trial, each_once, tracking_number
from orders_pipeline.wms.port import FulfillmentOrder, ShipmentEvent, WarehousePort

# More than any page of one, and far fewer than would take long.
MOST_PAGES = 500


def _ship_some(trial: Trial, count: int = 3) -> list[FulfillmentOrder]:
    orders = [trial.pushed(1) for _ in range(count)]
    for order in orders:
        trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
        trial.events(order, expected=1)
    return orders


def _all(adapter: WarehousePort, cursor: str | None, limit: int) -> tuple[list[ShipmentEvent], str | None]:
    """Every event after the cursor, read by pages of this size, each once; and the last cursor."""
    found: list[ShipmentEvent] = []
    for _ in range(MOST_PAGES):
        page = adapter.poll(cursor, limit)
        found += page.events
        expect(page.next_cursor is not None or not page.events, "a page with events has no cursor to go on with")
        is_over = not page.events or page.next_cursor == cursor
        cursor = page.next_cursor or cursor
        if is_over:
            return each_once(found), cursor
    raise Broken(f"the list of events has no end: {MOST_PAGES} pages were read")


def _refs(events: list[ShipmentEvent]) -> list[str]:
    return [event.order_ref for event in events]


def _small_pages(trial: Trial) -> None:
    orders = _ship_some(trial)
    whole, _ = _all(trial.adapter, trial.cursor, 100)
    by_two, _ = _all(trial.adapter, trial.cursor, 2)
    expect(by_two == whole, f"by pages of two {len(by_two)} events are read, by one page {len(whole)}: not the same")
    sent = {order.order_ref for order in orders}
    expect([ref for ref in _refs(whole) if ref in sent] == [order.order_ref for order in orders],
           "the events are not in the order in which they happened")  # fmt: skip


def _page_again(trial: Trial) -> None:
    orders = _ship_some(trial)
    first, again = (trial.adapter.poll(trial.cursor, 100).events for _ in range(2))
    expect(first == again, "the same cursor, asked again, gives another page")
    missing = {order.order_ref for order in orders} - {event.order_ref for event in again}
    expect(not missing, f"of three packages that left, {len(missing)} are not on the page that is asked for again")


def _goes_on(trial: Trial, restart: Callable[[Trial], WarehousePort]) -> None:
    _ship_some(trial, 2)
    _, cursor = _all(trial.adapter, trial.cursor, 100)
    adapter = restart(trial)
    (newer,) = _ship_some(trial, 1)
    events, _ = _all(adapter, cursor, 100)
    expect(newer.order_ref in _refs(events), "the event that has happened since is not read")


def _our_restart(trial: Trial) -> None:
    _goes_on(trial, lambda trial: trial.open())


def _their_restart(trial: Trial) -> None:
    def restart(trial: Trial) -> WarehousePort:
        trial.worker.restart()
        return trial.adapter

    _goes_on(trial, restart)


def _the_end(trial: Trial) -> None:
    _ship_some(trial, 1)
    known, cursor = _all(trial.adapter, trial.cursor, 100)
    page = trial.adapter.poll(cursor, 100)
    expect(set(_refs(list(page.events))) <= set(_refs(known)), "after the last event there is another one")
    expect(not page.events or page.next_cursor == cursor, "the list of events has no end: it repeats the last ones")
    order = trial.pushed(1)
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    trial.events(order, expected=1)
    events, _ = _all(trial.adapter, page.next_cursor or cursor, 100)
    expect(order.order_ref in _refs(events), "after the last page the next event is missed")


def _lost_page(trial: Trial) -> None:
    orders = _ship_some(trial)
    with trial.front.striking("lost"):
        trial.unknown_or(lambda: trial.adapter.poll(trial.cursor, 100))
    events, _ = _all(trial.adapter, trial.cursor, 100)
    missing = {order.order_ref for order in orders} - {*_refs(events)}
    expect(not missing, f"of three events on a page that was lost on the way, {len(missing)} are not read again")


PROMISES = (
    Promise("page.any_size", "Pages of any size give the same events, in the order in which they happened.",
            "contract, GET shipments: limit", _small_pages),
    Promise("page.again", "The same cursor gives the same page: what was read and not committed is not lost.",
            "shipments/poll.py: record, then move the cursor", _page_again),
    Promise("page.lost", "A page whose answer is lost on the way is there at the next poll.", "design, promise 1",
            _lost_page),
    Promise("page.the_end", "The list has an end, from which the cursor goes on with what happens next.",
            "contract, GET shipments: cursor as last returned", _the_end),
    Promise("page.after_our_restart", "A cursor goes on in another process where it stopped: nothing is missed.",
            "contract, GET shipments: cursor as last returned", _our_restart),
    Promise("page.after_their_restart", "A cursor goes on after the warehouse's restart, as the adapter does.",
            "issue 12", _their_restart),
)  # fmt: skip
