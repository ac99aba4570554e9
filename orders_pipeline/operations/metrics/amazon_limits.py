"""Amazon's rate limits as they stand: what is left of each, and how often and how long it held us up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from orders_pipeline.channels.amazon.quota.limits import NO_SELLER
from orders_pipeline.channels.amazon.quota.rows import buckets_by_operation
from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded
from orders_pipeline.operations.metrics.flow import KNOWN_OPERATIONS

_OF_AN_OPERATION = ("account", "operation")
TOKENS = Family(
    "orders_pipeline_amazon_tokens",
    "gauge",
    "Calls that could be made at once; less than 0: so many wait for a token.",
    _OF_AN_OPERATION,
)
BURST = Family(
    "orders_pipeline_amazon_burst", "gauge", "The most tokens that the operation can have.", _OF_AN_OPERATION
)
RATE = Family("orders_pipeline_amazon_rate", "gauge", "Tokens that come back in a second.", _OF_AN_OPERATION)
SHUT = Family(
    "orders_pipeline_amazon_operation_shut",
    "gauge",
    "1 while no call is sent: after a 429, or because the breaker is open after failures in a row.",
    _OF_AN_OPERATION,
)
THROTTLED = Family(
    "orders_pipeline_amazon_throttled_total", "counter", "Answers 429, of which there should be none.", _OF_AN_OPERATION
)
WAITED = Family(
    "orders_pipeline_amazon_waited_seconds_total", "counter", "Seconds that calls waited for a token.", _OF_AN_OPERATION
)


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    # What Amazon counts for the application as a whole stands under the account "(application)".
    for row in buckets_by_operation(connection, [*account_ids, NO_SELLER]):
        labels = (row.seller_id, bounded(row.operation, KNOWN_OPERATIONS, ()))
        if labels[1] != row.operation:
            # A bucket of an earlier release: nobody calls it any more.
            continue
        yield Sample(TOKENS, labels, row.tokens)
        yield Sample(BURST, labels, row.burst)
        yield Sample(RATE, labels, row.rate)
        yield Sample(SHUT, labels, int(row.is_shut))
        yield Sample(THROTTLED, labels, row.throttled)
        yield Sample(WAITED, labels, row.waited_seconds)


GROUP = Group("amazon_limits", (TOKENS, BURST, RATE, SHUT, THROTTLED, WAITED), _read)
