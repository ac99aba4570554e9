"""What Amazon saw: every call, every token, every confirmation, every message it sent. No PII."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orders_pipeline.sandbox.clock import iso

# An endless sandbox must not grow for ever.
KEPT_CALLS = 100_000


@dataclass(frozen=True)
class RecordedCall:
    at: datetime
    operation: str
    status: int
    order_id: str | None
    included_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confirmation:
    """One confirmShipment call.

    `outcome`: created, edited, repeated (nothing changed), dropped (204, but no package), refused.
    """

    at: datetime
    order_id: str
    reference_id: str
    outcome: str
    carrier_code: str = ""
    carrier_name: str | None = None
    tracking_number: str = ""
    items: tuple[tuple[str, int], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class RestrictedGrant:
    at: datetime
    seller_id: str
    resources: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass
class OrderReads:
    """How often one order was asked for, and when what had shipped of it was last shown to anyone."""

    by_operation: Counter[str] = field(default_factory=Counter[str])
    shipments_shown_at: datetime | None = None


class AmazonLedger:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: deque[RecordedCall] = deque(maxlen=KEPT_CALLS)
        self.requests: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.statuses: dict[str, Counter[int]] = {}
        self.token_requests: Counter[str] = Counter()
        self.restricted_grants: list[RestrictedGrant] = []
        self.confirmations: list[Confirmation] = []
        self._confirmations_of: dict[str, list[Confirmation]] = {}
        self.reads: dict[str, OrderReads] = {}
        self.notifications: Counter[str] = Counter()
        self.unknown_parameters: Counter[str] = Counter()
        self.user_agents: Counter[str] = Counter()

    def record_call(self, call: RecordedCall) -> None:
        with self._lock:
            self.calls.append(call)
            self.requests[call.operation] += 1
            self.statuses.setdefault(call.operation, Counter())[call.status] += 1
            if call.status == 429:
                self.throttled[call.operation] += 1
            if call.order_id is not None:
                self.reads.setdefault(call.order_id, OrderReads()).by_operation[call.operation] += 1

    def record_shown(self, order_id: str, at: datetime) -> None:
        """An answer showed all packages of the order (2026-01-01), or its shipped quantities (v0)."""
        with self._lock:
            self.reads.setdefault(order_id, OrderReads()).shipments_shown_at = at

    def record_token(self, outcome: str) -> None:
        self.count(lambda: self.token_requests.update([outcome]))

    def record_grant(self, grant: RestrictedGrant) -> None:
        self.count(lambda: self.restricted_grants.append(grant))

    def record_confirmation(self, confirmation: Confirmation) -> None:
        with self._lock:
            self.confirmations.append(confirmation)
            self._confirmations_of.setdefault(confirmation.order_id, []).append(confirmation)

    def record_notification(self, change_type: str) -> None:
        self.count(lambda: self.notifications.update([change_type]))

    def record_unknown_parameters(self, operation: str, names: list[str]) -> None:
        self.count(lambda: self.unknown_parameters.update(f"{operation}:{name}" for name in names))

    def count(self, change: Callable[[], None]) -> None:
        with self._lock:
            change()

    def order_reads(self, order_id: str) -> OrderReads:
        with self._lock:
            return self.reads.get(order_id) or OrderReads()

    def confirmations_of(self, order_id: str) -> list[Confirmation]:
        with self._lock:
            return list(self._confirmations_of.get(order_id, []))

    def as_json(self) -> dict[str, Any]:
        with self._lock:
            return {
                "requests": dict(self.requests),
                "throttled": dict(self.throttled),
                "statuses": {operation: {str(k): v for k, v in c.items()} for operation, c in self.statuses.items()},
                "token_requests": dict(self.token_requests),
                "restricted_data_tokens": [
                    {
                        "at": iso(grant.at),
                        "seller_id": grant.seller_id,
                        "resources": [
                            {"method": method, "path": path, "dataElements": list(elements)}
                            for method, path, elements in grant.resources
                        ],
                    }
                    for grant in self.restricted_grants
                ],
                "confirmations": dict(Counter(confirmation.outcome for confirmation in self.confirmations)),
                "refused_confirmations": [
                    {"at": iso(c.at), "order_id": c.order_id, "reference_id": c.reference_id, "reason": c.reason}
                    for c in self.confirmations
                    if c.outcome == "refused"
                ],
                "notifications": dict(self.notifications),
                "unknown_parameters": dict(self.unknown_parameters),
            }
