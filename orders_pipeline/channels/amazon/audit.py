"""Where the client accounts for every restricted call, before it makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class AuditSink(Protocol):
    """Takes one entry. If it raises, the call is not made. Entries hold ids and names of fields, no content."""

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None: ...


class NoAudit:
    """For tools that read nothing of a buyer's, and for tests."""

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        return None
