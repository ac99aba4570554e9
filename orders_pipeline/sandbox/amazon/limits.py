"""Amazon's usage plans: a token bucket for each application, seller and operation.

Rates and bursts: Amazon's models (commit 34dc93f, 2026-08-05). `time_scale` multiplies the refill rates, and nothing
else: bursts and the lives of tokens stay as they are. The rate header announces the scaled rate, as Amazon announces
the rate that applies.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from orders_pipeline.sandbox.clock import Clock

# operation → (requests per second, burst)
USAGE_PLANS: dict[str, tuple[float, int]] = {
    "searchOrders": (0.0056, 20),
    "getOrder": (0.5, 30),
    "v0.getOrders": (0.0167, 20),
    "v0.getOrder": (0.5, 30),
    "v0.getOrderBuyerInfo": (0.5, 30),
    "v0.getOrderAddress": (0.5, 30),
    "v0.getOrderItems": (0.5, 30),
    "v0.getOrderItemsBuyerInfo": (0.5, 30),
    "getOrderRegulatedInfo": (0.5, 30),
    "confirmShipment": (2, 10),
    "createRestrictedDataToken": (1, 10),
    "createDestination": (1, 5),
    "getDestinations": (1, 5),
    "getDestination": (1, 5),
    "deleteDestination": (1, 5),
    "createSubscription": (1, 5),
    "getSubscription": (1, 5),
    "getSubscriptions": (1, 5),
    "getSubscriptionById": (1, 5),
    "deleteSubscriptionById": (1, 5),
    "getMarketplaceParticipations": (0.016, 15),
    "createReport": (0.0167, 15),
    "getReports": (0.0222, 10),
    "getReport": (2, 15),
    "cancelReport": (0.0222, 10),
    "getReportDocument": (0.0167, 15),
    "rotateApplicationClientSecret": (0.0167, 1),
}


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


class UsagePlans:
    def __init__(self, clock: Clock, time_scale: float) -> None:
        self._clock = clock
        self.time_scale = time_scale
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}
        self._plans = dict(USAGE_PLANS)

    def set_plan(self, operation: str, rate: float, burst: int) -> None:
        """A seller whose plan differs from the documented default. `rate` is before scaling."""
        with self._lock:
            self._plans[operation] = (rate, burst)
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[2] != operation}

    def rate(self, operation: str) -> float:
        return self._plans[operation][0] * self.time_scale

    def announced(self, operation: str) -> str:
        return f"{self.rate(operation):g}"

    def take(self, application: str, seller: str, operation: str) -> bool:
        """One token, or False: quota exceeded."""
        burst = self._plans[operation][1]
        now = self._clock.monotonic()
        with self._lock:
            bucket = self._buckets.setdefault((application, seller, operation), _Bucket(float(burst), now))
            elapsed = max(0.0, now - bucket.filled_at)
            bucket.tokens = min(float(burst), bucket.tokens + elapsed * self.rate(operation))
            bucket.filled_at = now
            if bucket.tokens < 1:
                return False
            bucket.tokens -= 1
            return True
