"""The warehouse's webhooks at the port: taken by their signature alone, once committed, whatever else comes."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orders_pipeline.database.engine import Database
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.sandbox.serving import ThreadedServer
from orders_pipeline.sandbox.warehouse.webhooks import sign
from orders_pipeline.shipments.record import record_shipments
from orders_pipeline.web.access import Access, OpenAccess
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.journal import AuditJournal
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.webhooks import BODY_BYTES, READ_AT_ONCE, WEBHOOK_PATH, CarriedClock, Webhooks
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.web.door import login_access
from orders_pipeline_tests.world import World, open_world

SECRET = "the secret of the tests"
PATIENCE = 20.0


class Port:
    """The guard and the webhooks behind a real server, with a page of the UI beside them."""

    def __init__(self, world: World, deployment: Deployment, url: str) -> None:
        self.world = world
        self.deployment = deployment
        self.url = url
        self.address = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))

    def post(self, body: bytes, signature: str | None = None, **headers: str) -> requests.Response:
        signature = sign(SECRET, body, self.now()) if signature is None else signature
        headers = {"X-Signature": signature, **headers}
        return requests.post(self.url + WEBHOOK_PATH, data=body, headers=headers, timeout=PATIENCE)

    def send(self, *events: object, **headers: str) -> int:
        return self.post(json.dumps({"shipments": events}).encode(), **headers).status_code

    def refuse(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.post(b"{}", sign("another secret", b"{}", self.now())).status_code == 401

    def recorded(self) -> list[str]:
        return [row.event_id for row in self.world.rows("pipeline.wms_shipments", "event_id, sequence")]

    def state(self) -> Any:
        return [tuple(row) for row in self.world.rows("pipeline.wms_cursors", "webhooks_refused, webhook_refusal")]

    def now(self) -> int:
        return int(self.world.database.now().timestamp())


@contextmanager
def opened(
    world: World, database_url: str, folder: Path, *, access: Access | None = None, secret: str = SECRET, **rules: Any
) -> Generator[Port]:
    read_seconds = rules.pop("read_seconds", 5.0)
    deployment = deployed(database_url, folder, WMS_WEBHOOK_SECRET=secret)
    journal = AuditJournal(deployment)
    webhooks = Webhooks(
        deployment, journal, read_seconds=read_seconds, tell_every_seconds=rules.pop("tell_every_seconds", 0.05)
    )
    guard = GuardRules(Origins(), access or OpenAccess(), journal=journal, **rules)
    app = Starlette(
        routes=[*webhooks.routes(), Route("/{path:path}", _page, methods=["GET", "POST"])],
        middleware=[Middleware(Guard, rules=guard)],
    )
    server = ThreadedServer(app, name="port")
    server.start()
    try:
        yield Port(world, deployment, server.url)
    finally:
        server.stop()
        deployment.database.close()


async def _page(_: Request) -> Response:
    return PlainTextResponse("a page of the UI")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return open_world(database, tmp_path)


@pytest.fixture
def port(world: World, database_url: str, tmp_path: Path) -> Iterator[Port]:
    with opened(world, database_url, tmp_path) as port:
        yield port


def event(number: int = 1, **changes: object) -> dict[str, object]:
    return {
        "event_id": f"E{number}", "kind": "shipped", "order_ref": f"111-0000000-{number:07d}", "package_id": "P",
        "carrier": "UPS", "service": None, "tracking_number": f"1Z{number:016d}", "shipped_at": "2026-11-21T10:00:00Z",
        "lines": [{"line_ref": "1", "quantity": 1}], **changes,
    }  # fmt: skip


def _until(ready: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


# --- taken


def test_a_webhook_is_answered_204_once_its_events_are_committed(port: Port):
    answer = port.post(json.dumps({"shipments": [event(1), event(2)]}).encode())
    assert (answer.status_code, answer.content) == (204, b"")
    assert port.recorded() == ["E1", "E2"]
    assert port.send(event(2), event(1), event(3)) == 204
    assert port.recorded() == ["E1", "E2", "E3"]


def test_what_cannot_be_committed_is_not_answered_204_and_is_taken_when_it_is_sent_again(port: Port):
    port.world.sql("alter table pipeline.wms_shipments rename to away")
    answer = port.post(json.dumps(event()).encode())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    port.world.sql("alter table pipeline.away rename to wms_shipments")
    assert port.send(event()) == 204
    assert port.recorded() == ["E1"]


def test_a_defect_of_an_adapters_own_is_a_503_that_tells_nothing_of_what_was_sent(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    street = "7 Nightingale Row"

    def broken(*_: object) -> Any:
        raise ValueError(street)

    with monkeypatch.context() as patched:
        patched.setattr(port.deployment.warehouse, "parse_webhook", broken)
        answer = port.post(json.dumps(event(carrier=street)).encode())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "ValueError at test_webhooks.py" in caplog.text
    assert street not in caplog.text
    assert port.send(event()) == 204


def test_a_defect_that_one_accounts_events_meet_is_not_anothers(port: Port, monkeypatch: pytest.MonkeyPatch):
    class Another:
        account_id = "ANOTHER"

    def for_some(*arguments: Any, account_id: str, **named: Any) -> int:
        if account_id == "ANOTHER":
            raise RuntimeError("a defect")
        return record_shipments(*arguments, account_id=account_id, **named)

    own = port.deployment.accounts()
    monkeypatch.setattr(port.deployment, "accounts", lambda: (Another(), *own))
    monkeypatch.setattr("orders_pipeline.web.webhooks.record_shipments", for_some)
    assert port.send(event()) == 503
    assert port.recorded() == ["E1"]


def test_a_webhook_is_answered_in_milliseconds(port: Port):
    port.send(event(1))
    taken: list[float] = []
    for number in range(2, 22):
        began = time.perf_counter()
        assert port.send(event(number)) == 204
        taken.append(time.perf_counter() - began)
    # Some ten; on a machine that does other things too, more.
    assert sorted(taken)[len(taken) // 2] < 0.2


def test_the_databases_clock_decides_and_is_asked_once_a_minute(port: Port, monkeypatch: pytest.MonkeyPatch):
    asked: list[None] = []
    now = port.world.database.now() + timedelta(days=3)

    class Ahead(Database):
        def now(self) -> Any:
            asked.append(None)
            return now

    monkeypatch.setattr(port.deployment.database, "now", lambda: Ahead.now(port.deployment.database))  # type: ignore[arg-type]
    body = json.dumps(event()).encode()
    for _ in range(5):
        answer = port.post(body)
        assert (answer.status_code, "five minutes" in answer.text) == (401, True)
    assert port.post(body, sign(SECRET, body, int(now.timestamp()))).status_code == 204
    assert len(asked) == 1


def test_the_clock_goes_on_between_two_questions(database: Database):
    clock = CarriedClock(database)
    first, second = clock.now(), clock.now()
    assert first < second < first + timedelta(seconds=5)
    assert abs(second - database.now()) < timedelta(seconds=5)


# --- refused


def test_without_a_secret_webhooks_are_refused_and_it_is_said_where_one_looks(
    world: World, database_url: str, tmp_path: Path
):
    with opened(world, database_url, tmp_path, secret="") as port:
        for _ in range(3):
            answer = port.post(json.dumps(event()).encode())
            assert (answer.status_code, "WMS_WEBHOOK_SECRET is not set" in answer.text) == (403, True)
        _until(lambda: world.alerts().get("warehouse.webhooks_refused"), "the alert")
    assert "WMS_WEBHOOK_SECRET is not set" in world.alerts()["warehouse.webhooks_refused"].message
    assert port.recorded() == []
    # Polling goes on all the same.
    package_id = world.ship(world.accepted())
    world.confirm_and_verify()
    assert world.package(package_id).state == "confirmed"


def test_signatures_that_keep_being_refused_are_one_alert_until_one_is_taken(port: Port):
    port.refuse(2)
    _until(lambda: port.state() == [(2, "signature")], "the count")
    assert port.world.alerts() == {}
    port.refuse()
    _until(lambda: port.state() == [(3, "signature")], "the count")
    assert "3 webhooks" in port.world.alerts()["warehouse.webhooks_refused"].message
    assert port.send(event()) == 204
    assert port.world.alerts() == {}


@pytest.mark.parametrize(("secret", "status"), [(SECRET, 401), ("", 403)])
def test_unsigned_calls_are_anybodys_and_wake_nobody(
    world: World, database_url: str, tmp_path: Path, secret: str, status: int
):
    with opened(world, database_url, tmp_path, secret=secret) as port:
        for _ in range(5):
            assert requests.post(port.url + WEBHOOK_PATH, data=b"{}", timeout=PATIENCE).status_code == status
        _until(lambda: _refusals(port) >= 5, "the audit log")
    assert world.rows("pipeline.wms_cursors") == []


def test_a_flood_of_wrong_signatures_is_a_few_rows_and_no_line_of_it_is_its_own(
    world: World, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    street = "7 Nightingale Row"
    with (
        caplog.at_level(logging.INFO, "orders_pipeline"),
        opened(world, database_url, tmp_path, tell_every_seconds=1.0) as port,
    ):
        body = json.dumps(event(carrier=street)).encode()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: port.post(body, sign("no", body, 1)).status_code, range(200)))
        assert set(answers) <= {401, 503}
        _until(lambda: _refusals(port) == answers.count(401), "the count")
    entries = world.rows("audit.entries", "detail, at", "action = 'web_webhooks'")
    lines = [record for record in caplog.records if "refused" in record.getMessage()]
    assert len(entries) == len(lines) <= 5
    assert street not in world.everything_stored() + caplog.text


def test_a_flood_starves_neither_the_ui_nor_the_right_webhooks(port: Port):
    body = b"x" * (BODY_BYTES // 2)
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            port.post(body, "t=1,v1=" + "0" * 64)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(flood)
        try:
            for number in range(1, 6):
                began = time.monotonic()
                assert requests.get(f"{port.url}/runs", timeout=PATIENCE).text == "a page of the UI"
                assert port.send(event(number)) == 204
                assert time.monotonic() - began < 5
            assert port.deployment.database.engine.pool.checkedout() <= 4  # type: ignore[attr-defined]
        finally:
            over.set()


def _refusals(port: Port) -> int:
    return sum(
        sum(count for count in row.detail.values() if isinstance(count, int))
        for row in port.world.rows("audit.entries", "detail, at", "action = 'web_webhooks'")
    )


# --- slow and large bodies


@contextmanager
def _slow(port: Port, body: bytes, *, sent: int) -> Generator[socket.socket]:
    """A call of whose body so many bytes have come."""
    with socket.create_connection(port.address, timeout=PATIENCE) as connection:
        head = {
            "Host": urlsplit(port.url).netloc,
            "Content-Length": len(body),
            "X-Signature": sign(SECRET, body, port.now()),
        }
        lines = [f"POST {WEBHOOK_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode() + body[:sent])
        yield connection


def test_a_slow_body_holds_no_connection_of_the_database_and_no_other_webhook(port: Port):
    body = json.dumps(event(1)).encode()
    with _slow(port, body, sent=10) as connection:
        assert port.send(event(2)) == 204
        pool: Any = port.deployment.database.engine.pool
        assert pool.checkedout() == 0
        connection.sendall(body[10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 204")
    assert sorted(port.recorded()) == ["E1", "E2"]


def test_a_body_that_does_not_come_in_time_is_given_up(world: World, database_url: str, tmp_path: Path):
    with (
        opened(world, database_url, tmp_path, read_seconds=0.3) as port,
        _slow(port, json.dumps(event()).encode(), sent=10) as connection,
    ):
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert port.send(event(2)) == 204


def test_more_slow_bodies_than_are_read_at_once_are_to_come_again_and_the_ui_answers(port: Port):
    body = json.dumps(event(1)).encode()
    slow = [_slow(port, body, sent=10) for _ in range(READ_AT_ONCE)]
    for one in slow:
        one.__enter__()
    _until(lambda: port.send(event(2)) == 503, "the limit")
    assert requests.get(f"{port.url}/runs", timeout=PATIENCE).ok
    for one in slow:
        one.__exit__(None, None, None)
    _until(lambda: port.send(event(2)) == 204, "a place")
    assert port.recorded() == ["E2"]


def test_a_body_past_the_limit_is_refused_whether_it_says_so_or_not(port: Port):
    large = b" " * (BODY_BYTES + 1)
    assert port.post(large).status_code == 413
    signature = {"X-Signature": sign(SECRET, large, 1)}
    parts = (large[start : start + 65_536] for start in range(0, len(large), 65_536))
    assert requests.post(port.url + WEBHOOK_PATH, data=parts, headers=signature, timeout=PATIENCE).status_code == 413
    assert port.send(event(), *[7] * 100_000) == 204


# --- the guard


def test_the_path_needs_no_login_and_opens_no_other(world: World, database_url: str, tmp_path: Path, users_file: Path):
    with opened(world, database_url, tmp_path, access=login_access(users_file, tmp_path)) as port:
        assert port.send(event()) == 204
        # A proxy stands before it, where there is a login and where there is none.
        assert port.send(event(), **{"X-Forwarded-For": "203.0.113.9"}) == 204
        for path in (f"{WEBHOOK_PATH}/", f"{WEBHOOK_PATH}/x", "/webhooks", f"/x{WEBHOOK_PATH}", "/webhooks/Warehouse"):
            assert requests.post(port.url + path, timeout=PATIENCE).status_code in (401, 405), path
            assert requests.get(port.url + path, timeout=PATIENCE).status_code == 401, path


def test_a_proxy_may_pass_webhooks_on_where_the_ui_has_no_login(port: Port):
    passed_on = {"X-Forwarded-For": "203.0.113.9", "Via": "1.1 proxy"}
    assert port.send(event(), **passed_on) == 204
    assert requests.get(f"{port.url}/runs", headers=passed_on, timeout=PATIENCE).status_code == 403


REFUSED: dict[str, Mapping[str, str]] = {
    "another host": {"Host": "orders.shop.example"},
    "another site's page": {"Origin": "https://shop.example"},
    "a page of no site": {"Origin": "null"},
    "another site's request": {"Sec-Fetch-Site": "cross-site"},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_host_and_origin_are_asked_for_as_everywhere(port: Port, headers: Mapping[str, str]):
    assert port.send(event(), **headers) == 403
    assert port.recorded() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_webhook_is_posted(port: Port, method: str):
    assert requests.request(method, port.url + WEBHOOK_PATH, timeout=PATIENCE).status_code == 405


def test_a_read_only_port_takes_none(world: World, database_url: str, tmp_path: Path):
    with opened(world, database_url, tmp_path, read_only=True) as port:
        assert port.send(event()) == 403


def test_two_signature_headers_are_none(port: Port):
    body = json.dumps(event()).encode()
    signature = sign(SECRET, body, port.now())
    with socket.create_connection(port.address, timeout=PATIENCE) as connection:
        host = urlsplit(port.url).netloc
        head = f"POST {WEBHOOK_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall((head + f"X-Signature: {signature}\r\n" * 2 + "\r\n").encode() + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_each_account_is_told_and_ones_trouble_is_not_anothers(port: Port, monkeypatch: pytest.MonkeyPatch):
    class Another:
        account_id = "ANOTHER"

    own = port.deployment.accounts()
    monkeypatch.setattr(port.deployment, "accounts", lambda: (Another(), *own))
    condition = "account_id <> 'ANOTHER'"
    port.world.sql(f"alter table pipeline.wms_shipments add constraint refused check ({condition}) not valid")
    assert port.send(event()) == 503
    assert [row.account_id for row in port.world.rows("pipeline.wms_shipments", "account_id, event_id")] == [SELLER]
    port.world.sql("alter table pipeline.wms_shipments drop constraint refused")
    assert port.send(event()) == 204
    with port.world.database.begin() as connection:
        found = connection.execute(text("select account_id from pipeline.wms_shipments order by 1")).scalars()
        assert list(found) == sorted([SELLER, "ANOTHER"])
