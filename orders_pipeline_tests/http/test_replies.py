"""What a server sends takes bounded time and memory, goes nowhere else, and is told without what it said."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import requests

from orders_pipeline.http.bounds import Bounds, bounded
from orders_pipeline.http.hosts import proxies_for
from orders_pipeline.http.replies import BadBody, NoReply, Reply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline_tests.hostile_server import HostileServer, answer, bomb

LARGEST = 1024 * 1024
TOTAL = 0.4
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with open_session() as opened:
        yield opened


def ask(session: requests.Session, url: str, method: str = "GET", **more: Any) -> Reply:
    limits: dict[str, Any] = {"timeouts": (2.0, 2.0), "total_seconds": 5.0, "largest_bytes": LARGEST}
    return exchange(session, method, url, **{**limits, **more})


def chunks(body: bytes) -> bytes:
    return CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def endless(head: bytes, piece: bytes) -> Iterable[bytes]:
    yield head
    yield from repeat(piece)


def redirecting(body: bytes) -> bytes:
    return answer(body, "302 Found", Content_Encoding="gzip", Location="/elsewhere")


@pytest.mark.parametrize(
    "sent",
    [
        lambda: [answer(bomb(60), Content_Encoding="gzip")],
        lambda: [answer(gzip.compress(b"") * 3 + bomb(60), Content_Encoding="x-gzip")],
        lambda: [chunks(bomb(60)).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)],
        lambda: [redirecting(bomb(60))],
        lambda: [answer(b"x" * 2 * LARGEST)],
        lambda: endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        lambda: endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
    ids=["gzip", "members", "chunked gzip", "redirect", "announced", "until close", "chunks"],
)
def test_what_is_too_large_is_given_up_while_it_comes(session: requests.Session, sent: Callable[[], Iterable[bytes]]):
    parts = sent()
    with HostileServer.answering(lambda _: parts) as server:
        tracemalloc.start()
        try:
            reply = ask(session, server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert reply.content == b""
    assert peak < 12 * LARGEST
    with pytest.raises(BadBody, match="larger than 1,048,576 bytes"):
        reply.json()


@pytest.mark.parametrize(
    "sent",
    [
        endless(CHUNKED, b"0" * 65536),
        endless(CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000),
        endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 10_000),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
    ],
    ids=["size line", "trailers", "headers", "continue"],
)
def test_what_is_around_a_body_has_an_end_too(session: requests.Session, sent: Iterable[bytes]):
    with HostileServer.answering(lambda _: sent) as server:
        began = time.monotonic()
        with pytest.raises((NoReply, BadBody)):
            ask(session, server.url).json()
        # By its size, not by its time.
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n", gzip.compress(b" ")),
    ],
    ids=["body", "chunks", "size line", "trailers", "header", "status line", "continue", "gzip"],
)
def test_an_answer_that_drips_ends_with_the_time_for_the_whole(session: requests.Session, start: bytes, drop: bytes):
    server: HostileServer
    with HostileServer.answering(lambda _: server.drip(start, drop)) as server:
        began = time.monotonic()
        with pytest.raises(NoReply, match=r"not whole within 0\.4 s") as caught:
            ask(session, server.url, total_seconds=TOTAL)
        assert time.monotonic() - began < 5 * TOTAL
    assert caught.value.__suppress_context__


def test_a_server_that_falls_silent_has_no_more_than_the_time_for_the_whole(session: requests.Session):
    server: HostileServer
    with HostileServer.answering(lambda _: server.drip(b"HTTP/1.1 200 OK\r\n", b"", every=10)) as server:
        began = time.monotonic()
        with pytest.raises(NoReply, match="not whole"):
            ask(session, server.url, total_seconds=TOTAL)
        # One read alone may take two seconds.
        assert time.monotonic() - began < 1.9


def test_a_host_with_many_addresses_gets_no_more_time_to_connect(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
):
    shares: list[float] = []

    def refuse(_: object, timeout: float, **__: object) -> None:
        shares.append(timeout)
        raise OSError("unreachable")

    addresses = [(0, 0, 0, "", ("192.0.2.1", 80))] * 8
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: addresses)
    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    with pytest.raises(NoReply, match="ConnectionError"):
        ask(session, "http://127.0.0.1:9", timeouts=(5.0, 5.0), total_seconds=8.0)
    assert shares == [pytest.approx(1.0, abs=0.1)]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (answer(b"[" * 200_000), "nested too deep"),
        (answer(b'{"a":' * 200_000), "nested too deep"),
        (answer(b"9" * 5000), "not JSON"),
        (answer(b"<html>7 Nightingale Row</html>"), "not JSON"),
        (answer(b'"\xff"'), "not JSON"),
        (answer(b""), "empty"),
        (answer(gzip.compress(b"{}")[:-4], Content_Encoding="gzip"), "gzip cannot be read"),
        (answer(b"{}", Content_Encoding="gzip"), "gzip cannot be read"),
        (answer(b"{}", Content_Encoding="br"), "encoding"),
        (answer(b"{}", Content_Encoding="gzip, gzip"), "encoding"),
    ],
    ids=["lists", "objects", "digits", "html", "no text", "empty", "cut off", "no gzip", "brotli", "twice"],
)
def test_a_body_that_is_no_json_is_one_kind_of_error_that_repeats_nothing_of_it(
    session: requests.Session, sent: bytes, why: str
):
    with HostileServer.answering(sent) as server, pytest.raises(BadBody, match=why) as caught:
        ask(session, server.url).json()
    assert "Nightingale" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", b"not http", b""], ids=["body", "no http", "nothing"]
)
def test_an_answer_that_breaks_off_is_none(session: requests.Session, sent: bytes):
    def once(_: bytes) -> Iterable[bytes]:
        yield sent
        raise OSError("the server hangs up")

    with HostileServer.answering(once) as server, pytest.raises(NoReply):
        ask(session, server.url, total_seconds=2.0)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_told_by_its_host_and_never_followed(session: requests.Session, status: str):
    with HostileServer.answering(answer()) as other:
        location = f"{other.url}/login?token=the-secret"
        with HostileServer.answering(answer(b"", status, Location=location)) as server:
            reply = ask(session, server.url, "POST", json_body={"street": "7 Nightingale Row"})
            # Nor by whoever asks the session itself.
            session.get(server.url, allow_redirects=True)
        assert other.requests == []
    assert reply.redirect == "127.0.0.1"


def test_loopback_calls_ignore_the_environments_proxy_and_netrc(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileServer.answering(answer()) as proxy, HostileServer.answering(answer()) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        ask(session, server.url, headers={"x-amz-access-token": "Atza|secret"})
        assert proxy.requests == []
        [request] = server.requests
    assert b"Atza|secret" in request
    assert b"Authorization" not in request


def test_a_proxy_for_https_is_a_tunnel_that_is_told_the_host_alone(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
):
    with HostileServer.answering(answer(b"", "403 Forbidden")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "quiet.test")
        with pytest.raises(NoReply):
            ask(session, "https://warehouse.test/v1/orders/1", headers={"Authorization": "Bearer secret"})
        assert b"CONNECT warehouse.test:443" in proxy.requests[0]
        assert b"secret" not in b"".join(proxy.requests)
        assert proxies_for("https://quiet.test/") == {}
        assert proxies_for("http://warehouse.test/") == {}


def test_a_proxy_that_drips_is_given_up_too(session: requests.Session, monkeypatch: pytest.MonkeyPatch):
    proxy: HostileServer
    with HostileServer.answering(lambda _: proxy.drip(b"HTTP/1.1 200 OK\r\n", b"X")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(NoReply, match="not whole"):
            ask(session, "https://warehouse.test/", total_seconds=TOTAL)


def test_one_connection_serves_one_request_after_the_other(session: requests.Session):
    answers = iter(
        [
            answer(),
            b"HTTP/1.1 204 No Content\r\n\r\n",
            answer(gzip.compress(b"{}"), Content_Encoding="gzip"),
            chunks(b"[1]"),
        ]
    )
    with HostileServer.answering(lambda _: [next(answers)]) as server:
        replies = [ask(session, server.url) for _ in range(4)]
        assert server.connections == 1
    assert [reply.status for reply in replies] == [200, 204, 200, 200]
    assert [replies[index].json() for index in (0, 2, 3)] == [{}, {}, [1]]


def test_no_number_in_one_field_leaves_the_others_readable(session: requests.Session):
    with HostileServer.answering(answer(b'{"a": NaN, "b": [-Infinity, 1]}')) as server:
        assert ask(session, server.url).json() == {"a": None, "b": [None, 1]}


def test_cookies_are_not_kept(session: requests.Session):
    with HostileServer.answering(answer(b"{}", Set_Cookie="session=1; Path=/")) as server:
        ask(session, server.url)
        ask(session, server.url)
        assert b"ookie" not in server.requests[1]


def test_outside_an_exchange_no_bounds_are_left_behind(session: requests.Session):
    with HostileServer.answering(answer()) as server:
        with bounded(Bounds(0.0, 0)), pytest.raises(requests.RequestException):
            session.get(server.url, timeout=2)
        assert session.get(server.url, timeout=2).json() == {}
