"""Wait for a token before every call, and learn from every answer.

| priority | waits by | leaves in the bucket |
| --- | --- | --- |
| event | reserving the next token, in turn, if it is due within the deadline | nothing |
| sweep, backfill | asking again when a token could be there | the operation's reserve for each of them |
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from orders_pipeline.channels.amazon.errors import LimitNotBefore
from orders_pipeline.channels.amazon.quota import rows as store
from orders_pipeline.channels.amazon.quota.answer_counts import AnswerCounts
from orders_pipeline.channels.amazon.quota.operations import Operation
from orders_pipeline.channels.amazon.quota.rows import LimitKey, Take
from orders_pipeline.channels.amazon.timing import Deadline, Timing
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import Bucket, Priority

logger = logging.getLogger(__name__)

# One more than the transport's attempts: a single order that fails always cannot open the breaker alone.
BREAKER_FAILURES = 5
BREAKER_SHORTEST_SECONDS = 5.0
# One order that fails alone, again and again, opens it too, and the others wait so long: seconds, not minutes. The
# work queue's pauses answer an outage.
BREAKER_LONGEST_SECONDS = 15.0
# How long the one probe of a half-open breaker may take: connect, read and a little.
PROBE_SECONDS = 40.0
# After a 429 the bucket rests for one token's time, at least this long, and up to half as long again at random.
LEAST_BLOCK_SECONDS = 0.2
BLOCK_JITTER = 0.5
# A waiter looks this often whether its reservation still holds.
SLICE_SECONDS = 1.0
# What a sweep sleeps at least before it asks again.
LEAST_PAUSE_SECONDS = 0.005
# Amazon counts grantless operations for the application as a whole.
NO_SELLER = "(application)"


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request now. `rate` is the one that the token was paced by."""

    rate: float
    epoch: int
    consecutive_failures: int


@dataclass(frozen=True, slots=True)
class LimitState:
    """One bucket as it is now, for metadata. `breaker` is closed, open or half-open."""

    operation: str
    rate: float
    burst: float
    tokens: float
    granted: int
    throttled: int
    waited_seconds: float
    blocked_until: datetime | None
    breaker: str
    breaker_open_until: datetime | None
    consecutive_failures: int


class Limits:
    """The buckets of one application and seller in one region. Thread-safe; all processes share the same rows."""

    def __init__(
        self, database: Database, *, application_id: str, seller_id: str, region: str, timing: Timing | None = None
    ) -> None:
        # One statement is one transaction here: no BEGIN and COMMIT around it.
        self._engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._application_id = application_id
        self._seller_id = seller_id
        self._region = region
        self._timing = timing or Timing()
        self._checked: set[str] = set()
        self.answers = AnswerCounts(database, seller_id, self._timing.monotonic)

    def acquire(self, operation: Operation, priority: Priority, deadline: Deadline) -> Permit:
        """Wait for a token. Raises LimitNotBefore, nothing taken, if none comes before the deadline."""
        key = self._key(operation)
        waited = 0.0
        while True:
            patience = deadline.remaining if priority is Priority.EVENT else 0.0
            take = self._take(
                operation, key, leave=operation.tokens_left_by(priority), patience=patience, waited=waited
            )
            if take.granted:
                if take.wait <= 0 or self._wait_for_turn(key, take):
                    return Permit(take.rate, take.epoch, take.consecutive_failures)
                continue
            if take.breaker_open or take.wait > deadline.remaining:
                raise self._not_before(operation, take)
            pause = max(take.wait, LEAST_PAUSE_SECONDS)
            self._timing.sleep(pause)
            waited += pause

    def learn_rate(self, operation: Operation, permit: Permit, header: str | None) -> None:
        """Follow `x-amzn-RateLimit-Limit`, the rate that applies now, within what Amazon could mean."""
        if not header:
            return
        try:
            rate = float(header)
        except ValueError:
            return
        if not math.isfinite(rate) or rate <= 0:
            return
        rate = operation.plausible_rate(rate)
        if math.isclose(rate, permit.rate, rel_tol=1e-6):
            return
        logger.info("Amazon announces %s requests a second for %s (until now %s)", rate, operation.name, permit.rate)
        with self._connection() as connection:
            store.set_rate(connection, self._key(operation), rate)

    def throttled(self, operation: Operation) -> None:
        """Amazon answered 429: the bucket was fuller than Amazon's. Empty it, rest, and void what was reserved."""
        with self._connection() as connection:
            store.record_throttled(
                connection,
                self._key(operation),
                jitter=random.uniform(0, BLOCK_JITTER),
                least_block=LEAST_BLOCK_SECONDS,
                breaker=_BREAKER,
            )

    def failed(self, operation: Operation) -> None:
        """500, 503 or no answer."""
        with self._connection() as connection:
            store.record_failed(
                connection, self._key(operation), jitter=random.uniform(0, BLOCK_JITTER), breaker=_BREAKER
            )

    def succeeded(self, operation: Operation, permit: Permit) -> None:
        """Any other answer: the service works. Costs nothing unless there were failures before."""
        if permit.consecutive_failures:
            with self._connection() as connection:
                store.record_succeeded(connection, self._key(operation))

    def report(self) -> list[LimitState]:
        """Every bucket that has been used, as it is now."""
        with self._connection() as connection:
            rows = store.limits_report(
                connection,
                application_id=self._application_id,
                region=self._region,
                seller_ids=[self._seller_id, NO_SELLER],
            )
        return [
            LimitState(
                operation=row.operation,
                rate=float(row.rate),
                burst=float(row.burst),
                tokens=float(row.tokens),
                granted=int(row.granted),
                throttled=int(row.throttled),
                waited_seconds=float(row.waited_seconds),
                blocked_until=row.blocked_until,
                breaker="closed" if row.breaker_open_until is None else "open" if row.breaker_open else "half-open",
                breaker_open_until=row.breaker_open_until,
                consecutive_failures=int(row.consecutive_failures),
            )
            for row in rows
        ]

    def bucket(self, operation: Operation) -> Bucket:
        """This bucket as it is now: full where it was never used, empty while it is blocked or its breaker open."""
        with self._connection() as connection:
            row = store.bucket_row(connection, self._key(operation))
        kept = operation.tokens_left_by(Priority.BACKFILL)
        if row is None:
            return Bucket(operation.burst - store.HEADROOM, operation.rate, operation.burst, kept)
        return Bucket(min(row.tokens, 0.0) if row.is_shut else row.tokens, row.rate, row.burst, kept)

    def _take(self, operation: Operation, key: LimitKey, *, leave: float, patience: float, waited: float) -> Take:
        with self._connection() as connection:
            if operation.name not in self._checked:
                self._heal(connection, operation, key)
            for _ in range(2):
                take = store.take(
                    connection, key, leave=leave, patience=patience, waited=waited, probe_seconds=PROBE_SECONDS
                )
                if take is not None:
                    return take
                store.ensure_bucket(connection, key, rate=operation.rate, burst=operation.burst)
        raise RuntimeError(f"The limit of {operation.name} was deleted while it was in use.")

    def _heal(self, connection: Connection, operation: Operation, key: LimitKey) -> None:
        """Once a process: a rate that an earlier release took from an absurd header is the documented one again."""
        lowest, highest = operation.plausible_rate(0), operation.plausible_rate(math.inf)
        if store.heal_rate(connection, key, rate=operation.rate, lowest=lowest, highest=highest):
            logger.warning("The stored rate of %s was absurd; %s counts.", operation.name, operation.rate)
        self._checked.add(operation.name)

    def _wait_for_turn(self, key: LimitKey, take: Take) -> bool:
        """Sleep until the reservation is due. False if it became void meanwhile: then nothing is held any more."""
        due = self._timing.monotonic() + take.wait
        arrived = False
        try:
            while (left := due - self._timing.monotonic()) > 0:
                self._timing.sleep(min(left, SLICE_SECONDS))
                with self._connection() as connection:
                    if store.current_epoch(connection, key) != take.epoch:
                        arrived = True  # at a void reservation: nothing to give back
                        return False
            arrived = True
            return True
        finally:
            if not arrived:
                with self._connection() as connection:
                    store.give_back(connection, key, take.epoch)

    def _not_before(self, operation: Operation, take: Take) -> LimitNotBefore:
        not_before = take.at + timedelta(seconds=take.wait)
        when = not_before.isoformat(timespec="seconds")
        if take.breaker_open:
            reason = (
                f"the breaker is open after {take.consecutive_failures} failures in a row; one call may try at {when}"
            )
        else:
            reason = f"no quota within the deadline at {take.rate:g} requests a second; the next is free at {when}"
        return LimitNotBefore(
            f"{operation.name} for seller {self._seller_id} was not sent: {reason}. Ask again then; if this stays so, "
            "look whether another program uses the same application, and at Amazon's status page.",
            operation=operation.name,
            not_before=not_before,
        )

    def _key(self, operation: Operation) -> LimitKey:
        seller_id = NO_SELLER if operation.scope else self._seller_id
        return LimitKey(self._application_id, seller_id, self._region, operation.name)

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        with self._engine.connect() as connection:
            yield connection


_BREAKER = {
    "failures": BREAKER_FAILURES,
    "shortest": BREAKER_SHORTEST_SECONDS,
    "longest": BREAKER_LONGEST_SECONDS,
}
