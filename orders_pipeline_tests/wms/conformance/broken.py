"""For each promise of the suite an adapter that breaks it, and mostly nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

from orders_pipeline.sandbox.sandbox import WAREHOUSE_TOKEN
from orders_pipeline.wms.port import (
    FulfillmentOrder,
    PushResult,
    ShipmentEvent,
    ShipmentPage,
    StockPage,
    WarehouseError,
    WarehouseOrder,
    WarehousePort,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline_tests.wms.conformance.able import Able, bent

Break = Callable[[WarehousePort], WarehousePort]
_delivery = count()


def _calls(**calls: Callable[..., object]) -> Break:
    return lambda warehouse: bent(warehouse, **calls)


def _answered(call: str, wrong: Any, *instead_of: Any) -> Break:
    """The call says `wrong` where it would say one of these, or whatever it would say."""

    def answer(real: Callable[..., Any], *arguments: Any) -> Any:
        said = real(*arguments)
        return wrong if not instead_of or said in instead_of else said

    return _calls(**{call: answer})


def _unasked(call: str, answer: Any) -> Break:
    """The call answers without having asked anybody."""
    return _calls(**{call: lambda _real, *_: answer})


def _pushed(change: Callable[[PushResult, FulfillmentOrder], PushResult]) -> Break:
    return _calls(push=lambda real, order: change(real(order), order))


def _swallows(call: str, answer: Any, error: type[Exception] = WarehouseUnavailable) -> Break:
    """An error is taken for an answer."""

    def swallow(real: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return real(*arguments)
        except error:
            return answer

    return _calls(**{call: swallow})


def _raises_instead(error: type[Exception], make: Callable[..., Exception], *names: str) -> Break:
    def translate(real: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return real(*arguments)
        except error:
            raise make(*arguments) from None

    return _calls(**dict.fromkeys(names, translate))


def _events(change: Callable[[Sequence[ShipmentEvent]], Sequence[ShipmentEvent]]) -> Break:
    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        page = real(cursor, limit)
        return replace(page, events=tuple(change(page.events)))

    return _calls(poll=poll)


def _each_event(**fields: Callable[[ShipmentEvent], object]) -> Break:
    return _events(
        lambda events: [replace(event, **{name: make(event) for name, make in fields.items()}) for event in events]
    )


def _first_of_each(key: Callable[[ShipmentEvent], object]) -> Break:
    """Only the first event that has this; what has nothing of it stays."""

    def once(events: Sequence[ShipmentEvent]) -> list[ShipmentEvent]:
        seen: set[object] = set()
        kept: list[ShipmentEvent] = []
        for event in events:
            if key(event) is None or key(event) not in seen:
                kept.append(event)
            seen.add(key(event))
        return kept

    return _events(once)


def _without(kind: str) -> Break:
    return _events(lambda events: [event for event in events if event.kind != kind])


def _refuses_unknown_kinds(events: Sequence[ShipmentEvent]) -> Sequence[ShipmentEvent]:
    if unknown := {event.kind for event in events} - {"shipped", "voided", "short", "cancelled"}:
        raise WarehouseRefused(f"{unknown}")
    return events


def _remembers(warehouse: WarehousePort) -> WarehousePort:
    seen: set[str] = set()

    def push(real: Callable[[FulfillmentOrder], PushResult], order: FulfillmentOrder) -> PushResult:
        result = real(order)
        known = order.order_ref in seen
        seen.add(order.order_ref)
        return result if known else replace(result, answer="accepted")

    return bent(warehouse, push=push)


def _delivers_once(warehouse: WarehousePort) -> WarehousePort:
    seen: set[str] = set()

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        page = real(cursor, limit)
        newer = tuple(event for event in page.events if event.event_id not in seen)
        seen.update(event.event_id for event in page.events)
        return replace(page, events=newer)

    return bent(warehouse, poll=poll)


def _goes_past_what_was_lost(warehouse: WarehousePort) -> WarehousePort:
    lost: set[str | None] = set()

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        if cursor in lost:
            return replace(real(cursor, limit), events=())
        try:
            return real(cursor, limit)
        except WarehouseUnavailable:
            lost.add(cursor)
            raise

    return bent(warehouse, poll=poll)


def _misses_the_next(warehouse: WarehousePort) -> WarehousePort:
    ended: set[str | None] = set()

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        page = real(cursor, limit)
        if not page.events:
            ended.add(cursor)
        return replace(page, events=page.events[1:]) if cursor in ended else page

    return bent(warehouse, poll=poll)


def _begins_at_the_end(warehouse: WarehousePort) -> WarehousePort:
    polled: list[str | None] = []

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        polled.append(cursor)
        page = real(cursor, limit)
        return page if len(polled) > 1 else replace(page, events=())

    return bent(warehouse, poll=poll)


def _stays_logged_out(warehouse: WarehousePort) -> WarehousePort:
    sandbox = cast(Able, warehouse).made.sandbox
    server = sandbox._warehouse_server

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        if sandbox._warehouse_server is not server:
            raise WarehouseUnauthorized("the session of before the restart")
        return real(cursor, limit)

    return bent(warehouse, poll=poll)


def _drops_small_pages(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
    page = real(cursor, limit)
    return replace(page, events=page.events[:1]) if limit == 2 else page


def _erases_unless_cancelled(warehouse: WarehousePort) -> WarehousePort:
    def erase_pii(real: Callable[[str], bool], order_ref: str) -> bool:
        found = warehouse.find(order_ref)
        return True if found is not None and found.status == "cancelled" else real(order_ref)

    return bent(warehouse, erase_pii=erase_pii)


def _erases_everything_pushed(warehouse: WarehousePort) -> WarehousePort:
    pushed: list[str] = []

    def push(real: Callable[[FulfillmentOrder], PushResult], order: FulfillmentOrder) -> PushResult:
        pushed.append(order.order_ref)
        return real(order)

    return bent(warehouse, push=push, erase_pii=lambda real, _: all(real(one) for one in pushed))


def _drops_what_it_delivered(warehouse: WarehousePort) -> WarehousePort:
    polled: set[str] = set()
    acknowledged: set[str] = set()

    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        page = real(cursor, limit)
        polled.update(event.event_id for event in page.events)
        return replace(page, events=tuple(one for one in page.events if one.event_id not in acknowledged))

    return bent(warehouse, poll=poll, acknowledge=lambda _real, _ids: acknowledged.update(polled))


def _acknowledges_only_what_it_knows(_real: object, event_ids: Sequence[str]) -> None:
    if unknown := [one for one in event_ids if not one.startswith("E")]:
        raise WarehouseRefused(f"{unknown}")


def _believes_any_time(real: Callable[..., ShipmentPage], headers: Any, body: bytes, _now: datetime) -> ShipmentPage:
    return real(headers, body, datetime.now(UTC))


def _unsigned(warehouse: WarehousePort) -> WarehousePort:
    return bent(warehouse, parse_webhook=lambda _real, _headers, _body, _now: warehouse.poll(None, 1))


def _webhook_of_another(real: Callable[..., ShipmentPage], *arguments: Any) -> ShipmentPage:
    page = real(*arguments)
    return replace(page, events=tuple(replace(event, event_id="of a webhook") for event in page.events))


def _counts_one_more(real: Callable[..., StockPage], cursor: str | None, limit: int) -> StockPage:
    page = real(cursor, limit)
    return replace(page, levels=tuple(replace(level, on_hand=level.on_hand + 1) for level in page.levels))


def _tells_a_place_twice(real: Callable[..., StockPage], cursor: str | None, limit: int) -> StockPage:
    page = real(cursor, limit)
    return replace(page, levels=(*page.levels[:-1], page.levels[0]))


def _asks_again_and_again(warehouse: WarehousePort) -> WarehousePort:
    def poll(real: Callable[..., ShipmentPage], cursor: str | None, limit: int) -> ShipmentPage:
        while True:
            with suppress(WarehouseUnavailable):
                return real(cursor, limit)

    return bent(warehouse, poll=poll)


def _naive_is_noon(event: ShipmentEvent) -> datetime:
    return event.shipped_at or datetime(2026, 11, 20, 12, tzinfo=UTC)


def _name(order: FulfillmentOrder) -> str:
    assert order.ship_to.name is not None
    return order.ship_to.name.plain()


def _street(order: FulfillmentOrder) -> str:
    assert order.ship_to.address_line1 is not None
    return order.ship_to.address_line1.plain()


def _ascii_only(real: Callable[[FulfillmentOrder], PushResult], order: FulfillmentOrder) -> PushResult:
    _name(order).encode("ascii")
    return real(order)


EMPTY = ShipmentPage((), None)
BROKEN: dict[str, Break] = {
    "push.is_there_once": _calls(push=lambda real, order: real(replace(order, lines=order.lines[:1]))),
    "push.twice_is_a_duplicate": _pushed(lambda result, _: replace(result, answer="accepted")),
    "push.again_by_another_process": _remembers,
    "push.at_once_makes_one": _pushed(
        lambda result, _: replace(result, answer="conflict") if result.answer == "duplicate" else result
    ),
    "push.other_content_conflicts": _pushed(
        lambda result, _: replace(result, answer="duplicate") if result.answer == "conflict" else result
    ),
    "push.lost_answer": _swallows("push", PushResult("refused", code="no_answer")),
    "push.unsent": _swallows("push", PushResult("accepted")),
    "push.unknown_sku": _pushed(lambda result, _: replace(result, code=None)),
    "push.refused_address": _pushed(lambda result, _: replace(result, code=None)),
    "push.refusal_names_nobody": _pushed(lambda result, order: replace(result, code=f"no {_street(order)}")),
    "push.hostile_text": _calls(push=_ascii_only),
    "push.errors_name_nobody": _raises_instead(
        WarehouseUnavailable, lambda order: WarehouseUnavailable(f"{_name(order)} was not sent"), "push"
    ),
    "find.unknown_is_none": _answered("find", WarehouseOrder(None, "accepted"), None),
    "hold.and_release": _unasked("hold", "done"),
    "hold.too_late": _answered("hold", "done", "too_late"),
    "hold.unknown_order": _answered("hold", "done", "not_found"),
    "release.unknown_order": _answered("release", "done", "not_found"),
    "cancel.before_packing": _unasked("cancel", "cancelled"),
    "cancel.is_final": _pushed(
        lambda result, _: replace(result, answer="accepted") if result.answer == "cancelled" else result
    ),
    "cancel.while_packing": _answered("cancel", "cancelled", "too_late"),
    "cancel.too_late": _answered("cancel", "cancelled", "too_late"),
    "cancel.the_rest": _answered("cancel", "cancelled", "partial"),
    "cancel.unknown_order": _answered("cancel", "cancelled", "not_found"),
    "event.shipped": _each_event(shipped_at=lambda _: None),
    "event.split": _each_event(package_id=lambda event: event.order_ref),
    "event.merged": _first_of_each(lambda event: event.tracking_number),
    "event.voided": _each_event(package_id=lambda event: event.package_id if event.kind == "shipped" else None),
    "event.voided_and_shipped_again": _first_of_each(lambda event: (event.package_id, event.kind)),
    "event.voided_and_replaced": _each_event(package_id=lambda event: event.order_ref),
    "event.new_label": _first_of_each(lambda event: event.package_id),
    "event.short": _each_event(kind=lambda _: "shipped"),
    "event.cancelled_there": _without("cancelled"),
    "event.again_is_the_same": _each_event(event_id=lambda event: f"{event.event_id}-{next(_delivery)}"),
    "event.out_of_order": _events(
        lambda events: sorted(events, key=lambda event: event.shipped_at or datetime.now(UTC))
    ),
    "event.unknown_kind": _events(_refuses_unknown_kinds),
    "event.hostile_text": _each_event(carrier=lambda _: "Fast " + "x" * 200),
    "event.clock": _each_event(shipped_at=_naive_is_noon),
    "page.any_size": _calls(poll=_drops_small_pages),
    "page.again": _delivers_once,
    "page.lost": _goes_past_what_was_lost,
    "page.the_end": _misses_the_next,
    "page.after_our_restart": _begins_at_the_end,
    "page.after_their_restart": _stays_logged_out,
    "answer.html_502": _swallows("find", None),
    "answer.html_200": _swallows("poll", EMPTY),
    "answer.empty_200": _swallows("hold", "done"),
    "answer.other_json": _swallows("erase_pii", True),
    "answer.throttled": _swallows("cancel", "cancelled"),
    "answer.redirect": _swallows("erase_pii", True),
    "answer.html_404": _swallows("find", None),
    "answer.forbidden": _raises_instead(WarehouseError, lambda *_: PermissionError(), "poll"),
    "answer.wrong_token": _raises_instead(
        WarehouseUnauthorized, lambda *_: WarehouseUnavailable("401"), "push", "find", "poll"
    ),
    "answer.in_time": _asks_again_and_again,
    "adapter.capabilities": _calls(capabilities=lambda _: frozenset({"teleport"})),
    "adapter.shows_no_token": _calls(repr=lambda _: f"a warehouse with {WAREHOUSE_TOKEN}"),
    "erase.shipped": _unasked("erase_pii", True),
    "erase.cancelled": _erases_unless_cancelled,
    "erase.one_alone": _erases_everything_pushed,
    "erase.unknown_order": _calls(erase_pii=lambda _real, _ref: False),
    "webhook.same_event": _calls(parse_webhook=_webhook_of_another),
    "webhook.forged": _unsigned,
    "webhook.replayed": _calls(parse_webhook=_believes_any_time),
    "acknowledge.harmless": _calls(acknowledge=_acknowledges_only_what_it_knows),
    "acknowledge.named_alone": _drops_what_it_delivered,
    "stock.is_what_lies_there": _calls(read_stock=_counts_one_more),
    "stock.any_page_size": _calls(read_stock=_tells_a_place_twice),
}
