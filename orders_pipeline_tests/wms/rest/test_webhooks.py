"""A webhook is believed by its signature over the body as it came, within five minutes, and is read as a poll is."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.wms.port import Capability, ShipmentPage, WebhookRefused
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline_tests.wms.rest.test_adapter import BASE, EVENT, STREET

OLD, NEW = SecretStr("the old secret"), SecretStr("the new secret")
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
SECOND = {**EVENT, "event_id": "E2", "package_id": "P2"}


def _signed(body: bytes, *, at: datetime = NOW, secret: SecretStr = NEW) -> str:
    """As the contract has it: t=<unix>,v1=<hex HMAC-SHA256 of "t.body">."""
    unix = str(int(at.timestamp()))
    return f"t={unix},v1={_digest(body, unix, secret)}"


def _digest(body: bytes, unix: str, secret: SecretStr = NEW) -> str:
    return hmac.new(secret.get_secret_value().encode(), unix.encode() + b"." + body, hashlib.sha256).hexdigest()


def _read(body: bytes, header: str | None = None, *, secrets: tuple[SecretStr, ...] = (NEW,)) -> ShipmentPage:
    warehouse = RestWarehouse(BASE, SecretStr("token"), webhook_secrets=secrets)
    try:
        return warehouse.parse_webhook({"X-Signature": header or _signed(body)}, body, NOW)
    finally:
        warehouse.close()


def _reason(body: bytes, header: str | None = None, *, secrets: tuple[SecretStr, ...] = (NEW,)) -> WebhookRefusal:
    with pytest.raises(WebhookRefused) as refused:
        _read(body, header, secrets=secrets)
    return refused.value.reason


BODY = json.dumps({"shipments": [EVENT]}).encode()
UNIX = str(int(NOW.timestamp()))


@pytest.mark.parametrize(
    ("carried", "ids"),
    [
        ({"shipments": [EVENT, SECOND]}, ["E1", "E2"]),
        ({"events": [EVENT, SECOND]}, ["E1", "E2"]),
        ([SECOND, EVENT], ["E2", "E1"]),
        (EVENT, ["E1"]),
        ({"shipments": []}, []),
    ],
    ids=["page", "named events", "list", "one event", "none"],
)
def test_one_or_more_events_are_read_in_their_order(carried: object, ids: list[str]):
    page = _read(json.dumps(carried).encode())
    assert [event.event_id for event in page.events] == ids
    assert (page.next_cursor, page.unreadable) == (None, 0)


def test_the_events_are_those_that_a_poll_gives():
    strange = {**EVENT, "carrier": "U\u0000PS" + "x" * 300, "lines": [{"line_ref": 1, "quantity": "2"}]}
    entries = [strange, EVENT, {**EVENT, "order_ref": None}, 7]
    with responses.RequestsMock() as mock:
        mock.get(f"{BASE}/v1/shipments", json={"shipments": entries, "next_cursor": None})
        polled = RestWarehouse(BASE, SecretStr("token")).poll(None, 50)
    page = _read(json.dumps({"shipments": entries}).encode())
    assert (page.events, page.unreadable) == (polled.events, polled.unreadable) == (polled.events, 2)


def test_the_signature_is_of_the_body_as_it_came():
    assert _reason(BODY.replace(b": ", b":"), _signed(BODY)) is WebhookRefusal.SIGNATURE
    assert _reason(BODY + b"\n", _signed(BODY)) is WebhookRefusal.SIGNATURE
    assert _read(b'{"shipments"  : [\r\n]}').events == ()


def test_the_time_is_signed_too():
    later = str(int(UNIX) + 1)
    assert _reason(BODY, f"t={later},v1={_digest(BODY, UNIX)}") is WebhookRefusal.SIGNATURE


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_during_a_rotation_either_secret_fits(secret: SecretStr):
    assert len(_read(BODY, _signed(BODY, secret=secret), secrets=(NEW, OLD)).events) == 1
    assert _reason(BODY, _signed(BODY, secret=SecretStr("a third")), secrets=(NEW, OLD)) is WebhookRefusal.SIGNATURE


def test_a_sender_in_the_midst_of_its_rotation_signs_with_both():
    both = f"t={UNIX},v1={_digest(BODY, UNIX, OLD)},v1={_digest(BODY, UNIX, NEW)}"
    assert len(_read(BODY, both, secrets=(NEW,)).events) == 1
    assert len(_read(BODY, both, secrets=(OLD,)).events) == 1


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 10**10])
def test_what_was_signed_more_than_five_minutes_away_is_refused(seconds: int):
    unix = str(int(UNIX) + seconds)
    assert _reason(BODY, f"t={unix},v1={_digest(BODY, unix)}") is WebhookRefusal.TIME
    # Who has no secret does not hear of the time.
    assert _reason(BODY, f"t={unix},v1={'0' * 64}") is WebhookRefusal.SIGNATURE


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_are_within_the_window(seconds: int):
    assert len(_read(BODY, _signed(BODY, at=NOW + timedelta(seconds=seconds))).events) == 1


@pytest.mark.parametrize(
    "header",
    [
        " ", "v1", f"t={UNIX}", f"v1={_digest(BODY, UNIX)}", f"t={UNIX},v1=", f"t={UNIX},v1=abc",
        f"t={UNIX},v0={_digest(BODY, UNIX)}", f"t=,v1={_digest(BODY, '')}", f"t=-1,v1={_digest(BODY, '-1')}",
        f"t=1e9,v1={_digest(BODY, '1e9')}", f"t={'9' * 12},v1={_digest(BODY, '9' * 12)}",
        f"t=\u0661,v1={_digest(BODY, UNIX)}", f"t={UNIX},v1=\u0661" + "0" * 63,
        # Two times: nobody knows which is signed.
        f"t={UNIX},t={UNIX},v1={_digest(BODY, UNIX)}", f"{_signed(BODY)}, {_signed(BODY)}",
        f"t={UNIX}" + f",v1={'0' * 64}" * 5,
    ],
)  # fmt: skip
def test_a_header_of_another_form_is_no_signature(header: str):
    assert _reason(BODY, header) is WebhookRefusal.UNSIGNED


@pytest.mark.parametrize("name", ["X-Signature", "x-signature", "X-SIGNATURE"])
def test_the_headers_name_is_read_in_any_case(name: str):
    warehouse = RestWarehouse(BASE, SecretStr("token"), webhook_secrets=(NEW,))
    spaced = f"t={UNIX} ,\tv1={_digest(BODY, UNIX).upper()}".replace(" ,", ",")
    assert len(warehouse.parse_webhook({"Host": "-", name: spaced}, BODY, NOW).events) == 1
    with pytest.raises(WebhookRefused):
        warehouse.parse_webhook({}, BODY, NOW)
    warehouse.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"7", b"null", b'"shipped"', b'{"shipments": {}}', b'{"shipments": null}', b"\xff\xfe",
        b"[" * 100_000, b"9" * 5_000, f'{{"shipments": "{STREET}"}}'.encode(),
    ],
)  # fmt: skip
def test_a_signed_body_of_another_form_is_refused_without_a_word_of_it(body: bytes):
    with pytest.raises(WebhookRefused) as refused:
        _read(body)
    assert refused.value.reason is WebhookRefusal.FORM
    assert STREET not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_without_a_secret_none_is_believed():
    warehouse = RestWarehouse(BASE, SecretStr("token"))
    assert Capability.WEBHOOKS not in warehouse.capabilities
    warehouse.close()
    assert _reason(BODY, _signed(BODY, secret=SecretStr("")), secrets=()) is WebhookRefusal.NO_SECRET


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*EVENT, "shipments", "quantity", "line_ref"]) | st.text(max_size=5), inner)
    ),
    max_leaves=20,
)


@given(carried=_ANY_JSON)
def test_whatever_is_signed_is_a_page_or_a_refusal(carried: object):
    body = json.dumps(carried).encode()
    try:
        page = _read(body)
    except WebhookRefused as refused:
        assert refused.reason is WebhookRefusal.FORM
    else:
        assert page.next_cursor is None


@given(header=st.text(max_size=120), body=st.binary(max_size=60))
def test_whatever_is_not_signed_is_refused(header: str, body: bytes):
    assert _reason(body, header or "-") in (WebhookRefusal.UNSIGNED, WebhookRefusal.SIGNATURE)
