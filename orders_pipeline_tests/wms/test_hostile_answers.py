"""A warehouse that sends too much, too slowly or elsewhere: the outcome is unknown in time, and the token stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline_tests.hostile_server import HostileServer, answer, bomb
from orders_pipeline_tests.wms.rest.test_adapter import ORDER, ORDER_ID

TOTAL = 0.4
CALLS: dict[str, Callable[[RestWarehouse], Any]] = {
    "push": lambda warehouse: warehouse.push(ORDER),
    "find": lambda warehouse: warehouse.find(ORDER_ID),
    "cancel": lambda warehouse: warehouse.cancel(ORDER_ID, "a reason"),
    "poll": lambda warehouse: warehouse.poll(None, 10),
    "erase": lambda warehouse: warehouse.erase_pii(ORDER_ID),
}


@dataclass
class Sent:
    """An answer, and what is said of it."""

    parts: bytes | None
    problem: str


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "sent",
    [
        # Also where the status would be a refusal for good: these are not the contract's words.
        *(
            Sent(answer(bomb(20), status, Content_Encoding="gzip"), "larger than 4,194,304 bytes")
            for status in ("200 OK", "409 Conflict", "422 Unprocessable", "401 Unauthorized")
        ),
        Sent(answer(b"", "302 Found", Location="https://elsewhere.test/?token=1"), "a redirect to elsewhere.test"),
        Sent(None, "not whole within 0.4 s"),
    ],
    ids=["200", "409", "422", "401", "redirect", "drip"],
)
def test_what_cannot_be_taken_is_an_unknown_outcome(call: str, sent: Sent):
    server: HostileServer
    with HostileServer.answering(
        lambda _: [sent.parts] if sent.parts else server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", b" ")
    ) as server:
        warehouse = RestWarehouse(server.url, SecretStr("token"), total_seconds=TOTAL if sent.parts is None else 5.0)
        began = time.monotonic()
        with pytest.raises(WarehouseUnavailable, match=sent.problem) as caught:
            CALLS[call](warehouse)
        assert time.monotonic() - began < 5
        warehouse.close()
    assert "token=1" not in str(caught.value)
    assert len(server.requests) == 1


def test_the_environments_proxy_gets_neither_the_token_nor_the_address(monkeypatch: pytest.MonkeyPatch):
    with (
        HostileServer.answering(answer()) as proxy,
        HostileServer.answering(answer(b'{"wms_id": "W1"}', "201 Created")) as server,
    ):
        for name in ("http_proxy", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        warehouse = RestWarehouse(server.url, SecretStr("token"))
        assert warehouse.push(ORDER).answer == "accepted"
        warehouse.close()
        assert proxy.requests == []
    [request] = server.requests
    assert b"Authorization: Bearer token" in request
