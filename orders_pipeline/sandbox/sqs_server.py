"""moto's SQS, served on a loopback port from a thread of this process."""

from __future__ import annotations

import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from orders_pipeline.sandbox.serving import LOOPBACK

POLL_SECONDS = 0.05


class QuietRequestHandler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """A long poll every few seconds is no news."""


class SqsServer:
    def __init__(self, port: int = 0) -> None:
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(LOOPBACK, port, application, threaded=True, request_handler=QuietRequestHandler)
        self.endpoint = f"http://{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._run, name="sandbox-sqs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._server.serve_forever(poll_interval=POLL_SECONDS)
