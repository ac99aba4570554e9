"""An Amazon that is none, or a proxy in its place: what it sends has a limit, and it gets nothing more of us."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.channels.amazon.errors import AmazonError, AmazonProtocolError, AmazonUnavailable
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER
from orders_pipeline.channels.amazon.timing import FURTHEST_OFFSET
from orders_pipeline.database.engine import Database
from orders_pipeline.model.shipment import ConfirmedItem, ShipmentConfirmation
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, is_bounded
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon
from orders_pipeline_tests.channels.amazon.conftest import OpenCanned, account
from orders_pipeline_tests.conftest import MARKETPLACE
from orders_pipeline_tests.hostile_server import HostileServer, answer, bomb

ORDER_ID = "111-1111111-1111111"
TOTAL = 0.4

Open = Callable[..., AmazonClient]


@pytest.fixture
def open_client(database: Database, keys: LocalKeyring) -> Open:
    def opened(amazon: HostileServer, **more: Any) -> AmazonClient:
        own = account(spapi_endpoint=amazon.url, lwa_endpoint=amazon.url)
        return open_amazon(own, database, keys, sleep=lambda _: None, **more)

    return opened


def with_tokens(sent: bytes) -> Callable[[bytes], list[bytes]]:
    """Tokens are given; everything else is answered so."""
    return lambda request: [answer(b'{"access_token": "Atza|t"}') if b"POST /auth" in request else sent]


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (answer(bomb(50), Content_Encoding="gzip"), "larger than 10,485,760 bytes"),
        (answer(b'{"order": ' + b"[" * 100_000), "nested too deep"),
        (answer(b"", "302 Found", Location="https://elsewhere.test/login?secret=1"), "a redirect to elsewhere.test"),
    ],
    ids=["bomb", "deep", "redirect"],
)
def test_an_answer_that_cannot_be_taken_is_a_protocol_error_that_says_why(
    open_client: Open, sent: bytes, problem: str
) -> None:
    with HostileServer.answering(with_tokens(sent)) as server:
        client = open_client(server)
        with pytest.raises(AmazonProtocolError, match=problem) as caught:
            client.orders.get_order(ORDER_ID)
        client.close()
    assert "secret=1" not in str(caught.value)


def test_a_confirmation_whose_answer_drips_has_an_unknown_outcome_in_time(open_client: Open) -> None:
    server: HostileServer

    def slowly(request: bytes) -> Any:
        return (
            server.drip(b"HTTP/1.1 204 No Content\r\n", b"X") if b"shipmentConfirmation" in request else tokens(request)
        )

    tokens = with_tokens(b"")
    package = ShipmentConfirmation(
        order_id=ORDER_ID,
        marketplace_id=MARKETPLACE,
        package_reference_id=1,
        carrier_code="UPS",
        tracking_number="1Z",
        shipped_at=datetime.now(UTC),
        items=(ConfirmedItem("1", 1),),
    )
    with HostileServer.answering(slowly) as server:
        client = open_client(server, total_seconds=TOTAL)
        began = time.monotonic()
        with pytest.raises(AmazonUnavailable, match="not whole within"):
            client.shipments.confirm_shipment(package, deadline_seconds=1)
        assert time.monotonic() - began < 20 * TOTAL
        client.close()


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (answer(bomb(5), Content_Encoding="gzip"), "larger than 65,536 bytes"),
        (answer(b"", "307 Temporary Redirect", Location="https://elsewhere.test/"), "a redirect to elsewhere.test"),
        (None, "not whole within"),
    ],
    ids=["bomb", "redirect", "drip"],
)
def test_an_unreadable_login_answer_is_retried_without_leaking_the_secret(
    open_client: Open, sent: bytes | None, problem: str
) -> None:
    server: HostileServer
    with HostileServer.answering(lambda _: [sent] if sent else server.drip(b"HTTP/1.1 200 OK\r\n", b"X")) as server:
        client = open_client(server, total_seconds=TOTAL)
        with pytest.raises(AmazonError, match=problem) as caught:
            client.orders.get_order(ORDER_ID, deadline_seconds=1)
        client.close()
    assert caught.value.retryable
    assert "amzn1.oa2-cs" not in str(caught.value)


def test_the_environments_proxy_gets_neither_token_nor_secret(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        HostileServer.answering(answer()) as proxy,
        HostileServer.answering(with_tokens(answer(b"{}", "404 Not Found"))) as server,
    ):
        for name in ("http_proxy", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        client = open_client(server)
        with pytest.raises(AmazonProtocolError):
            client.orders.get_order(ORDER_ID)
        client.close()
        assert (len(proxy.requests), len(server.requests)) == (0, 2)


# Without 429: after one the bucket is empty, and the next try ends before it is sent, without an id.
@pytest.mark.parametrize("status", [200, 302, 400, 403, 503])
def test_a_request_id_is_short_and_visible_in_every_error(client: AmazonClient, amazon: CannedAmazon, status: int):
    amazon.lay(Canned(status, text="x", headers={"x-amzn-RequestId": "R" * 60_000 + "\x1b[2J\x9b"}))
    with pytest.raises(AmazonError) as caught:
        client.orders.get_order(ORDER_ID, deadline_seconds=0.1)
    assert caught.value.request_id is not None
    assert is_bounded(caught.value.request_id, 64)
    assert is_bounded(str(caught.value), LONGEST_ERROR)


@pytest.mark.parametrize("words", ["bad \x00", "bad \ud800", "\x1b]0;pwned\x07", "x" * 60_000, 10**400, {"a": 1}])
def test_a_refusals_code_and_words_are_short_and_visible(client: AmazonClient, amazon: CannedAmazon, words: object):
    amazon.lay(Canned(400, {"errors": [{"code": words, "message": words, "details": words}]}))
    with pytest.raises(AmazonError) as caught:
        client.orders.get_order(ORDER_ID)
    assert is_bounded(caught.value.code or "", 60)
    assert is_bounded(str(caught.value), LONGEST_ERROR)


TEXTS = st.text(max_size=20) | st.sampled_from(["\x00", "\ud800", "\x1b]0;pwned\x07", "[/section 3]", "x" * 9_000])
NUMBERS = st.sampled_from([10**400, -(10**400), 1e308, 1e-300, 0, -1, "1e-320", "1e300", "nan", "inf", "٣", ""])
DATES = st.sampled_from(
    [
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999",
        "Mon, 01",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS | st.just("9999-12-31T23:59:59Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["amount", "payload"]), inner),
    max_leaves=4,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Date": DATES | TEXTS,
        "x-amzn-RequestId": TEXTS,
        "x-amzn-RateLimit-Limit": NUMBERS.map(str) | TEXTS,
        "Location": TEXTS,
    },
)
REFUSALS = st.fixed_dictionaries(
    {"errors": st.lists(st.dictionaries(st.sampled_from(["code", "message", "details"]), VALUES), max_size=2) | VALUES}
)
ORDERS = st.fixed_dictionaries(
    {
        "order": st.fixed_dictionaries(
            {"orderId": st.just(ORDER_ID), "lastUpdatedTime": st.just("2026-11-20T10:00:00Z")},
            optional={
                "orderItems": st.just([]) | VALUES,
                "programs": st.lists(VALUES, max_size=3),
                "createdTime": VALUES,
                "proceeds": VALUES,
                "packages": VALUES,
                "fulfillment": VALUES,
            },
        )
    }
)
TOKENS = st.fixed_dictionaries({"access_token": TEXTS.map(lambda t: f"Atza|{t}"), "expires_in": NUMBERS})


@settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from([200, 204, 302, 400, 403, 404, 409, 429, 500]), HEADERS, REFUSALS | ORDERS | VALUES, TOKENS)
def test_any_response_is_an_answer_or_an_amazon_error_of_bounded_text(
    database: Database, open_canned: OpenCanned, amazon: CannedAmazon,
    status: int, headers: dict[str, str], body: Any, token: dict[str, Any],
) -> None:  # fmt: skip
    with database.begin() as connection:
        # A full bucket and no token, as on the first day.
        connection.execute(text("delete from pipeline.amazon_rate_limits"))
        connection.execute(text("delete from vault.amazon_tokens"))
    amazon.answers, amazon.login_answers = [Canned(status, body, headers=headers)], [Canned(body=token)]
    client = open_canned()
    for _ in range(2):
        try:
            client.orders.get_order(ORDER_ID, deadline_seconds=5)
        except AmazonError as error:
            assert is_bounded(str(error), LONGEST_ERROR)
            assert is_bounded(error.code or "", 60)
    assert abs(client.clock.offset) <= FURTHEST_OFFSET
    for one in client.limits.report():
        assert GET_ORDER.rate / 100 <= one.rate <= GET_ORDER.rate * 100
