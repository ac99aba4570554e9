"""Guessing a password ends after ten tries: the name is locked for half an hour, for the right password too."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# Amazon's Data Protection Policy: a lock after at most ten failures (§1.2).
FAILURES_AT_MOST = 10
LOCKED_SECONDS = 1800.0
# Names that nobody has are counted too, so that a lock does not tell which names there are.
_UNKNOWN_NAMES = 2048


class Lockout:
    """Failures by name, in this process. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        # A name that exists has a place of its own: made-up names cannot push its count out.
        self._known: dict[str, tuple[int, float]] = {}
        self._unknown: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, name: str, *, known: bool) -> bool:
        """Count a try before its password is looked at, so that parallel ones count too; False once it is locked."""
        now = self._clock()
        with self._guard:
            counts = self._known if known else self._unknown
            tries, since = counts.get(name, (0, now))
            if now - since >= LOCKED_SECONDS:
                tries = 0
            if tries >= FAILURES_AT_MOST:
                return False
            counts[name] = (tries + 1, now)
            while len(self._unknown) > _UNKNOWN_NAMES:
                self._unknown.popitem(last=False)
            return True

    def succeeded(self, name: str) -> None:
        with self._guard:
            self._known.pop(name, None)

    def is_locked(self, name: str) -> bool:
        with self._guard:
            tries, since = self._known.get(name, (0, 0.0))
            return tries >= FAILURES_AT_MOST and self._clock() - since < LOCKED_SECONDS
