"""How many answers of each kind Amazon gave, by operation: gathered in memory, and written once in a while.

A statement for each call would cost more than what it tells. What a process that is killed had not written yet is lost;
the calls it took permits for are counted in `amazon_rate_limits` all the same.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.counters.rows import Counted, add_counts
from orders_pipeline.database.engine import Database

logger = logging.getLogger(__name__)

WRITTEN_EVERY_SECONDS = 10.0
NO_ANSWER = "none"
# What Amazon's documentation and the models name; of others, the first digit tells enough.
KNOWN_STATUSES = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 502, 503, 504})


class AnswerCounts:
    """Of one seller's calls. Thread-safe."""

    def __init__(self, database: Database, account_id: str, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._account_id = account_id
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._counted: Counter[tuple[str, ...]] = Counter()
        self._written_at = monotonic()

    def count(self, operation: str, status: int | None) -> None:
        """One answer of this status; None: there was no answer. Every ten seconds it is written."""
        with self._guard:
            self._counted[operation, _word(status)] += 1
            is_due = self._monotonic() - self._written_at >= WRITTEN_EVERY_SECONDS
        if is_due:
            self.write()

    def write(self) -> None:
        """Write what was counted since the last time, if anything was. What cannot be written now is kept.

        The answer that is counted is worth more than its count: it is never lost for it.
        """
        with self._guard:
            counted, self._counted = self._counted, Counter()
            self._written_at = self._monotonic()
        if not counted:
            return
        try:
            with self._database.transaction(self._account_id) as tx:
                add_counts(tx, Counted.AMAZON_ANSWERS, counted)
        except SQLAlchemyError as error:
            logger.warning("Counts of Amazon's answers could not be written yet: %s", type(error).__name__)
            with self._guard:
                self._counted.update(counted)


def _word(status: int | None) -> str:
    if status is None:
        return NO_ANSWER
    return str(status) if status in KNOWN_STATUSES else f"{str(status)[:1]}xx"
