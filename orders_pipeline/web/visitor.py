"""Who a request comes from, as the guard found out; the rest of the process reads it from the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_SCOPE_KEY = "orders_pipeline.visitor"


class Role(StrEnum):
    """What a person may do.

    A viewer sees everything that the UI and the board show, and changes nothing. An operator changes. A supervisor is
    an operator who may be shown a buyer's address at the board, one order at a time, with a reason that is kept, and
    who may have a seller authorize an account.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    SUPERVISOR = "supervisor"

    @property
    def may_change(self) -> bool:
        return self is not Role.VIEWER

    @property
    def may_see_addresses(self) -> bool:
        return self is Role.SUPERVISOR

    @property
    def may_authorize(self) -> bool:
        return self is Role.SUPERVISOR


@dataclass(frozen=True, slots=True)
class Visitor:
    """`name` is None where nobody logs in. `may_change` holds for this one request: never for a GET or a websocket."""

    name: str | None
    role: Role
    may_change: bool = False


def attach(scope: Any, visitor: Visitor) -> None:
    scope[_SCOPE_KEY] = visitor


def visitor_of(scope: Mapping[str, Any]) -> Visitor | None:
    """None for a request that did not come through the guard."""
    found = scope.get(_SCOPE_KEY)
    return found if isinstance(found, Visitor) else None
