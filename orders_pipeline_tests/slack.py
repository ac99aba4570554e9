"""Slack on this machine, over HTTP: a webhook that keeps what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr


class Slack(ThreadingHTTPServer):
    """A webhook that keeps what it is told; `status` is what it answers, 400 to a text that has what it `refuses`.

    `fails_at`: 500 to a text that has it. `headers` come with every answer. `asked` counts the requests. What is
    told is what a person reads: the text of every block.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.told: list[str] = []
        self.bodies: list[dict[str, object]] = []
        self.status = 200
        self.refuses: str | None = None
        self.fails_at: str | None = None
        self.headers: dict[str, str] = {}
        self.asked = 0

    @classmethod
    @contextmanager
    def listening(cls) -> Generator[Slack]:
        """A webhook that listens until the block ends."""
        server = cls()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_address[1]}/services/T0/B0/the-secret")


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        slack = self.server
        assert isinstance(slack, Slack)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        slack.asked += 1
        text = _read(body)
        status = 400 if slack.refuses and slack.refuses in text else slack.status
        status = 500 if slack.fails_at and slack.fails_at in text else status
        if status == 200:
            slack.told.append(text)
            slack.bodies.append(body)
        self.send_response(status)
        for name, value in slack.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


def _read(body: dict[str, Any]) -> str:
    parts = [part for block in body["blocks"] for part in (block.get("elements") or [block["text"]])]
    return "\n".join(part["text"] for part in parts)
