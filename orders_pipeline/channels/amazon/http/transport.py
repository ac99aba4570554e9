"""Send one request: with a token of the bucket, a token of the seller, time-outs and retries.

| answer | tried again |
| --- | --- |
| 429, 500 and above, no answer | up to 4 times in all, capped exponential backoff, full jitter, within the deadline |
| 500 and above, no answer, to a request that may not be repeated | never |
| 401, 403 | once, at once, with another access token |
| everything else | never |

What becomes of the job after the last try: `channels/amazon/failures.py`, `shipments/failures.py`.

Each attempt takes a token from the bucket. When the bucket has none before the deadline: after nothing or a 429,
LimitNotBefore (Amazon has done nothing); after a lost answer, that failure, since its outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import requests

from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonError,
    AmazonThrottled,
    AmazonUnavailable,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.http.answers import RATE_LIMIT, Answer, no_answer, read_answer
from orders_pipeline.channels.amazon.http.sessions import (
    CONNECT_SECONDS,
    LARGEST_ANSWER_BYTES,
    READ_SECONDS,
    check_endpoint,
)
from orders_pipeline.channels.amazon.quota.limits import Limits, Permit
from orders_pipeline.channels.amazon.quota.operations import Operation
from orders_pipeline.channels.amazon.timing import AmazonClock, Deadline, Timing, retrying
from orders_pipeline.http.replies import NoReply, Reply, exchange
from orders_pipeline.model.order import Bucket, Priority

ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 15.0
# A batch ends after 45 s, its leases after 60: what was begun in its last second has this long.
LEAST_SECONDS = 10.0


class AccessTokens(Protocol):
    """Where the token for a request comes from (tokens.TokenSource)."""

    def current(self, deadline: Deadline) -> str: ...

    def replace(self, refused: str, deadline: Deadline) -> str: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready but for its tokens.

    `repeatable`: whether it may be sent again when it is not known whether it had its effect.
    """

    operation: Operation
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] | None = None
    repeatable: bool = True


class Transport:
    """Sends requests of one seller to one regional endpoint. Thread-safe."""

    def __init__(
        self,
        *,
        endpoint: str,
        seller_id: str,
        session: requests.Session,
        limits: Limits,
        clock: AmazonClock,
        timing: Timing,
        timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        total_seconds: float = READ_SECONDS,
    ) -> None:
        self._endpoint = check_endpoint(endpoint)
        self._session = session
        self._limits = limits
        self._timing = timing
        self._timeouts = timeouts
        self._total_seconds = total_seconds
        self.seller_id = seller_id
        self.clock = clock

    def deadline(self, seconds: float) -> Deadline:
        return self._timing.deadline(seconds)

    def bucket(self, operation: Operation) -> Bucket:
        """The operation's rate limit as it is now; nothing is taken."""
        return self._limits.bucket(operation)

    def call(self, request: Request, tokens: AccessTokens, *, priority: Priority, deadline: Deadline) -> Answer:
        """The answer. Raises AmazonError and nothing else."""
        failures: list[AmazonError] = []

        def attempt() -> Answer:
            try:
                return self._with_fresh_token(request, tokens, priority, deadline)
            except LimitNotBefore:
                if failures and not isinstance(failures[-1], AmazonThrottled):
                    raise failures[-1] from None
                raise
            except (AmazonThrottled, AmazonUnavailable) as error:
                failures.append(error)
                raise

        retries = retrying(
            deadline, (AmazonThrottled, AmazonUnavailable) if request.repeatable else AmazonThrottled,
            attempts=ATTEMPTS, first_seconds=FIRST_BACKOFF_SECONDS, longest_seconds=LONGEST_BACKOFF_SECONDS,
        )  # fmt: skip
        return retries(attempt)

    def _with_fresh_token(
        self, request: Request, tokens: AccessTokens, priority: Priority, deadline: Deadline
    ) -> Answer:
        token = tokens.current(deadline)
        try:
            return self._send(request, token, priority, deadline)
        except AmazonAuthError:
            # Expired early, or revoked and authorised anew: what a new token does not mend is told as it is.
            token = tokens.replace(token, deadline)
        return self._send(request, token, priority, deadline)

    def _send(self, request: Request, token: str, priority: Priority, deadline: Deadline) -> Answer:
        operation = request.operation
        permit = self._limits.acquire(operation, priority, deadline)
        try:
            reply = exchange(
                self._session,
                operation.method,
                self._endpoint + request.path,
                query=request.query,
                json_body=request.body,
                headers={"x-amz-access-token": token},
                timeouts=self._timeouts,
                # What begins late still gets time to succeed; leases are longer than a deadline and this.
                total_seconds=min(self._total_seconds, max(deadline.remaining, LEAST_SECONDS)),
                largest_bytes=LARGEST_ANSWER_BYTES,
            )
        except NoReply as error:
            self._limits.answers.count(operation.name, None)
            self._limits.failed(operation)
            raise no_answer(operation, self.seller_id, str(error)) from None
        self._learn(operation, permit, reply)
        return read_answer(reply, operation, self.seller_id)

    def _learn(self, operation: Operation, permit: Permit, reply: Reply) -> None:
        self.clock.learn(reply.headers.get("Date"))
        self._limits.answers.count(operation.name, reply.status)
        if reply.status == 429:
            self._limits.throttled(operation)
        elif reply.status >= 500:
            self._limits.failed(operation)
        else:
            self._limits.succeeded(operation, permit)
        self._limits.learn_rate(operation, permit, reply.headers.get(RATE_LIMIT))
