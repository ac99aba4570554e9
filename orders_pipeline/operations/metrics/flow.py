"""How long each step of an order took, and what Amazon answered: counters that never go back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from orders_pipeline.channels.amazon.quota.answer_counts import KNOWN_STATUSES, NO_ANSWER
from orders_pipeline.channels.amazon.quota.operations import OPERATIONS
from orders_pipeline.counters.rows import BEYOND, BOUNDS, Counted, counter_totals
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.operations.metrics.family import Family, Group, Sample, bounded, summed

HISTOGRAMS = {
    Counted.MESSAGE_TO_ACCEPTED: Family(
        "orders_pipeline_message_to_accepted_seconds",
        "histogram",
        "From the first message that said that an order is to ship to the warehouse's first acceptance; an order that "
        "was held counts with that time.",
        ("account",),
    ),
    Counted.SHIPPED_TO_CONFIRMED: Family(
        "orders_pipeline_shipped_to_confirmed_seconds",
        "histogram",
        "From a package's leaving, as the warehouse says, to Amazon's acceptance of its first confirmation.",
        ("account",),
    ),
    Counted.CONFIRMED_TO_VERIFIED: Family(
        "orders_pipeline_confirmed_to_verified_seconds",
        "histogram",
        "From the call that confirmed a package to Amazon's own answer that shows it.",
        ("account",),
    ),
}
ANSWERS = Family(
    "orders_pipeline_amazon_answers_total",
    "counter",
    "Answers of Amazon's by operation and HTTP status; `none` where no answer came.",
    ("account", "operation", "status"),
)
KNOWN_OPERATIONS = frozenset(operation.name for operation in OPERATIONS)
_STATUSES = frozenset({NO_ANSWER, *map(str, KNOWN_STATUSES), *(f"{digit}xx" for digit in range(1, 6))})


def _read(connection: Connection, account_ids: Sequence[str]) -> Iterator[Sample]:
    counted: dict[tuple[str, str], list[AnyRow]] = defaultdict(list)
    for row in counter_totals(connection, account_ids):
        counted[row.account_id, row.counter].append(row)
    for account_id in account_ids:
        for step, family in HISTOGRAMS.items():
            yield _histogram(family, account_id, counted[account_id, step])
        yield from summed(
            Sample(ANSWERS, (account_id, *_operation_and_status(row.labels)), row.counted)
            for row in counted[account_id, Counted.AMAZON_ANSWERS]
        )


def _histogram(family: Family, account_id: str, rows: Sequence[AnyRow]) -> Sample:
    """Of increments that an earlier release counted under other bounds, each stands under the next bound of today."""
    of_bound: Mapping[float, int] = defaultdict(int)
    for row in rows:
        upper = float(row.labels[0])
        of_bound[min((bound for bound in BOUNDS if bound >= upper), default=float("inf"))] += row.counted
    up_to, buckets = 0, list[tuple[str, float]]()
    for bound in BOUNDS:
        up_to += of_bound[bound]
        buckets.append((f"{bound:.1f}", up_to))
    buckets.append((BEYOND, up_to + of_bound[float("inf")]))
    return Sample(family, (account_id,), sum((float(row.seconds) for row in rows), 0.0), tuple(buckets))


def _operation_and_status(labels: Sequence[str]) -> tuple[str, str]:
    operation, status = labels
    return bounded(operation, KNOWN_OPERATIONS, ()), bounded(status, _STATUSES, ())


GROUP = Group("flow", (*HISTOGRAMS.values(), ANSWERS), _read)
