"""A proxy between the adapter and its warehouse, on this machine, that makes the network's troubles.

An answer that is lost after the request had its effect, a proxy's page, a server that hangs: no warehouse has to play
them, and an adapter cannot tell them from the real ones.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

# Of one connection: these the next server sets by itself.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "host"}
UPSTREAM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered in the warehouse's place."""

    status: int
    body: bytes = b"<html><body><h1>Service is being upgraded</h1></body></html>"
    content_type: str = "text/html"
    location: str | None = None


# lost: the request arrives, its answer does not. unsent: it does not arrive. hang: no answer, and no end.
Trouble = Literal["lost", "unsent", "hang"] | Page


class Front:
    """Forwards every request to `upstream` until a trouble strikes."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._count = 0
        self._troubles: dict[int, Trouble] = {}
        self._from_then_on: tuple[int, Trouble] | None = None
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="conformance-front", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """As the upstream's, at this front."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._upstream.path}"

    @contextmanager
    def counting(self) -> Generator[list[int]]:
        """Counts requests; the list holds the number when the block has ended."""
        with self._lock:
            before = self._count
        counted: list[int] = []
        yield counted
        with self._lock:
            counted.append(self._count - before)

    @contextmanager
    def striking(self, trouble: Trouble, *, at: int = 1, then: Trouble | None = None) -> Generator[None]:
        """The block's `at`-th request meets this trouble, and each later one `then` (None: no trouble)."""
        with self._lock:
            self._troubles = {self._count + at: trouble}
            self._from_then_on = None if then is None else (self._count + at, then)
        try:
            yield
        finally:
            with self._lock:
                self._troubles, self._from_then_on = {}, None
            self._over.set()
            self._over = threading.Event()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def next_trouble(self) -> tuple[Trouble | None, threading.Event]:
        """What the request that has just come meets, and when a hanging one may end."""
        with self._lock:
            self._count += 1
            trouble = self._troubles.get(self._count)
            if trouble is None and self._from_then_on is not None and self._count > self._from_then_on[0]:
                trouble = self._from_then_on[1]
            return trouble, self._over

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        """The warehouse's own answer, its body unread."""
        host, port = self._upstream.hostname or "127.0.0.1", self._upstream.port
        if self._upstream.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=UPSTREAM_SECONDS, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=UPSTREAM_SECONDS)
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        connection.request(method, path, body=body or None, headers=kept)
        return connection.getresponse()


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; with Nagle's algorithm the second would wait for a delayed ACK.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            trouble, over = front.next_trouble()
            if isinstance(trouble, Page):
                self._answer(trouble.status, trouble.body, trouble.content_type, trouble.location)
                return
            if trouble == "hang":
                over.wait()
            if trouble in ("unsent", "hang"):
                self._cut()
                return
            try:
                answer = front.forward(self.command, self.path, dict(self.headers.items()), body)
                content = answer.read()
            except (OSError, http.client.HTTPException):
                # As a server that is away is seen without a proxy.
                self._cut()
                return
            if trouble == "lost":
                self._cut()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP | {"date", "server"}:
                    self.send_header(name, value)
            self._finish(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

        def _answer(self, status: int, body: bytes, content_type: str, location: str | None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if location is not None:
                self.send_header("Location", location)
            self._finish(body)

        def _finish(self, body: bytes) -> None:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a path holds an order's id, and nobody reads it."""

    return Handler
