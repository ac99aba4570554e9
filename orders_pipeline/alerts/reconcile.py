"""Bring the stored alerts of a kind into line with what its query finds.

An account has one reconciliation at a time, and it looks after it has the lock: it never opens what another process
has seen end. Where nothing changed, nothing is written.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from urllib.parse import quote

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from orders_pipeline.alerts.kinds import NOBODY, ORDER_LINK, SEVERITIES, AlertKind, Found, is_worse
from orders_pipeline.alerts.rows import LONGEST_KEY, LONGEST_MESSAGE, subject_hash
from orders_pipeline.database.engine import AccountTransaction, AnyRow, Database
from orders_pipeline.database.locks import hold_name
from orders_pipeline.model.untrusted_text import bounded_text, is_bounded

# A warehouse that is away parks thousands of orders: so many are told of one by one, the others by their number.
ONE_BY_ONE = 50
# What changed is told again, but anybody may be able to change it.
TOLD_AGAIN_AFTER = timedelta(hours=1)
# The longest that one kind's query may take; it is asked every half minute.
QUERY_MILLISECONDS = 3_000
# The subject of the alert that stands for those that are not told of one by one.
THE_OTHERS = "*"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """How many alerts were opened (again), got other words or another severity, and were closed."""

    opened: int = 0
    updated: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What one evaluation did, by the kind's name.

    `failed` kinds keep their alerts as they are, and so do those that were `not_reached` within the budget.
    """

    changes: Mapping[str, Changes]
    failed: Mapping[str, str]
    not_reached: Sequence[str] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every kind was looked at."""
        return not self.failed and not self.not_reached


class AlertKindWrong(Exception):
    """A kind's query does not return what its templates or its columns need."""


NOT_EVALUATED = AlertKind(
    name="alert.not_evaluated",
    severity="warning",
    query=None,
    message="The alerts of the kind {kind} could not be evaluated ({cause}); those that are open stay as they are.",
    action="Is the database slow, or a migration missing? See the log of the code server. It is tried every half "
    "minute, and this alert ends when it succeeds.",
    runbook="Alerts",
    is_cause=True,
)


def evaluate(
    database: Database,
    account_id: str,
    kinds: Iterable[AlertKind],
    *,
    budget_seconds: float = inf,
    clock: Callable[[], float] = time.monotonic,
) -> EvaluationResult:
    """Evaluate the kinds of this account, or with NOBODY those of none, each in a transaction of its own.

    A kind that fails is an alert of its own and stops no other. The last kind is begun within the budget, in an order
    that chance gives, so that a slow database leaves no kind out for good. Raises SQLAlchemyError if the database
    cannot be reached.
    """
    ours = [kind for kind in kinds if kind.query is not None and kind.per_account == (account_id != NOBODY)]
    changes: dict[str, Changes] = {}
    failed: dict[str, str] = {}
    begun = clock()
    for kind in random.sample(ours, len(ours)):
        if clock() - begun > budget_seconds:
            break
        try:
            changes[kind.name] = _evaluate_one(database, account_id, kind)
        except (SQLAlchemyError, AlertKindWrong) as error:
            if _is_the_connection(error):
                raise
            # Without the error's own text, which may quote a row.
            failed[kind.name] = cause = _cause(error)
            logger.exception("%s was not evaluated: %s", kind.name, cause, exc_info=False)
    reached = changes.keys() | failed.keys()
    not_reached = [kind.name for kind in ours if kind.name not in reached]
    with database.transaction(account_id) as tx:
        not_evaluated = [Found(name, {"kind": name, "cause": cause}) for name, cause in failed.items()]
        reconcile(tx, NOT_EVALUATED, not_evaluated, examined=reached)
    return EvaluationResult(changes, failed, not_reached)


def reconcile(
    tx: AccountTransaction, kind: AlertKind, found: Iterable[Found], *, examined: Collection[str] | None = None
) -> Changes:
    """Open, update and close the alerts of this kind so that they are those of `found`.

    `examined`: the subjects that were looked at, where that is not all; the alerts of others stay. Raises
    AlertKindWrong when a template names a value that was not found, or a severity is none.
    """
    _hold_account(tx)
    alerts: dict[str, _Alert] = {}
    for one in found:
        alert = _alert(kind, one, tx.account_id)
        if alert.key not in alerts or is_worse(alert.severity, alerts[alert.key].severity):
            alerts[alert.key] = alert
    stored = list(tx.execute(_STORED, _belonging(tx, kind) | {"keys": list(alerts), "quiet_for": kind.quiet_for}))
    is_open = {row.key: row for row in stored if row.closed_at is None}
    # Of several that were closed, the last.
    returned = {row.key: row for row in stored if row.closed_at is not None and row.key not in is_open}
    wanted = _one_by_one(kind, list(alerts.values()), is_open)
    keys = None if examined is None else {key_of(kind, subject) for subject in examined}
    over = [row for key, row in is_open.items() if key not in wanted and (keys is None or key in keys)]
    differing = [
        (is_open[key], alert) for key, alert in wanted.items() if key in is_open and alert.differs(is_open[key])
    ]
    again = [(returned[key], alert) for key, alert in wanted.items() if key in returned]
    new = [alert for key, alert in sorted(wanted.items()) if key not in is_open and key not in returned]
    if over:
        tx.execute(_CLOSE, {"ids": [row.alert_id for row in over]})
    if differing or again:
        _update(tx, [*differing, *again])
    if new:
        _insert(tx, new)
    return Changes(opened=len(new) + len(again), updated=len(differing), closed=len(over))


def key_of(kind: AlertKind, subject: str) -> str:
    """The key under which the alert about this subject is stored: bounded, and without control characters."""
    key = f"{kind.name}:{subject}" if subject else kind.name
    return key if is_bounded(key, LONGEST_KEY) else f"{kind.name}:{subject_hash(key)}"


@dataclass(frozen=True, slots=True)
class _Alert:
    key: str
    severity: str
    message: str
    action: str
    link: str | None
    found: Found = field(repr=False)
    stands_for: int = 1

    def differs(self, row: AnyRow) -> bool:
        stored = (row.severity, row.message, row.what_to_do, row.link, row.stands_for)
        is_same = stored == (self.severity, self.message, self.action, self.link, self.stands_for)
        return not is_same or self.is_told_again(row)

    def is_told_again(self, row: AnyRow) -> bool:
        """What was delivered, and became worse or changed since, is delivered once more."""
        if row.delivered_at is None:
            return False
        changed_at = self.found.changed_at
        is_changed = changed_at is not None and changed_at > row.delivered_at
        return is_worse(self.severity, row.severity) or (is_changed and row.now - row.delivered_at > TOLD_AGAIN_AFTER)


def _evaluate_one(database: Database, account_id: str, kind: AlertKind) -> Changes:
    assert kind.query is not None
    with database.transaction(account_id) as tx:
        _hold_account(tx)
        tx.execute(_TIME_LIMIT, {"milliseconds": str(QUERY_MILLISECONDS)})
        rows = tx.execute(kind.query, {"account_id": account_id} if kind.per_account else {}).mappings().all()
        if rows and "subject" not in rows[0]:
            raise AlertKindWrong(f"The query of {kind.name} returns no column named subject.")
        return reconcile(
            tx, kind, [Found(r["subject"] or "", dict(r), r.get("severity"), r.get("changed_at")) for r in rows]
        )


def _alert(kind: AlertKind, found: Found, account_id: str) -> _Alert:
    severity = found.severity or kind.severity
    if severity not in SEVERITIES:
        raise AlertKindWrong(f"{kind.name}: {severity!r} is no severity; there are {', '.join(SEVERITIES)}.")
    try:
        message, action = kind.message.format_map(found.values), kind.action.format_map(found.values)
    except KeyError as missing:
        raise AlertKindWrong(f"{kind.name}: a template names {missing}, which is not found.") from None
    return _Alert(
        key_of(kind, found.subject),
        severity,
        bounded_text(message, LONGEST_MESSAGE) or "",
        bounded_text(action, LONGEST_MESSAGE) or "",
        _link(kind, {"account_id": account_id, **found.values}),
        found,
    )


def _link(kind: AlertKind, values: Mapping[str, object]) -> str | None:
    """Its path, with each value as a part of a URL; None where a value that it names was not found."""
    parts = {name: quote(str(value), safe="") for name, value in values.items() if value is not None}
    try:
        link = (kind.link or ORDER_LINK).format_map(parts)
    except KeyError:
        return None
    return link if len(link) <= LONGEST_KEY else None


def _one_by_one(kind: AlertKind, alerts: Sequence[_Alert], is_open: Mapping[str, AnyRow]) -> dict[str, _Alert]:
    """The alerts to be open: all of them, or beyond ONE_BY_ONE as many, and one that counts the others.

    While that one is open no other is opened in place of one that ended: a storm that goes by is not told one by one.
    """
    others_key = key_of(kind, THE_OTHERS)
    if len(alerts) <= ONE_BY_ONE:
        return {alert.key: alert for alert in alerts}
    shown = [alert for alert in alerts if alert.key in is_open]
    if others_key not in is_open:
        new = [alert for alert in alerts if alert.key not in is_open]
        new.sort(key=lambda alert: -SEVERITIES.index(alert.severity))
        shown += new[: max(0, ONE_BY_ONE - len(shown))]
    wanted = {alert.key: alert for alert in shown}
    others = [alert for alert in alerts if alert.key not in wanted]
    if others:
        wanted[others_key] = _Alert(
            others_key,
            max((alert.severity for alert in others), key=SEVERITIES.index),
            f"{len(others)} more alerts of the kind {kind.name}, which are not told of one by one.",
            f"Look for what they have in common. When {ONE_BY_ONE} or fewer are left, each is told of (runbook, "
            f"'{kind.runbook}').",
            None,
            Found(THE_OTHERS),
            len(others),
        )
    return wanted


def _is_the_connection(error: Exception) -> bool:
    """Whether every kind would meet the error: no connection, or one that was lost."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # What the server refused has an SQLSTATE.
    is_unanswered = isinstance(error, OperationalError | InterfaceError) and getattr(error.orig, "pgcode", None) is None
    return is_unanswered or isinstance(error, NoConnectionInTime)


def _cause(error: Exception) -> str:
    if isinstance(error, AlertKindWrong):
        return str(error)
    code = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
    return f"{type(error).__name__}, SQLSTATE {code}" if code else type(error).__name__


# --- statements

_TIME_LIMIT = text("select set_config('statement_timeout', :milliseconds, true)")

# Locked in one order: the delivery and who closes an alert by hand wait for one row at a time.
_STORED = text("""
select alert_id, key, severity, message, what_to_do, link, stands_for, delivered_at, closed_at,
  clock_timestamp() as now
from pipeline.alerts
where account_id = :account_id and (key = :name or starts_with(key, :prefix))
  and (closed_at is null or key = any(:keys) and closed_at > statement_timestamp() - :quiet_for)
order by key, alert_id
for update
""")

_CLOSE = text("update pipeline.alerts set closed_at = clock_timestamp() where alert_id = any(:ids)")

_UPDATE = text("""
update pipeline.alerts a set
  severity = v.severity, message = v.message, what_to_do = v.what_to_do, link = v.link, stands_for = v.stands_for,
  closed_at = null,
  times_seen = a.times_seen + case when a.closed_at is null then 0 else 1 end, last_seen_at = clock_timestamp(),
  delivered_at = case when v.told_again then null else a.delivered_at end
from unnest(
    cast(:ids as bigint[]), cast(:severities as text[]), cast(:messages as text[]), cast(:actions as text[]),
    cast(:told_again as boolean[]), cast(:links as text[]), cast(:stands_for as integer[])
  ) as v(alert_id, severity, message, what_to_do, told_again, link, stands_for)
where a.alert_id = v.alert_id
""")

# Where another process opens the same one by hand, its alert stands.
_INSERT = text("""
insert into pipeline.alerts (account_id, key, severity, message, what_to_do, link, stands_for, times_seen)
select :account_id, v.key, v.severity, v.message, v.what_to_do, v.link, v.stands_for, 1
from unnest(
    cast(:keys as text[]), cast(:severities as text[]), cast(:messages as text[]), cast(:actions as text[]),
    cast(:links as text[]), cast(:stands_for as integer[])
  ) as v(key, severity, message, what_to_do, link, stands_for)
on conflict (account_id, key) where closed_at is null do nothing
""")


def _hold_account(tx: AccountTransaction) -> None:
    hold_name(tx.connection, f"alerts of {tx.account_id}")


def _belonging(tx: AccountTransaction, kind: AlertKind) -> dict[str, object]:
    return {"account_id": tx.account_id, "name": kind.name, "prefix": f"{kind.name}:"}


def _update(tx: AccountTransaction, changed: Sequence[tuple[AnyRow, _Alert]]) -> None:
    tx.execute(
        _UPDATE,
        {
            "ids": [row.alert_id for row, _ in changed],
            "severities": [alert.severity for _, alert in changed],
            "messages": [alert.message for _, alert in changed],
            "actions": [alert.action for _, alert in changed],
            "told_again": [alert.is_told_again(row) for row, alert in changed],
            "links": [alert.link for _, alert in changed],
            "stands_for": [alert.stands_for for _, alert in changed],
        },
    )


def _insert(tx: AccountTransaction, new: Sequence[_Alert]) -> None:
    tx.execute(
        _INSERT,
        {
            "account_id": tx.account_id,
            "keys": [alert.key for alert in new],
            "severities": [alert.severity for alert in new],
            "messages": [alert.message for alert in new],
            "actions": [alert.action for alert in new],
            "links": [alert.link for alert in new],
            "stands_for": [alert.stands_for for alert in new],
        },
    )
