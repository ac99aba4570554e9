"""Where the client accounts for every restricted call, before it makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class AuditSink(Protocol):
    """Takes one entry. If it raises, the call is not made. Entries hold ids and names of fields, no content."""

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None: ...

    def record_each(
        self, action: str, order_ids: Sequence[str], purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        """The same entry for each of these orders."""
        for order_id in order_ids:
            self.record(action, order_id, purpose, outcome, detail)


class NoAudit:
    """For tools that read nothing of a buyer's, and for tests."""

    def record(
        self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        return None

    def record_each(
        self, action: str, order_ids: Sequence[str], purpose: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        return None
