"""An Amazon that is none, or a proxy in its place: what it sends has a limit, and it gets nothing more of us."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from orders_pipeline.channels.amazon.client import AmazonClient, open_amazon
from orders_pipeline.channels.amazon.errors import AmazonError, AmazonProtocolError, AmazonUnavailable
from orders_pipeline.database.engine import Database
from orders_pipeline.model.shipment import ConfirmedItem, ShipmentConfirmation
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.channels.amazon.conftest import account
from orders_pipeline_tests.conftest import MARKETPLACE
from orders_pipeline_tests.hostile_server import HostileServer, answer, bomb

ORDER_ID = "111-1111111-1111111"
TOTAL = 0.4

Open = Callable[..., AmazonClient]


@pytest.fixture
def open_client(database: Database, keys: LocalKeyring) -> Open:
    def opened(amazon: HostileServer, **more: Any) -> AmazonClient:
        settings = account(spapi_endpoint=amazon.url, lwa_endpoint=amazon.url)
        return open_amazon(settings, database, keys, sleep=lambda _: None, **more)

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
def test_a_login_that_cannot_be_taken_is_tried_again_later_and_the_secret_stays_here(
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
