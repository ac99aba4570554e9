"""What is asked of Tryton's models, within one limit of time for all calls of an operation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from orders_pipeline.wms.port import WarehouseUnavailable
from orders_pipeline.wms.tryton.client import TrytonClient, unreadable
from orders_pipeline.wms.tryton.errors import Warned

Record = dict[str, Any]
Domain = Sequence[Any]
# What a record's `_timestamp` was, by its id.
Stamps = Mapping[int, str]

# More questions than any step asks; the same one for ever would be a loop.
MOST_WARNINGS = 10


class Calls:
    """Bound to one client, and to an end. Each method raises WarehouseError, and what `errors` has."""

    def __init__(self, client: TrytonClient, seconds: float) -> None:
        self._client = client
        self._ends_at = time.monotonic() + seconds

    @property
    def user_id(self) -> int:
        return self._client.session(self._ends_at).user_id

    @property
    def company(self) -> int | None:
        """The company for which the user works, if Tryton's preferences name one."""
        return as_id(self._client.session(self._ends_at).context.get("company"))

    def call(self, model: str, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        return self._client.call(f"model.{model}.{method}", list(arguments), context or {}, self._ends_at)

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        order: Sequence[tuple[str, str]] | None = None,
        limit: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> list[Record]:
        """The records that match. A field of another record is `name.field`, and comes under `name.`."""
        found = self.call(model, "search_read", domain, 0, limit, order, list(fields), context=context)
        return _records(model, "search_read", found)

    def read(self, model: str, ids: Sequence[int], fields: Sequence[str]) -> list[Record]:
        return _records(model, "read", self.call(model, "read", list(ids), list(fields))) if ids else []

    def create(self, model: str, values: Record) -> int:
        created = self.do(model, "create", [values])
        if isinstance(created, list) and len(created) == 1 and (new := as_id(created[0])) is not None:
            return new
        raise unreadable(f"model.{model}.create")

    def write(self, model: str, ids: Sequence[int], values: Record, *, unchanged_since: Stamps | None = None) -> None:
        self.do(model, "write", list(ids), values, unchanged_since=unchanged_since)

    def delete(self, model: str, ids: Sequence[int]) -> None:
        if ids:
            self.do(model, "delete", list(ids))

    def do(self, model: str, method: str, *arguments: Any, unchanged_since: Stamps | None = None) -> Any:
        """As `call`, for what changes something: Tryton's questions whether it is really meant are answered with yes.

        Raises Changed where a record is no longer as it was (`unchanged_since`).
        """
        stamps = {f"{model},{one}": stamp for one, stamp in (unchanged_since or {}).items()}
        context = {"_timestamp": stamps} if stamps else None
        for _ in range(MOST_WARNINGS):
            try:
                return self.call(model, method, *arguments, context=context)
            except Warned as warning:
                accepted = {"user": self.user_id, "name": warning.name, "always": False}
                self.call("res.user.warning", "create", [accepted])
        raise WarehouseUnavailable(f"Tryton asks without end whether {method} is really meant.", status=200)


def as_id(value: Any) -> int | None:
    """The id of a record; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _records(model: str, method: str, found: Any) -> list[Record]:
    if not isinstance(found, list) or not all(isinstance(one, dict) and as_id(one.get("id")) for one in found):
        raise unreadable(f"model.{model}.{method}")
    return found
