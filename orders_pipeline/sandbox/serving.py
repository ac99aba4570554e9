"""Run an ASGI application on a loopback port in a thread of this process.

What is answered is each application's own business.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

LOOPBACK = "127.0.0.1"
START_TIMEOUT_SECONDS = 15.0


class ThreadedServer:
    """One uvicorn server in one thread; `port` is the actual one, also when 0 was asked for."""

    def __init__(self, application: Starlette, *, port: int = 0, name: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Head and body of an answer are two writes; with Nagle's algorithm the second waits 40 ms for a delayed ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.bind((LOOPBACK, port))
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                date_header=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=30,
            )
        )
        self._thread = threading.Thread(target=self._run, name=f"sandbox-{name}", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_SECONDS * 100)):
            if self._server.started:
                return
            waited.wait(0.01)
        raise RuntimeError(f"{self._thread.name} did not start on port {self.port} in {START_TIMEOUT_SECONDS} s")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


async def reset_connection(request: Request) -> Response:
    """Cut the client off with a TCP reset. The response that is returned is never sent."""
    cycle: Any = getattr(request.receive, "__self__", None)
    transport: Any = getattr(cycle, "transport", None)
    if transport is not None:
        raw: Any = transport.get_extra_info("socket")
        if raw is not None:
            # With a linger time of zero the kernel sends RST instead of FIN: what a crashed proxy looks like.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await asyncio.sleep(0.01)
    return Response(status_code=500)
