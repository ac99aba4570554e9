"""A promise of the warehouse's port: what it says, where that comes from, and how an adapter is held to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orders_pipeline.wms.conformance.trial import Trial

Verdict = Literal["holds", "fails", "not tried"]


@dataclass(frozen=True, slots=True)
class Promise:
    """`name` is `group.what`; `sentence` is what whoever relies on the port may expect; `source` is why.

    `check` raises Broken or NotPossible (`ends.py`).
    """

    name: str
    sentence: str
    source: str
    check: Callable[[Trial], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one promise. `reason` is empty where it holds; `seconds` is how long it took."""

    promise: Promise
    verdict: Verdict
    reason: str
    seconds: float
