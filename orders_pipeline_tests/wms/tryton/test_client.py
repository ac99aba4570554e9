"""Tryton's answers, whoever gives them in Tryton's place: each has one meaning, and no word of them gets out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from orders_pipeline.wms.port import (
    WarehouseError,
    WarehouseForbidden,
    WarehouseRefused,
    WarehouseUnauthorized,
    WarehouseUnavailable,
)
from orders_pipeline.wms.tryton.calls import Calls
from orders_pipeline.wms.tryton.client import TrytonClient
from orders_pipeline.wms.tryton.errors import Changed, NotDone
from orders_pipeline.wms.tryton.typed_json import from_wire, to_wire
from orders_pipeline_tests.hostile_server import HostileServer, answer, bomb

TOKEN = SecretStr("pipeline:pass:word")
STREET = "7 Nightingale Row"
PAGE = b"<html><body>We are upgrading, Canary Quillfeather.</body></html>"
MODEL = "stock.shipment.out"


class Played:
    """A server that lets anybody in, and answers what comes then by `answers`, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.methods: list[str] = []
        self.logins = 0

    def __call__(self, request: bytes) -> Iterable[bytes]:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        method, parameters = asked["method"], asked["params"]
        if method == "common.db.login":
            assert parameters[:2] == ["pipeline", {"password": "pass:word"}]
            self.logins += 1
            return [_result([7, f"session-{self.logins}", None])]
        if method.endswith("get_preferences"):
            return [_result({"company": 1})]
        self.methods.append(method)
        return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]


def _result(value: Any) -> bytes:
    return answer(json.dumps({"id": 1, "result": value}).encode())


def _error(*error: Any) -> bytes:
    return answer(json.dumps({"id": 1, "error": list(error)}).encode())


def _read(server: HostileServer, seconds: float = 5.0) -> Any:
    client = TrytonClient(server.url + "/wms", TOKEN)
    try:
        return Calls(client, seconds).read(MODEL, [1], ["state"])
    finally:
        client.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (_error("UserError", [f"no such street: {STREET}", ""]), NotDone),
        (_error("ConcurrencyException", "changed"), Changed),
        (_error("LoginException", ["device", "which?", "char"]), WarehouseUnauthorized),
        (_error("RateLimitException", []), WarehouseUnavailable),
        # A defect of Tryton's, with its stack.
        (_error(f"KeyError: {STREET}", f"Traceback: {STREET}"), WarehouseUnavailable),
        (_error(), WarehouseUnavailable),
        (answer(json.dumps({"error": STREET}).encode()), WarehouseUnavailable),
        (answer(PAGE, Content_Type="text/html"), WarehouseUnavailable),
        (answer(b""), WarehouseUnavailable),
        (answer(b"[" * 100_000), WarehouseUnavailable),
        (answer(json.dumps({"result": [{"state": STREET}]}).encode()), WarehouseUnavailable),
        (answer(json.dumps({"result": STREET}).encode()), WarehouseUnavailable),
        (answer(bomb(20), Content_Encoding="gzip"), WarehouseUnavailable),
        (answer(PAGE, "503 Service Unavailable"), WarehouseUnavailable),
        (answer(PAGE, "404 Not Found"), WarehouseUnavailable),
        (answer(PAGE, "302 Found", Location="https://elsewhere.test/?token=1"), WarehouseUnavailable),
        (answer(PAGE, "429 Too Many Requests"), WarehouseUnavailable),
        (answer(PAGE, "403 Forbidden"), WarehouseForbidden),
        (answer(PAGE, "400 Bad Request"), WarehouseRefused),
        (answer(PAGE, "401 Unauthorized"), WarehouseUnauthorized),
    ],
)
def test_each_answer_has_one_meaning_and_is_not_repeated(said: bytes, kind: type[Exception]):
    with HostileServer.answering(Played(said)) as server, pytest.raises(kind) as caught:
        _read(server)
    assert type(caught.value) is kind
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert STREET not in told
    assert "Quillfeather" not in told
    assert "token" not in told


def test_a_session_that_is_over_is_begun_again_once():
    played = Played(answer(PAGE, "401 Unauthorized"), _result([{"id": 1, "state": "done"}]))
    with HostileServer.answering(played) as server:
        assert _read(server) == [{"id": 1, "state": "done"}]
    assert played.logins == 2
    # And what Tryton refuses twice is not tried for ever.
    played = Played(answer(PAGE, "401 Unauthorized"))
    with HostileServer.answering(played) as server, pytest.raises(WarehouseUnauthorized):
        _read(server)
    assert played.logins == 2


@pytest.mark.parametrize("said", [_result(None), _result(False), _result([]), _error("LoginException", ["password"])])
def test_a_wrong_password_is_the_tokens_fault(said: bytes):
    with HostileServer.answering(said) as server, pytest.raises(WarehouseUnauthorized, match=r"WMS_TOKEN|factor"):
        _read(server)


def test_all_calls_of_an_operation_end_together():
    server: HostileServer
    with HostileServer.answering(
        lambda _: server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", b" ")
    ) as server:
        began = time.monotonic()
        with pytest.raises(WarehouseUnavailable, match="not whole within"):
            _read(server, seconds=0.4)
        assert time.monotonic() - began < 5


def test_what_tryton_asks_back_is_answered_once_for_each_question():
    asked = _error("UserWarning", [f"move-{STREET}", "Really?", ""])
    played = Played(asked, _result([3]), _result(None))
    with HostileServer.answering(played) as server:
        client = TrytonClient(server.url, TOKEN)
        Calls(client, 5).do(MODEL, "wait", [1])
        client.close()
    wait = f"model.{MODEL}.wait"
    assert played.methods[:3] == [wait, "model.res.user.warning.create", wait]
    # One that asks for ever is given up.
    with HostileServer.answering(_forever(asked)) as server, pytest.raises(WarehouseError, match="without end"):
        Calls(TrytonClient(server.url, TOKEN), 5).do(MODEL, "wait", [1])


def _forever(asked: bytes) -> Callable[[bytes], Iterable[bytes]]:
    played = Played(asked)

    def answered(request: bytes) -> Iterable[bytes]:
        return [_result([1])] if b"res.user.warning" in request else played(request)

    return answered


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 11, 30, 12, 5, 6, 789, tzinfo=UTC),
        date(2026, 11, 30),
        Decimal("1.10"),
        {"lines": [["a", Decimal(0), None], {"at": date(2026, 1, 1)}]},
    ],
)
def test_typed_values_come_back_as_they_were(value: Any):
    assert from_wire(json.loads(json.dumps(to_wire(value)))) == value


def test_a_value_that_is_none_stays_as_it_came():
    odd = {"__class__": "datetime", "year": 2026, "month": 13, "day": 1}
    assert from_wire(odd) == odd
