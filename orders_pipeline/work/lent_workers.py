"""Workers of one process, lent to its accounts by fair turns.

The first worker of each stage of each account is its own: it begins whatever the others do. Further ones are lent from
one stock, and an account holds no more of them than are left: alone it may have half, of n that want many each has
1/(n+1), and as much is left for who comes next. So a flood of one seller's, or one whose every call hangs until its
time is up, takes nothing that another needs to begin, and nobody has to be asked to give anything back. (As switches
share their buffers: Choudhury and Hahne, "Dynamic queue length thresholds", 1998.)
"""

from __future__ import annotations

import threading
from collections import Counter
from contextvars import ContextVar

# Alone an account's four stages of eight workers want 28 beside their own.
LENT_AT_MOST = 64


class LentWorkers:
    """Thread-safe."""

    def __init__(self, at_most: int = LENT_AT_MOST) -> None:
        self._guard = threading.Lock()
        self._left = at_most
        self._held: Counter[str] = Counter()

    def borrow(self, account_id: str, wanted: int) -> int:
        """How many of them the account may use now; at once, be it none."""
        with self._guard:
            granted = 0
            while granted < wanted and self._held[account_id] < self._left:
                self._held[account_id] += 1
                self._left -= 1
                granted += 1
            return granted

    def give_back(self, account_id: str, count: int) -> None:
        with self._guard:
            self._held[account_id] -= count
            self._left += count


# Set for the passes of a hot run. Without it a queue has all the workers that it asks for.
lent_workers: ContextVar[LentWorkers | None] = ContextVar("lent_workers", default=None)
