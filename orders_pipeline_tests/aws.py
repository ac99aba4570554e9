"""AWS on this machine, over HTTP: moto's server, for as long as a test needs it."""

from __future__ import annotations

from types import TracebackType

from moto.server import ThreadedMotoServer


class ThreadedServer:
    """A moto server on a free port; entering it gives its URL."""

    def __enter__(self) -> str:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop()
