"""What can need a person: each kind of alert is a query over state, and what to say of each row that it returns.

Nothing raises or closes an alert. It is open while the query returns its subject, so none is forgotten open.
The kinds are in each domain's `alerts.py`; the list of all is `operations/alerts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import Select, TextClause

Severity = Literal["info", "warning", "error"]
# The least bad first.
SEVERITIES: tuple[str, ...] = get_args(Severity)

# Stands in `pipeline.alerts` for the account of what belongs to none: the database, the keys, Dagster's runs.
NOBODY = "*"

# The order's panel on the board; what a kind links to where its query returns `order_id` and it says nothing else.
ORDER_LINK = "/board?q={order_id}&open={account_id}:{order_id}"

# Two evaluations are half a minute apart, and most retries come within minutes.
QUIET_FOR = timedelta(minutes=15)


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert.

    `name` is the first part of the key (`order.parked`, or `amazon.role:shipping_address` where two domains share a
    word); no kind's name begins another's. `query` is a select without side effects, bound by `:account_id` where the
    kind is `per_account`. Its columns:

    - `subject`, text: an id, or `subject_hash` of a text that others wrote; null or '' where the kind has only one;
    - each column that `message` and `action` name (`{order_id}`), ready to be read, never null, never a buyer's data;
    - `severity`, optional: instead of the kind's;
    - `changed_at`, optional, timestamptz: an alert that was delivered before it is delivered once more, an hour after
      its delivery at the earliest.

    Without a query the state is outside our tables, and whoever reads it there calls `reconcile`. `runbook` is the
    heading of its section. An alert that returns within `quiet_for` of its closing is the same alert, opened again
    and not delivered again, unless it became worse.

    How people are told (`operations/alerting`): the alerts of one kind are one message. `is_cause`: each subject is a
    trouble of its own (a dependency, a job, a check), and a message of its own. `waits_for` names the dependencies
    (`work/jobs.py`) that the work behind a subject needs: what comes while one of them is paused is told with that
    pause. `link` is a template of a path of the web port, filled as the others, and with `account_id`; None: the
    order's panel, if it has one. `board_filter` shows the orders of several alerts on the board, as `hold=no_address`.
    """

    name: str
    severity: Severity
    query: Select[Any] | TextClause | None
    message: str
    action: str
    runbook: str
    per_account: bool = True
    quiet_for: timedelta = QUIET_FOR
    is_cause: bool = False
    waits_for: Callable[[str], Collection[str]] | None = None
    link: str | None = None
    board_filter: str | None = None


@dataclass(frozen=True)
class Found:
    """One subject that a kind's alert is open for; `values` are what the kind's templates name."""

    subject: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    severity: Severity | None = None
    changed_at: datetime | None = None


def is_worse(severity: str, than: str) -> bool:
    """Whether a severity ranks above another."""
    return SEVERITIES.index(severity) > SEVERITIES.index(than)


def kind_name(key: str, names: Collection[str]) -> str:
    """Of which of these kinds the alert with this key is; its first part, where it is of none that is left."""
    begins = [name for name in names if key == name or key.startswith(f"{name}:")]
    return max(begins, key=len, default=key.partition(":")[0])
