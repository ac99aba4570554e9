"""Guessing a password ends after ten tries: the name is locked for half an hour, for the right password too.

Anybody can lock a name that they know. A new password for it (a new line in the users file) has a count of its own, so
that the person gets in again.
"""

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
        self._fingerprints: dict[str, str] = {}
        self._unknown: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, name: str, fingerprint: str | None) -> bool:
        """Count a try before its password is looked at, so that parallel ones count too; False once it is locked.

        `fingerprint` is that of the name's password, None for a name that nobody has.
        """
        now = self._clock()
        with self._guard:
            if fingerprint is not None and self._fingerprints.get(name) != fingerprint:
                self._fingerprints[name] = fingerprint
                self._known.pop(name, None)
            counts = self._unknown if fingerprint is None else self._known
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
