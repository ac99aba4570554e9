"""What goes wrong on demand: which fault, where, how often."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from orders_pipeline.sandbox.serving import reset_connection

HTML_ERROR = "<html><head><title>{status}</title></head><body><h1>{status} {reason}</h1></body></html>"

# Answered before the request is looked at.
BEFORE = ("slow", "reset", "html_500", "html_503", "empty_500", "empty_200", "error_500", "error_503", "forbidden")
# The request has its effect; the client does not learn of it.
AFTER = ("slow_after", "reset_after", "html_500_after", "empty_200_after")


@dataclass
class Fault:
    """One thing to go wrong.

    `operation` is Amazon's operation name, the warehouse's (`put_order`, `get_order`, `hold`, `release`, `cancel`,
    `shipments`, `erase_pii`; `webhook`, its own calls), `token` for Login with Amazon, or `*`. `times=None` means until
    removed.
    """

    kind: str
    operation: str = "*"
    order_id: str | None = None
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0
    with_header: bool = False
    struck: int = 0


class Faults:
    """The faults that wait to strike, taken one by one under a lock."""

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)

    def add(
        self,
        kind: str,
        operation: str = "*",
        *,
        order_id: str | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        seconds: float = 1.0,
        with_header: bool = False,
    ) -> Fault:
        fault = Fault(kind, operation, order_id, times, probability, seconds, with_header)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def remove(self, fault: Fault) -> None:
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)

    def take(self, kinds: tuple[str, ...], operation: str, order_id: str | None = None) -> Fault | None:
        """The first waiting fault of one of these kinds that strikes here and now."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.kind not in kinds or fault.operation not in ("*", operation):
                    continue
                if fault.order_id is not None and fault.order_id != order_id:
                    continue
                if fault.times == 0 or self._random.random() >= fault.probability:
                    continue
                fault.struck += 1
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


async def broken_answer(fault: Fault, request: Request) -> Response | None:
    """The answer that this fault gives instead of the right one; None if the request goes on (after a wait)."""
    kind = fault.kind.removesuffix("_after")
    if kind == "slow":
        await asyncio.sleep(fault.seconds)
        return None
    if kind == "reset":
        return await reset_connection(request)
    if kind == "html_500":
        html = HTML_ERROR.format(status=500, reason="Internal Server Error")
        return Response(html, status_code=500, media_type="text/html")
    if kind == "html_503":
        html = HTML_ERROR.format(status=503, reason="Service Temporarily Unavailable")
        return Response(html, status_code=503, media_type="text/html")
    if kind == "empty_500":
        return Response(b"", status_code=500)
    if kind == "empty_200":
        return Response(b"", status_code=200)
    if kind == "forbidden":
        return Response('{"message":"Forbidden"}', status_code=403, media_type="application/json")
    if kind in ("error_500", "error_503"):
        code = "InternalFailure" if kind == "error_500" else "ServiceUnavailable"
        message = "We encountered an internal error. Please try again."
        body = f'{{"errors":[{{"code":"{code}","message":"{message}","details":""}}]}}'
        return Response(body, status_code=int(kind[-3:]), media_type="application/json")
    return None
