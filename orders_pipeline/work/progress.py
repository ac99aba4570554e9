"""Reports of a long run: how far it has come and when it will end."""

from __future__ import annotations

import time
from collections.abc import Callable

# Often enough for a person who watches, seldom enough for a log that is kept.
EVERY_SECONDS = 10.0

Notify = Callable[[str], None]


def silent(sentence: str) -> None:
    """Where nobody watches."""


class Progress:
    """Counts what is done of `total`; `what` names it in the plural: "data keys re-wrapped"."""

    def __init__(self, what: str, total: int, notify: Notify, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._total = total
        self._notify = notify
        self._clock = clock
        self._done = 0
        self._started = self._notified_at = clock()

    def advance(self, done: int) -> None:
        """Count items as done, and report progress every few seconds."""
        self._done += done
        now = self._clock()
        if now - self._notified_at < EVERY_SECONDS:
            return
        self._notified_at = now
        # More may have come meanwhile than was counted at the start.
        total = max(self._total, self._done)
        left = (total - self._done) * (now - self._started) / self._done if self._done else None
        share = f" ({self._done / total:.0%})" if total else ""
        self._notify(
            f"{self._done:,} of {total:,} {self._what}{share}; "
            + ("no end in sight yet" if left is None else f"about {_words(left)} to go")
        )


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
