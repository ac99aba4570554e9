"""The sandbox's warehouse as one to be tried: a process of its own, and a worker who acts over its control API."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.wms.conformance.ends import NotPossible
from orders_pipeline.wms.conformance.worker import Worker

READY_SECONDS = 60.0
CALL_SECONDS = 30.0
# Its floor ships nothing by itself: what is tried says what leaves.
NEVER_SECONDS = "1e9"


class SandboxWorker(Worker):
    """Acts in the warehouse of the sandbox whose control API is at `url`."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/sandbox/warehouse"
        self._session = requests.Session()
        self._session.trust_env = False

    def skus(self) -> Sequence[str]:
        return ("CONFORMANCE-1", "CONFORMANCE-2", "CONFORMANCE-3")

    def unknown_sku(self) -> str:
        # The sandbox takes any SKU that it is not told of.
        return self._call("POST", "unknown_sku", {"sku": super().unknown_sku()})["sku"]

    def orders(self, order_ref: str) -> Sequence[Mapping[str, int]]:
        return self._call("GET", f"orders/{order_ref}")["orders"]

    def start_packing(self, order_ref: str) -> None:
        self._act(order_ref, "pack")

    def ship(
        self, order_ref: str, lines: Mapping[str, int] | None = None, *, carrier: str, tracking_number: str
    ) -> None:
        self._act(order_ref, "ship", lines=lines, carrier=carrier, tracking_number=tracking_number)

    def ship_together(self, order_refs: Sequence[str], *, carrier: str, tracking_number: str) -> None:
        for order_ref in order_refs:
            self._act(order_ref, "ship", carrier=carrier, tracking_number=tracking_number, box=f"BOX-{order_refs[0]}")

    def void(self, order_ref: str) -> None:
        self._act(order_ref, "void")

    def relabel(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        self._act(order_ref, "ship_again", carrier=carrier, tracking_number=tracking_number)

    def ship_again(self, order_ref: str, *, carrier: str, tracking_number: str) -> None:
        self._act(order_ref, "ship_again", carrier=carrier, tracking_number=tracking_number)

    def ship_short(
        self,
        order_ref: str,
        lines: Mapping[str, int],
        missing: Mapping[str, int],
        *,
        carrier: str,
        tracking_number: str,
    ) -> None:
        self.ship(order_ref, lines, carrier=carrier, tracking_number=tracking_number)
        self._act(order_ref, "short", lines=missing)

    def cancel(self, order_ref: str) -> None:
        self._act(order_ref, "cancel")

    def repeat_event(self, order_ref: str) -> None:
        self._act(order_ref, "repeat")

    def report(self, order_ref: str, **fields: object) -> None:
        self._act(order_ref, "report", fields=fields)

    def refused_address(self) -> Address:
        # Without a city: the contract's warehouse refuses it.
        return Address(
            name=PersonalText("Casey Nowhere"),
            address_line1=PersonalText("1 Missing Town Lane"),
            postal_code=PersonalText("55802"),
            country_code="US",
        )

    def finds(self, texts: Sequence[str]) -> Sequence[str]:
        return self._call("POST", "finds", {"texts": list(texts)})["found"]

    def restart(self) -> None:
        self._call("POST", "restart", {})

    def webhook(self, order_ref: str) -> tuple[Mapping[str, str], bytes]:
        answer = self._call("GET", f"orders/{order_ref}/webhook")
        return answer["headers"], base64.b64decode(answer["body"])

    def webhook_secret(self) -> str:
        """What the sandbox signs with."""
        return self._call("GET", "webhook_secret")["secret"]

    def close(self) -> None:
        self._session.close()

    def _act(self, order_ref: str, action: str, **arguments: object) -> None:
        self._call("POST", f"orders/{order_ref}/{action}", arguments)

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        answer = self._session.request(method, f"{self._url}/{path}", json=body, timeout=CALL_SECONDS)
        if answer.status_code == 501:
            raise NotPossible(str(answer.json()["error"]))
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running_sandbox() -> Generator[dict[str, str]]:
    """A sandbox in a process of its own; its clients' environment. It is stopped when the block ends."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        ready = Path(folder) / "environment.json"
        command = [
            *(sys.executable, "-m", "orders_pipeline.sandbox", "--ready-file", str(ready), "--no-autostart"),
            *("--no-subscribed", "--ship-min-seconds", NEVER_SECONDS, "--ship-max-seconds", NEVER_SECONDS),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
        try:
            yield _environment(process, ready)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _environment(process: subprocess.Popen[bytes], ready: Path) -> dict[str, str]:
    until = time.monotonic() + READY_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise NotPossible("the sandbox did not start: pip install 'orders-pipeline[sandbox]'")
        time.sleep(0.05)
    return json.loads(ready.read_text(encoding="utf-8"))
