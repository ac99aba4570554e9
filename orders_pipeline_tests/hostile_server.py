"""A server on this machine that answers with whatever bytes a test wants, as slowly as it wants."""

from __future__ import annotations

import re
import socket
import threading
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import cache

Answer = Callable[[bytes], Iterable[bytes]]


class HostileServer:
    """Answers each request by the bytes that `answer` makes of it, and keeps what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @classmethod
    @contextmanager
    def answering(cls, answer: Answer | bytes) -> Generator[HostileServer]:
        """A server that listens until the block ends."""
        server = cls((lambda _: [answer]) if isinstance(answer, bytes) else answer)
        server._thread.start()
        try:
            yield server
        finally:
            server._over.set()
            for one in (server._listening, *server._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def drip(self, start: bytes, drop: bytes, every: float = 0.02) -> Iterable[bytes]:
        """`start`, and then a drop now and then, for as long as the server is there."""
        yield start
        while not self._over.wait(every):
            yield drop

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as incoming:
            while head := _head(incoming):
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                request = head + incoming.read(int(length[1]) if length else 0)
                self.requests.append(request)
                for part in self.answer(request):
                    connection.sendall(part)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """One whole answer; headers by name, with `_` for `-`."""
    lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@cache
def bomb(megabytes: int) -> bytes:
    """A small gzip of so many megabytes of JSON."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    pieces = [b'{"pad": "', *[b" " * 1024 * 1024] * megabytes, b'"}']
    return b"".join([*map(packer.compress, pieces), packer.flush()])


def _head(incoming: Iterable[bytes]) -> bytes:
    head = b""
    for line in incoming:
        head += line
        if line in (b"\r\n", b"\n"):
            return head
    return b""
