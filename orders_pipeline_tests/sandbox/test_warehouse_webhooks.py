"""The warehouse's webhooks: signed as the contract has it, sent until they are taken, and wrong on demand."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orders_pipeline.sandbox.sandbox import WEBHOOK_SECRET, Sandbox
from orders_pipeline.sandbox.serving import ThreadedServer
from orders_pipeline.sandbox.warehouse.floor import FloorOptions

PATIENCE = 20.0


@dataclass
class Received:
    event_ids: list[str]
    is_signed: bool
    age: float


class Receiver:
    """Answers what it is told to, 204 in the end, and keeps what came."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []

    async def receive(self, request: Request) -> Response:
        body = await request.body()
        given = dict(part.split("=") for part in request.headers["x-signature"].split(","))
        digest = hmac.new(WEBHOOK_SECRET.encode(), f"{given['t']}.".encode() + body, hashlib.sha256).hexdigest()
        shipments: list[dict[str, Any]] = json.loads(body)["shipments"]
        ids = [one["event_id"] for one in shipments]
        self.received.append(Received(ids, digest == given["v1"], time.time() - int(given["t"])))
        return Response(status_code=self.answers.pop(0) if self.answers else 204)

    def await_(self, count: int) -> list[Received]:
        deadline = time.monotonic() + PATIENCE
        while len(self.received) < count:
            assert time.monotonic() < deadline, self.received
            time.sleep(0.01)
        return self.received


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield Receiver()


@pytest.fixture
def warehouse(receiver: Receiver) -> Iterator[Sandbox]:
    server = ThreadedServer(Starlette(routes=[Route("/hook", receiver.receive, methods=["POST"])]), name="receiver")
    server.start()
    with Sandbox(floor=FloorOptions(automatic=False), webhook_url=f"{server.url}/hook") as sandbox:
        yield sandbox
    server.stop()


def _happen(sandbox: Sandbox, times: int = 1) -> list[str]:
    for _ in range(times):
        sandbox.warehouse.add_event("short", "111-0000000-0000001", {"1": 1})
    return [event["event_id"] for event in sandbox.warehouse.events[-times:]]


def test_each_event_is_sent_once_signed_over_its_body(warehouse: Sandbox, receiver: Receiver) -> None:
    ids = _happen(warehouse, 3)
    received = receiver.await_(3)
    assert sorted(one.event_ids[0] for one in received) == ids
    assert all(one.is_signed and one.age < 60 for one in received)
    assert warehouse.environment()["WMS_WEBHOOK_SECRET"] == WEBHOOK_SECRET


def test_without_an_address_none_is_sent_and_no_secret_is_named() -> None:
    with Sandbox(floor=FloorOptions(automatic=False)) as sandbox:
        _happen(sandbox)
        assert "WMS_WEBHOOK_SECRET" not in sandbox.environment()
        assert "webhook" not in sandbox.warehouse.as_json()["calls"]


@pytest.mark.parametrize("status", [401, 500, 302])
def test_what_is_not_taken_is_sent_again(warehouse: Sandbox, receiver: Receiver, status: int) -> None:
    receiver.answers = [status, status]
    (event_id,) = _happen(warehouse)
    assert [one.event_ids for one in receiver.await_(3)] == [[event_id]] * 3
    calls = warehouse.warehouse.as_json()["calls"]["webhook"]
    assert calls[str(status)] == 2


Judged = Callable[[list[Received], list[str]], bool]


@pytest.mark.parametrize(
    ("fault", "happens", "comes", "is_so"),
    [
        ("wrong_secret", 1, 1, lambda received, _: not received[0].is_signed),
        ("stale", 1, 1, lambda received, _: received[0].is_signed and received[0].age > 3500),
        ("duplicate", 1, 2, lambda received, ids: [one.event_ids[0] for one in received] == ids * 2),
        ("overtaken", 2, 2, lambda received, ids: [one.event_ids[0] for one in received] == ids[::-1]),
        ("lost", 2, 1, lambda received, ids: [one.event_ids[0] for one in received] == ids[1:]),
    ],
)
def test_what_goes_wrong_on_demand(
    warehouse: Sandbox, receiver: Receiver, fault: str, happens: int, comes: int, is_so: Judged
) -> None:
    warehouse.warehouse.faults.add(fault, "webhook", seconds=0.5)
    ids = _happen(warehouse, happens)
    assert is_so(receiver.await_(comes), ids)
