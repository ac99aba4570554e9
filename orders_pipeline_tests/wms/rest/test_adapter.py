"""The REST contract: what each answer of a warehouse's means, and that nothing it says gets out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.model.untrusted_text import bounded_text, is_bounded
from orders_pipeline.sandbox.sandbox import MARKETPLACE_ID, SELLER_ID, WAREHOUSE_TOKEN, Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.wms.port import (
    Capability,
    FulfillmentLine,
    FulfillmentOrder,
    NotCapable,
    PushResult,
    WarehouseError,
    WarehouseForbidden,
    WarehouseOrder,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline.wms.shipment_events import read_shipment_event

BASE = "https://warehouse.test"
ORDER_ID = "115-0000001-0000001"
ORDER_URL = f"{BASE}/v1/orders/{ORDER_ID}"
STREET = "7 Nightingale Row"
ORDER = FulfillmentOrder(
    order_ref=ORDER_ID,
    seller_id=SELLER_ID,
    marketplace_id=MARKETPLACE_ID,
    purchased_at=datetime(2026, 11, 21, 8, tzinfo=UTC),
    ship_by=datetime(2026, 11, 22, 8, tzinfo=UTC),
    deliver_by=None,
    service_level="STANDARD",
    is_prime=False,
    is_business=False,
    ship_to=Address(
        name=PersonalText("Canary Quillfeather"),
        address_line1=PersonalText(STREET),
        city=PersonalText("Duluth"),
        postal_code=PersonalText("55802"),
        country_code="US",
    ),
    lines=(FulfillmentLine("1", "SKU", 2),),
)
PAGE = "<html><body>Please log in</body></html>"


def _error(code: object, message: str = f"cannot deliver to {STREET}") -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def warehouse() -> Iterator[RestWarehouse]:
    client = RestWarehouse(BASE, SecretStr("token"))
    yield client
    client.close()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"wms_id": "W1", "status": "accepted"}, PushResult("accepted", "W1")),
        (200, {"wms_id": 7, "status": "accepted"}, PushResult("duplicate", "7")),
        (409, _error("order_conflict"), PushResult("conflict", code="order_conflict")),
        (409, _error("order_shipped"), PushResult("shipped", code="order_shipped")),
        (409, _error("order_cancelled"), PushResult("cancelled", code="order_cancelled")),
        (409, {}, PushResult("conflict", code="order_conflict")),
        (422, _error("invalid_address"), PushResult("refused", code="invalid_address")),
        (422, _error("unknown_sku"), PushResult("refused", code="unknown_sku")),
        # A code that is a sentence may hold a street; it is not kept.
        (422, _error(f"no such street: {STREET}"), PushResult("refused", code="unprocessable")),
        (422, _error("invalid_address\n"), PushResult("refused", code="unprocessable")),
        (422, _error(["invalid_address"]), PushResult("refused", code="unprocessable")),
        (422, {"error": "invalid_address"}, PushResult("refused", code="unprocessable")),
    ],
)
def test_each_answer_to_a_push(
    answers: responses.RequestsMock, warehouse: RestWarehouse, status: int, body: object, expected: PushResult
):
    answers.put(ORDER_URL, json=body, status=status)
    assert warehouse.push(ORDER) == expected


UNEXPECTED: dict[int, type[WarehouseError]] = {
    401: WarehouseUnauthorized,
    403: WarehouseForbidden,
    429: WarehouseUnavailable,
    500: WarehouseUnavailable,
    503: WarehouseUnavailable,
    302: WarehouseUnavailable,
    400: WarehouseRefused,
    404: WarehouseRefused,
    204: WarehouseRefused,
}


@pytest.mark.parametrize(
    ("call", "status", "kind"),
    [
        (call, status, kind)
        for call in ("push", "hold", "release", "cancel", "poll", "erase_pii")
        for status, kind in UNEXPECTED.items()
        if (call, status) != ("erase_pii", 204)
    ],
)
def test_an_unexpected_answer_is_an_error_with_its_status_only(
    answers: responses.RequestsMock, warehouse: RestWarehouse, call: str, status: int, kind: type[WarehouseError]
):
    if status == 404 and call != "push":
        kind = WarehouseUnavailable if call != "poll" else WarehouseRefused
    body = f'{{"error": "{STREET}"}}' if status != 204 else ""
    url = {"push": ORDER_URL, "poll": f"{BASE}/v1/shipments"}.get(call, f"{ORDER_URL}/{call}")
    method = {"push": "PUT", "poll": "GET"}.get(call, "POST")
    headers = {"Location": f"{BASE}/login"} if status == 302 else {}
    answers.add(method, url, body=body, status=status, headers=headers)
    with pytest.raises(WarehouseError) as raised:
        _call(warehouse, call)
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert str(status) in str(raised.value)
    assert STREET not in repr(raised.value)


@pytest.mark.parametrize(
    "body",
    [PAGE, "", "[]", "null", '"ok"', "[" * 100_000, "{}", '{"error": {"code": "x"}, "status": "held", "wms_id": "W1"}'],
)
@pytest.mark.parametrize("call", ["push", "find", "hold", "release", "cancel", "poll", "erase_pii"])
def test_a_page_with_status_200_is_no_success(
    answers: responses.RequestsMock, warehouse: RestWarehouse, call: str, body: str
):
    url = {"push": ORDER_URL, "find": ORDER_URL, "poll": f"{BASE}/v1/shipments"}.get(call, f"{ORDER_URL}/{call}")
    method = {"push": "PUT", "find": "GET", "poll": "GET"}.get(call, "POST")
    answers.add(method, url, body=body, status=200)
    with pytest.raises(WarehouseUnavailable):
        _call(warehouse, call)


def test_what_the_contract_has_no_word_for_is_no_call(answers: responses.RequestsMock, warehouse: RestWarehouse):
    assert not {Capability.ACKNOWLEDGE, Capability.STOCK} & warehouse.capabilities
    with pytest.raises(NotCapable, match="acknowledge"):
        warehouse.acknowledge(["E1"])
    with pytest.raises(NotCapable, match="stock"):
        warehouse.read_stock(None, 100)
    assert len(answers.calls) == 0


def test_a_404_is_believed_only_in_the_contracts_words(answers: responses.RequestsMock, warehouse: RestWarehouse):
    answers.get(ORDER_URL, json=_error("not_found"), status=404)
    assert warehouse.find(ORDER_ID) is None
    answers.get(ORDER_URL, body="<h1>no route</h1>", status=404)
    with pytest.raises(WarehouseUnavailable):
        warehouse.find(ORDER_ID)
    # What is not known there needs no erasing: to believe anybody's 404 would leave the buyer there for good.
    for call, expected in {
        "hold": "not_found",
        "release": "not_found",
        "cancel": "not_found",
        "erase_pii": True,
    }.items():
        answers.post(f"{ORDER_URL}/{call}", json=_error("not_found"), status=404)
        assert _call(warehouse, call) == expected
        answers.post(f"{ORDER_URL}/{call}", body="<h1>no route</h1>", status=404)
        with pytest.raises(WarehouseUnavailable):
            _call(warehouse, call)


@pytest.mark.parametrize(
    ("call", "status", "body", "expected"),
    [
        ("find", 200, {"wms_id": "W1", "status": "held"}, WarehouseOrder("W1", "held")),
        ("hold", 200, {"status": "held"}, "done"),
        ("hold", 409, _error("too_late"), "too_late"),
        ("release", 200, {"status": "accepted"}, "done"),
        ("release", 409, _error("too_late"), "too_late"),
        ("cancel", 200, {"outcome": "cancelled"}, "cancelled"),
        ("cancel", 200, {"outcome": "partial"}, "partial"),
        ("cancel", 200, {"outcome": "pending"}, "pending"),
        ("cancel", 409, _error("too_late"), "too_late"),
        ("erase_pii", 204, None, True),
    ],
)
def test_each_answer_to_the_other_calls(
    answers: responses.RequestsMock, warehouse: RestWarehouse, call: str, status: int, body: object, expected: object
):
    url = ORDER_URL if call == "find" else f"{ORDER_URL}/{call}"
    answers.add("GET" if call == "find" else "POST", url, json=body, status=status)
    assert _call(warehouse, call) == expected


def test_another_services_json_is_no_answer_of_the_warehouses(
    answers: responses.RequestsMock, warehouse: RestWarehouse
):
    for call, body in {
        "push": {"status": "maintenance"},
        "find": {"status": "maintenance"},
        "hold": {"ok": True},
        "erase_pii": {"status": "queued"},
    }.items():
        url = ORDER_URL if call in ("push", "find") else f"{ORDER_URL}/{call}"
        answers.add({"push": "PUT", "find": "GET"}.get(call, "POST"), url, json=body)
        with pytest.raises(WarehouseUnavailable):
            _call(warehouse, call)


def test_what_the_contract_allows_is_taken_without_what_it_does_not_need(
    answers: responses.RequestsMock, warehouse: RestWarehouse
):
    answers.put(ORDER_URL, json={"wms_id": "W1"}, status=201)
    assert warehouse.push(ORDER) == PushResult("accepted", "W1")
    answers.put(ORDER_URL, json={"status": "accepted", "error": None}, status=200)
    assert warehouse.push(ORDER) == PushResult("duplicate", None)
    answers.get(ORDER_URL, json={"wms_id": "W1", "status": "of_their_own"})
    assert warehouse.find(ORDER_ID) == WarehouseOrder("W1", "of_their_own")


def test_a_cancellation_with_an_unknown_outcome_is_not_taken_for_one(
    answers: responses.RequestsMock, warehouse: RestWarehouse
):
    answers.post(f"{ORDER_URL}/cancel", json={"outcome": "maybe"})
    with pytest.raises(WarehouseRefused):
        warehouse.cancel(ORDER_ID, "cancelled at Amazon")


def test_a_broken_connection_says_nothing_of_what_was_being_sent(
    answers: responses.RequestsMock, warehouse: RestWarehouse
):
    answers.put(ORDER_URL, body=requests.ConnectionError(f"while sending {STREET}"))
    with pytest.raises(WarehouseUnavailable) as raised:
        warehouse.push(ORDER)
    assert STREET not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_the_token_is_sent_even_where_netrc_names_the_host(
    answers: responses.RequestsMock, warehouse: RestWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine warehouse.test login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answers.get(ORDER_URL, json={"wms_id": "W1", "status": "accepted"})
    warehouse.find(ORDER_ID)
    assert answers.calls[0].request.headers["Authorization"] == "Bearer token"


EVENT = {
    "event_id": "E1",
    "kind": "shipped",
    "order_ref": ORDER_ID,
    "package_id": "P1",
    "carrier": "UPS",
    "service": None,
    "tracking_number": "1Z",
    "shipped_at": "2026-11-21T10:00:00+02:00",
    "lines": [{"line_ref": "1", "quantity": 2}],
}


def test_a_page_of_events_is_read_with_its_cursor(answers: responses.RequestsMock, warehouse: RestWarehouse):
    answers.get(f"{BASE}/v1/shipments", json={"shipments": [EVENT], "next_cursor": 17})
    page = warehouse.poll("c 1&2", 50)
    (event,) = page.events
    assert page.next_cursor == "17"
    assert (event.shipped_at, event.lines) == (datetime(2026, 11, 21, 8, tzinfo=UTC), (("1", 2),))
    assert "cursor=c+1%262" in (answers.calls[0].request.url or "")


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": None},
        {"event_id": {}},
        {"event_id": True},
        {"order_ref": ""},
        {"kind": None},
        {"package_id": ["P"]},
        {"lines": 5},
        {"lines": {"line_ref": "1"}},
        {"lines": ["1"]},
        {"lines": [{"line_ref": "1"}]},
        {"lines": [{"line_ref": "1", "quantity": 0}]},
        {"lines": [{"line_ref": "1", "quantity": True}]},
        {"lines": [{"line_ref": "1", "quantity": 10**12}]},
        {"lines": [{"line_ref": "1", "quantity": float("inf")}]},
        {"lines": [{"line_ref": "1", "quantity": 2.5}]},
        {"lines": [{"line_ref": "1", "quantity": "2.5"}]},
        {"lines": [{"line_ref": "1", "quantity": "1_0"}]},
    ],
)
def test_an_event_that_cannot_be_read_is_counted_and_the_others_are_taken(
    answers: responses.RequestsMock, warehouse: RestWarehouse, change: dict[str, object]
):
    answers.get(f"{BASE}/v1/shipments", json={"shipments": [{**EVENT, **change}, EVENT, 7], "next_cursor": "c"})
    page = warehouse.poll(None, 50)
    assert (len(page.events), page.unreadable) == (1, 2)


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"kind": "returned"}, "kind", "returned"),
        ({"event_id": 17}, "event_id", "17"),
        ({"package_id": None, "lines": None}, "package_id", None),
        ({"carrier": "U\u0000PS\ud800"}, "carrier", "U\ufffdPS\ufffd"),
        ({"carrier": "x" * 9000}, "carrier", "x" * 99 + "…"),
        ({"service": "Gr\u202eound\r\n"}, "service", "Gr\ufffdound"),
        ({"carrier": {"name": "UPS"}}, "carrier", None),
        ({"tracking_number": ""}, "tracking_number", None),
        ({"shipped_at": "2026-11-21T10:00:00"}, "shipped_at", None),
        ({"shipped_at": "0001-01-01T00:00:00+14:00"}, "shipped_at", None),
        ({"shipped_at": 5}, "shipped_at", None),
        ({"lines": [{"line_ref": 1, "quantity": "2"}]}, "lines", (("1", 2),)),
        ({"lines": [{"line_ref": 1, "quantity": 2.0}]}, "lines", (("1", 2),)),
    ],
)
def test_what_an_event_lacks_or_writes_otherwise_is_read_as_far_as_it_goes(
    answers: responses.RequestsMock, warehouse: RestWarehouse, change: dict[str, object], field: str, expected: object
):
    answers.get(f"{BASE}/v1/shipments", json={"shipments": [{**EVENT, **change}], "next_cursor": "c"})
    (event,) = warehouse.poll(None, 50).events
    assert getattr(event, field) == expected


# Half surrogate pairs included: JSON can carry them.
_ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=300)


@given(
    texts=st.fixed_dictionaries(
        dict.fromkeys(("carrier", "service", "tracking_number", "package_id", "shipped_at"), _ANY_TEXT)
    ),
    ids=st.fixed_dictionaries({"event_id": _ANY_TEXT.filter(bool), "kind": st.just("shipped") | _ANY_TEXT}),
    line_ref=_ANY_TEXT.filter(bool),
)
def test_any_text_in_an_event_is_bounded_and_the_event_counts(
    texts: dict[str, str], ids: dict[str, str], line_ref: str
):
    entry = {**EVENT, **texts, **ids, "lines": [{"line_ref": line_ref, "quantity": 1}]}
    event = read_shipment_event(json.loads(json.dumps(entry)))
    if bounded_text(ids["kind"]) is None:
        assert event is None
        return
    assert event is not None
    kept = (event.event_id, event.kind, event.package_id, event.carrier, event.service, event.tracking_number)
    assert all(value is None or is_bounded(value) for value in (*kept, event.lines[0][0]))
    assert read_shipment_event(entry) == event, "delivered again it is the same event"


def test_two_events_whose_long_ids_begin_alike_are_two(answers: responses.RequestsMock, warehouse: RestWarehouse):
    long = [{**EVENT, "event_id": "x" * 3000 + end} for end in "122"]
    answers.get(f"{BASE}/v1/shipments", json={"shipments": long, "next_cursor": "c"})
    first, second, again = warehouse.poll(None, 50).events
    assert first.event_id != second.event_id == again.event_id


@pytest.mark.parametrize("cursor", ["c" * 2001, "c\u0000", "\ud800", True, {"at": 5}])
def test_a_cursor_that_could_not_be_sent_back_is_none_and_the_events_are_taken(
    answers: responses.RequestsMock, warehouse: RestWarehouse, cursor: object
):
    answers.get(f"{BASE}/v1/shipments", json={"shipments": [EVENT], "next_cursor": cursor})
    page = warehouse.poll(None, 50)
    assert (len(page.events), page.next_cursor, page.cursor_unreadable) == (1, None, True)


def test_the_whole_contract_with_the_sandboxs_warehouse():
    with Sandbox(subscribed=False, floor=FloorOptions(automatic=False)) as sandbox:
        client = RestWarehouse(sandbox.warehouse_url, SecretStr(WAREHOUSE_TOKEN))
        assert client.find(ORDER_ID) is None
        first, again = client.push(ORDER), client.push(ORDER)
        assert (first.answer, again.answer) == ("accepted", "duplicate")
        assert first.wms_id == again.wms_id
        assert client.push(replace(ORDER, is_prime=True)).answer == "conflict"
        sandbox.warehouse.faults.add("invalid_address_echo", "put_order")
        assert client.push(ORDER) == PushResult("refused", code="invalid_address")
        assert client.hold(ORDER_ID, "a reason") == client.release(ORDER_ID, "no reason") == "done"
        sandbox.floor.ship_now(ORDER_ID, {"1": 1})
        assert client.cancel(ORDER_ID, "cancelled at Amazon") == "partial"
        assert client.cancel(ORDER_ID, "cancelled at Amazon") == "too_late"
        page = client.poll(None, 10)
        assert [event.kind for event in page.events] == ["shipped", "cancelled"]
        assert client.poll(page.next_cursor, 10).events == ()
        assert client.erase_pii(ORDER_ID)
        assert client.erase_pii("115-0000009-0000009")
        client.close()


def _call(warehouse: RestWarehouse, call: str) -> object:
    if call == "push":
        return warehouse.push(ORDER)
    if call == "poll":
        return warehouse.poll(None, 50)
    if call == "find":
        return warehouse.find(ORDER_ID)
    if call == "erase_pii":
        return warehouse.erase_pii(ORDER_ID)
    return getattr(warehouse, call)(ORDER_ID, "a reason")
