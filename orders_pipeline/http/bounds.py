"""How long one answer may take in all, and how much may come, counted where the bytes arrive.

A time-out of a socket is for one read: a server that sends a byte now and then, or header after header, outlives it for
ever. Here each read has what is left of the whole, from the connection's first byte to the body's last.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# The status line, the headers and what chunks are wrapped in.
AROUND_THE_BODY_BYTES = 1024 * 1024


class TooLarge(Exception):
    """More came than the caller takes."""


class Bounds:
    """The end of one exchange, and the most that it may receive."""

    def __init__(self, seconds: float, body_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds
        # Chunks of a byte each are six times their content; nobody sends all in such.
        self._left = 2 * body_bytes + AROUND_THE_BODY_BYTES

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock())

    def received(self, count: int) -> None:
        """So many bytes have come. Raises TooLarge."""
        self._left -= count
        if self._left < 0:
            raise TooLarge


_current: ContextVar[Bounds | None] = ContextVar("bounds of the exchange under way", default=None)


@contextmanager
def bounded(bounds: Bounds) -> Generator[None]:
    """Whatever is sent and received in this block, in this thread, is held to these bounds."""
    token = _current.set(bounds)
    try:
        yield
    finally:
        _current.reset(token)


class _BoundedReader(io.RawIOBase):
    """The bytes of one answer, as they come from its socket."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock = sock
        self._raw: io.RawIOBase = sock.makefile("rb", buffering=0)  # type: ignore[assignment]
        self._bounds = bounds
        self._each_read = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._bounds.remaining
        if left <= 0:
            raise TimeoutError("the time for the whole answer is over")
        self._sock.settimeout(left if self._each_read is None else min(left, self._each_read))
        count = self._raw.readinto(buffer)
        self._bounds.received(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """Of a socket, what http.client reads an answer from."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock, self._bounds))


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **named: Any) -> None:
        bounds = _current.get()
        super().__init__(sock if bounds is None else _BoundedSocket(sock, bounds), *arguments, **named)  # type: ignore[arg-type]


class BoundedHTTPConnection(HTTPConnection):
    """A connection whose opening and whose answers are held to the bounds of the exchange under way."""

    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        if (bounds := _current.get()) is not None:
            # urllib3 gives each address of the host the whole time-out.
            share = bounds.remaining / _count_addresses(self._dns_host, self.port)
            self.timeout = max(min(share, self.timeout or share), 0.001)
        return super()._new_conn()


class BoundedHTTPSConnection(BoundedHTTPConnection, HTTPSConnection):
    """The same over TLS. One handshake is one time-out, however its bytes come (CPython's ssl counts it whole)."""


class BoundedHTTPPool(HTTPConnectionPool):
    ConnectionCls = BoundedHTTPConnection  # type: ignore[assignment]


class BoundedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = BoundedHTTPSConnection  # type: ignore[assignment]


POOLS = {"http": BoundedHTTPPool, "https": BoundedHTTPSPool}


def _count_addresses(host: str, port: int | None) -> int:
    try:
        return max(len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)), 1)
    except OSError:
        # urllib3 looks it up again, and says what is wrong.
        return 1
