"""The warehouse's webhooks: each event is POSTed to its receiver, signed, and again until it is answered 2xx.

What goes wrong on demand are faults of the operation `webhook`: `wrong_secret`, `stale` (signed an hour ago),
`duplicate` (sent twice), `overtaken` (held back for the fault's seconds, so that later events come first) and `lost`
(never sent).
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from orders_pipeline.sandbox.clock import Clock
from orders_pipeline.sandbox.warehouse.state import WarehouseState

FAULTS = ("wrong_secret", "stale", "duplicate", "overtaken", "lost")
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0
ATTEMPTS = 12
TIMEOUT_SECONDS = 10.0
# Events that are on their way at once: as with any sender, they arrive in any order.
SENT_AT_ONCE = 4


@dataclass(order=True)
class _Delivery:
    at: float
    sequence: int
    event: dict[str, Any] = field(compare=False)
    attempt: int = field(compare=False, default=1)


def sign(secret: str, body: bytes, sent_at: int) -> str:
    """The value of `X-Signature`."""
    digest = hmac.new(secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={sent_at},v1={digest}"


class WebhookSender:
    """Sends nothing while `url` is None; the events of that time are in the list that is polled."""

    def __init__(self, state: WarehouseState, *, clock: Clock, secret: str, url: str | None = None) -> None:
        self.url = url
        self.secret = secret
        self._state = state
        self._clock = clock
        self._condition = threading.Condition()
        self._waiting: list[_Delivery] = []
        self._sequence = 0
        self._stopping = False
        self._session = requests.Session()
        self._session.trust_env = False
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)
        state.on_event.append(self._happened)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=TIMEOUT_SECONDS)
        self._session.close()

    def _happened(self, event: dict[str, Any]) -> None:
        if self.url is None:
            return
        fault = self._state.faults.take(("duplicate", "overtaken", "lost"), "webhook", event["order_ref"])
        if fault is not None and fault.kind == "lost":
            self._state.record("webhook", event["order_ref"], "fault:lost")
            return
        self._plan(event, fault.seconds if fault is not None and fault.kind == "overtaken" else 0.0)
        if fault is not None and fault.kind == "duplicate":
            self._plan(event, 0.0)

    def _plan(self, event: dict[str, Any], delay: float, attempt: int = 1) -> None:
        with self._condition:
            self._sequence += 1
            delivery = _Delivery(self._clock.monotonic() + delay, self._sequence, event, attempt)
            heapq.heappush(self._waiting, delivery)
            self._condition.notify()

    def _run(self) -> None:
        with ThreadPoolExecutor(SENT_AT_ONCE, thread_name_prefix="sandbox-webhook") as pool:
            while (delivery := self._next()) is not None:
                pool.submit(self._send, delivery)

    def _next(self) -> _Delivery | None:
        """The next delivery once it is due; None at the end."""
        with self._condition:
            while not self._stopping:
                wait = self._waiting[0].at - self._clock.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._waiting)
                # A clock that a test moved is noticed within a second.
                self._condition.wait(1.0 if wait is None else min(1.0, wait))
        return None

    def _send(self, delivery: _Delivery) -> None:
        order_ref: str = delivery.event["order_ref"]
        fault = self._state.faults.take(("wrong_secret", "stale"), "webhook", order_ref)
        kind = fault.kind if fault is not None else None
        with self._state.lock:
            body = json.dumps({"shipments": [delivery.event]}).encode()
        secret = "not the secret" if kind == "wrong_secret" else self.secret
        sent_at = int(self._clock.now().timestamp()) - (3600 if kind == "stale" else 0)
        outcome = self._answer(body, sign(secret, body, sent_at))
        self._state.record("webhook", order_ref, outcome)
        if not outcome.startswith("2") and delivery.attempt < ATTEMPTS:
            delay = min(FIRST_RETRY_SECONDS * 2 ** (delivery.attempt - 1), LONGEST_RETRY_SECONDS)
            self._plan(delivery.event, delay, delivery.attempt + 1)

    def _answer(self, body: bytes, signature: str) -> str:
        """The status that the receiver answered, or `unreachable`."""
        headers = {"Content-Type": "application/json", "X-Signature": signature}
        try:
            answer = self._session.post(
                self.url or "", data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException:
            return "unreachable"
        return str(answer.status_code)
