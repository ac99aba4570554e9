"""Promises of the shipment events: what left, what will not, and in whose words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orders_pipeline.model.untrusted_text import LONGEST_TEXT, is_bounded
from orders_pipeline.wms.conformance.ends import expect
from orders_pipeline.wms.conformance.promise import Promise
from orders_pipeline.wms.conformance.trial import CARRIER, Trial, tracking_number
from orders_pipeline.wms.port import FulfillmentOrder, ShipmentEvent

# The warehouse's clock and this one: a shipment is not dated by hours.
CLOCKS_AGREE_WITHIN = timedelta(hours=26)
# An end of the line, a bell, a right-to-left override, and no end.
HOSTILE = "Fast\r\nand \x07\u202eexpress " + "x" * 5_000


def _pieces(order: FulfillmentOrder, events: list[ShipmentEvent]) -> dict[str, int]:
    """How many pieces these events tell of, by line reference; Broken for a line that was never sent."""
    known = {line.line_ref for line in order.lines}
    pieces: dict[str, int] = {}
    for event in events:
        for line_ref, quantity in event.lines:
            expect(line_ref in known, f"an event names the line {line_ref!r}, which was not sent")
            pieces[line_ref] = pieces.get(line_ref, 0) + quantity
    return pieces


def _sent(order: FulfillmentOrder) -> dict[str, int]:
    return {line.line_ref: line.quantity for line in order.lines}


def _kinds(events: list[ShipmentEvent], *expected: str) -> None:
    kinds = [event.kind for event in events]
    expect(kinds == list(expected), f"reported were {kinds} where {list(expected)} happened, in this order")


def _shipped(trial: Trial) -> None:
    order, number = trial.pushed(2, 1), tracking_number()
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=number)
    (event,) = trial.events(order, expected=1)
    _kinds([event], "shipped")
    expect(event.event_id and event.package_id, "a shipped package has no event_id or no package_id")
    expect(event.tracking_number == number, "the tracking number is not the one that the package left with")
    expect((event.carrier or "").lower().startswith(CARRIER.lower()), f"the carrier is {event.carrier!r}")
    expect(_pieces(order, [event]) == _sent(order), "the package's lines are not what left")
    at = event.shipped_at
    expect(at is not None and at.tzinfo is not None, f"shipped_at is {at!r}: a time with its offset is wanted")
    if at is not None:
        off = abs(at - datetime.now(UTC))
        expect(off < CLOCKS_AGREE_WITHIN, f"shipped_at is {off} away from now")


def _split(trial: Trial) -> None:
    order = trial.pushed(3)
    sku = str(order.lines[0].sku)
    parcels = [({sku: pieces}, tracking_number()) for pieces in (1, 2)]
    trial.worker.ship_split(order.order_ref, parcels, carrier=CARRIER)
    events = trial.events(order, expected=2)
    _kinds(events, "shipped", "shipped")
    expect(len({event.package_id for event in events}) == 2, "two packages have one package_id")
    expect(len({event.tracking_number for event in events}) == 2, "two packages have one tracking number")
    by_number = {event.tracking_number: _pieces(order, [event]) for event in events}
    left = {number: {order.lines[0].line_ref: lines[sku]} for lines, number in parcels}
    expect(by_number == left, "the packages' lines and numbers are not what left with each")


def _merged(trial: Trial) -> None:
    first, second, number = trial.pushed(1), trial.pushed(2), tracking_number()
    trial.worker.ship_together([first.order_ref, second.order_ref], carrier=CARRIER, tracking_number=number)
    events = trial.events(first, second, expected=2)
    _kinds(events, "shipped", "shipped")
    for order in (first, second):
        own = [event for event in events if event.order_ref == order.order_ref]
        expect(_pieces(order, own) == _sent(order), "one box for two orders: an order's event has not its own lines")
        expect([event.tracking_number for event in own] == [number], "the box's tracking number is not with each order")


def _voided_and_again(trial: Trial) -> None:
    order, first, second = trial.pushed(1), tracking_number(), tracking_number()
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=first)
    trial.events(order, expected=1)
    trial.worker.void(order.order_ref)
    trial.events(order, expected=2)
    trial.worker.ship_again(order.order_ref, carrier=CARRIER, tracking_number=second)
    events = trial.events(order, expected=3)
    _kinds(events, "shipped", "voided", "shipped")
    expect(len({event.package_id for event in events}) == 1, "the same box has more than one package_id")
    expect(events[-1].tracking_number == second, "the new label's tracking number is not reported")


def _voided(trial: Trial) -> None:
    order, number = trial.pushed(1), tracking_number()
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=number)
    trial.events(order, expected=1)
    trial.worker.void(order.order_ref)
    events = trial.events(order, expected=2)
    _kinds(events, "shipped", "voided")
    expect(events[0].package_id == events[1].package_id, "the void names another package than the one that left")
    expect(events[1].tracking_number in (None, number), "the void names another label than the one that was voided")


def _replaced(trial: Trial) -> None:
    order, second = trial.pushed(2, 1), tracking_number()
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    trial.events(order, expected=1)
    trial.worker.void(order.order_ref)
    trial.events(order, expected=2)
    trial.worker.replace(order.order_ref, carrier=CARRIER, tracking_number=second)
    events = trial.events(order, expected=3)
    _kinds(events, "shipped", "voided", "shipped")
    expect(events[2].package_id != events[0].package_id, "what leaves in its place has the voided package's id")
    expect(events[2].tracking_number == second, "what leaves in its place has not its own tracking number")
    expect(_pieces(order, [events[2]]) == _sent(order), "what leaves in its place has not the order's pieces")


def _new_label(trial: Trial) -> None:
    order, second = trial.pushed(1), tracking_number()
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    trial.events(order, expected=1)
    trial.worker.relabel(order.order_ref, carrier=CARRIER, tracking_number=second)
    events = trial.events(order, expected=2)
    _kinds(events, "shipped", "shipped")
    expect(events[0].package_id == events[1].package_id, "under another label the box has another package_id")
    expect(events[1].tracking_number == second, "the new label's tracking number is not reported")


def _short(trial: Trial) -> None:
    order = trial.pushed(3)
    line = order.lines[0]
    there, missing = {str(line.sku): 1}, {str(line.sku): 2}
    trial.worker.ship_short(order.order_ref, there, missing, carrier=CARRIER, tracking_number=tracking_number())
    events = trial.events(order, expected=2)
    by_kind = {event.kind: _pieces(order, [event]) for event in events}
    expect(by_kind == {"shipped": {line.line_ref: 1}, "short": {line.line_ref: 2}},
           f"one piece left and two could not be found; reported was {by_kind}")  # fmt: skip


def _cancelled_there(trial: Trial) -> None:
    order = trial.pushed(1)
    trial.worker.cancel(order.order_ref)
    (event,) = trial.events(order, expected=1)
    _kinds([event], "cancelled")


def _delivered_again(trial: Trial) -> None:
    order = trial.pushed(1)
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    trial.worker.repeat_event(order.order_ref)
    first, *again = trial.events(order, expected=2, repeated=True)
    expect(
        all(one == first for one in again),
        "an event that is delivered again has another event_id, or says other things",
    )


def _out_of_order(trial: Trial) -> None:
    order = trial.pushed(2)
    line, earlier = order.lines[0], datetime.now(UTC) - timedelta(hours=2)
    one = [{"line_ref": line.line_ref, "quantity": 1}]
    trial.worker.report(order.order_ref, package_id="LATE-2", lines=one)
    trial.worker.report(order.order_ref, package_id="LATE-1", lines=one, shipped_at=earlier.isoformat())
    events = trial.events(order, expected=2)
    expect([event.package_id for event in events] == ["LATE-2", "LATE-1"], "a late event is lost, or not as it came")
    at = events[1].shipped_at
    expect(at is not None and abs(at - earlier) < timedelta(seconds=1), "a late event has not the time at which it was")


def _unknown_kind(trial: Trial) -> None:
    order = trial.pushed(1)
    trial.worker.report(order.order_ref, kind="weighed")
    trial.worker.ship(order.order_ref, carrier=CARRIER, tracking_number=tracking_number())
    events = trial.events(order, expected=2)
    _kinds(events, "weighed", "shipped")


def _hostile_text(trial: Trial) -> None:
    order = trial.pushed(1)
    trial.worker.ship(order.order_ref, carrier=HOSTILE, tracking_number=HOSTILE)
    (event,) = trial.events(order, expected=1)
    for name, text in (("carrier", event.carrier or ""), ("tracking_number", event.tracking_number or "")):
        expect(is_bounded(text, LONGEST_TEXT), f"{name} is not one line of {LONGEST_TEXT} visible characters")
        expect(text.startswith("Fast"), f"of {name} nothing is left")


def _clock(trial: Trial) -> None:
    order = trial.pushed(1)
    noon = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    given = {"2026-11-20T17:45:00+05:45": noon, "2026-11-20T12:00:00Z": noon, "2026-11-20T12:00:00": None,
             "yesterday": None, "2031-01-01T00:00:00-11:00": datetime(2031, 1, 1, 11, tzinfo=UTC)}  # fmt: skip
    for text in given:
        trial.worker.report(order.order_ref, shipped_at=text)
    events = trial.events(order, expected=len(given))
    for (text, expected), event in zip(given.items(), events, strict=True):
        expect(event.shipped_at == expected, f"shipped_at {text!r} is read as {event.shipped_at}")


PROMISES = (
    Promise("event.shipped", "A package that left is `shipped`, with ids, carrier, number, aware time and our lines.",
            "contract, shipment event", _shipped),
    Promise("event.split", "Each package of an order is an event with an id, a number and lines of its own.",
            "contract: several packages are several events; peers §3.3: ShipHero", _split),
    Promise("event.merged", "One box for two orders is an event for each, with its own lines and the box's number.",
            "issue 12: merged packages", _merged),
    Promise("event.voided", "A package that will not travel is `voided`, under the id that it was shipped under.",
            "contract: voided", _voided),
    Promise("event.voided_and_shipped_again", "The same box under a new label is three events of one package.",
            "contract: the same package_id, reported as shipped again with a new event_id", _voided_and_again),
    Promise("event.voided_and_replaced", "What leaves in a voided package's place is a package of its own.",
            "contract: the package that replaces it", _replaced),
    Promise("event.new_label", "Another label on the same box is the same package, shipped, in an event of its own.",
            "contract: a new label on the same box", _new_label),
    Promise("event.short", "What will not come is `short`, with its pieces, and never counted as shipped.",
            "contract: short; peers §3.2: assign_try", _short),
    Promise("event.cancelled_there", "What the warehouse cancels by itself is `cancelled`.", "contract: kind cancelled",
            _cancelled_there),
    Promise("event.again_is_the_same", "An event that is delivered again has the same id and says the same.",
            "contract: events may be delivered again", _delivered_again),
    Promise("event.out_of_order", "An event that comes late is not lost, and keeps its own time.", "issue 12",
            _out_of_order),
    Promise("event.unknown_kind", "An event of a kind that nobody knows comes through, and so do those after it.",
            "port: `kind` is open", _unknown_kind),
    Promise("event.hostile_text", "Text that is too long or hostile is cut to a visible line, and the event counts.",
            "contract: free text from the warehouse", _hostile_text),
    Promise("event.clock", "A time counts with its offset, be it odd or to come; without one it is none.",
            "contract: shipped_at (with offset)", _clock),
)  # fmt: skip
