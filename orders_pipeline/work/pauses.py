"""Dependencies that are paused because nobody could use them now: an account refused, a quota spent, a warehouse away.

One row gates every job that needs the dependency; no job is written. A refusal counts against its own subject, since
Amazon refuses single orders too; only when a second subject is refused as well, without a success between, is the
dependency paused. Note refusals and successes last in a transaction: after the jobs, so that all lock in one order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.database.engine import AccountTransaction, AnyRow, database_now
from orders_pipeline.model.untrusted_text import LONGEST_ERROR, bounded_text
from orders_pipeline.work.tables import paused_dependencies as pauses

# Two tokens that expire in the same second cost seconds; an account that was revoked is asked every five minutes.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)


class PauseKind(StrEnum):
    """LIMIT: its end is known, and nothing else ends it. REFUSAL: the first success ends it."""

    LIMIT = "limit"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Pause:
    """A dependency that jobs wait for. `probing`: its time is over; one job at a time tries whether it is mended."""

    dependency: str
    kind: PauseKind
    since: datetime
    until: datetime
    reason: str
    step: int
    probing: bool


class Gate(StrEnum):
    """How many jobs may be claimed now: all, one that tries, none."""

    OPEN = "open"
    PROBE = "probe"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class RefusalState:
    """What is noted of a dependency's refusals since its last success. `until` is None while nothing is paused."""

    refused_subject: str | None
    step: int
    until: datetime | None
    probe_subject: str | None


def decide_step(state: RefusalState, subject: str | None, now: datetime) -> int:
    """The step after one more refusal: 0 pauses nothing, each further one doubles the pause.

    `subject` is None where the refusal can't be about one subject (a token that is not given out).
    """
    if state.step == 0:
        return 0 if subject is not None and _same_order(subject, state.refused_subject) else 1
    if state.until is not None and state.until > now:
        # Begun before the pause, beside the job that caused it.
        return state.step
    if state.probe_subject is not None and subject is not None and not _same_order(subject, state.probe_subject):
        return state.step
    return state.step + 1


def pause_length(step: int) -> timedelta:
    """How long a dependency waits after the refusal that led to this step (1 or more)."""
    seconds = min(FIRST_PAUSE.total_seconds() * 2.0 ** min(step - 1, 60), LONGEST_PAUSE.total_seconds())
    return timedelta(seconds=seconds)


def pause_until(tx: AccountTransaction, dependency: str, until: datetime, reason: str) -> None:
    """Nothing that needs the dependency is claimed before `until` (aware, UTC): for a wait whose end is known."""
    values = insert(pauses).values(
        account_id=tx.account_id, dependency=dependency, kind=PauseKind.LIMIT, until=until, reason=_bounded(reason)
    )
    now = func.clock_timestamp()
    tx.execute(
        values.on_conflict_do_update(
            index_elements=list(pauses.primary_key),
            set_={
                "until": func.greatest(pauses.c.until, values.excluded.until),
                # One that ran out is another pause.
                "since": case((pauses.c.until > now, pauses.c.since), else_=now),
                "reason": values.excluded.reason,
            },
        )
    )


def note_refusal(tx: AccountTransaction, dependency: str, subject: str | None, reason: str) -> Pause | None:
    """Count a refusal against its subject; return the pause if the dependency is paused by now.

    `subject`: a job's; two packages of one order are one subject. None pauses at once: nobody would be served.
    """
    values = insert(pauses).values(
        account_id=tx.account_id,
        dependency=dependency,
        kind=PauseKind.REFUSAL,
        reason=_bounded(reason),
        refused_subject=subject,
    )
    row = tx.execute(
        values.on_conflict_do_update(
            index_elements=list(pauses.primary_key), set_={"reason": values.excluded.reason}
        ).returning(pauses)
    ).one()
    now = database_now(tx.connection)
    state = RefusalState(row.refused_subject, row.step, row.until, row.probe_subject)
    step = decide_step(state, subject, now)
    if step != row.step:
        tells_since = {"since": now} if row.step == 0 else {}
        row = tx.execute(
            update(pauses)
            .where(*_is(tx, dependency, PauseKind.REFUSAL))
            .values(
                step=step,
                until=now + pause_length(step),
                probe_queue=None,
                probe_subject=None,
                probe_lease_id=None,
                **tells_since,
            )
            .returning(pauses)
        ).one()
    return None if row.until is None else _pause(row, now)


def note_success(tx: AccountTransaction, *dependencies: str) -> None:
    """These answered: whatever refusals paused is open again. Writes nothing where nothing was refused."""
    if not dependencies:
        return
    tx.execute(
        delete(pauses).where(
            pauses.c.account_id == tx.account_id,
            pauses.c.dependency.in_(sorted(dependencies)),
            pauses.c.kind == PauseKind.REFUSAL,
        )
    )


def paused(tx: AccountTransaction) -> list[Pause]:
    """Every dependency that jobs wait for, also while it is probed; the oldest pause first."""
    now = func.clock_timestamp()
    rows = tx.execute(
        select(pauses, now.label("now"))
        .where(
            pauses.c.account_id == tx.account_id,
            (pauses.c.until > now) | (pauses.c.kind == PauseKind.REFUSAL) & pauses.c.until.is_not(None),
        )
        .order_by(pauses.c.since, pauses.c.dependency, pauses.c.kind)
    )
    return [_pause(row, row.now) for row in rows]


def pause_of(tx: AccountTransaction, dependency: str) -> Pause | None:
    """The longest pause of this dependency, also while it is probed; None if nothing waits for it."""
    found = [pause for pause in paused(tx) if pause.dependency == dependency]
    return max(found, key=lambda pause: pause.until, default=None)


def is_paused(tx: AccountTransaction, dependency: str) -> bool:
    """Whether nobody is to use it now. Once the time is over, who needs it tries it."""
    pause = pause_of(tx, dependency)
    return pause is not None and not pause.probing


_GATE = text("""
    select coalesce(bool_or(p.until > clock_timestamp()), false) as is_paused,
           coalesce(bool_or(p.until <= clock_timestamp() and p.kind = 'refusal'), false) as is_probed,
           coalesce(bool_or(exists (
               select from pipeline.jobs j
               where j.account_id = p.account_id and j.queue = p.probe_queue and j.subject = p.probe_subject
                 and j.lease_id = p.probe_lease_id and j.leased_until > clock_timestamp())), false) as has_probe
    from pipeline.paused_dependencies p
    where p.account_id = :account_id and p.dependency = any(:dependencies)
""")


def gate(tx: AccountTransaction, dependencies: Collection[str]) -> Gate:
    """Whether jobs that need these may be claimed. PROBE holds the rows' locks until the transaction ends."""
    if not dependencies:
        return Gate.OPEN
    found = _gate(tx, dependencies)
    if found is not Gate.PROBE:
        return found
    # Two workers that come at once: one probes, the other looks again when the first has begun.
    named = sorted(dependencies)
    there = select(pauses.c.dependency).where(pauses.c.account_id == tx.account_id, pauses.c.dependency.in_(named))
    locked = tx.execute(there.order_by(pauses.c.dependency, pauses.c.kind).with_for_update(skip_locked=True)).all()
    if len(locked) != len(tx.execute(there).all()):
        return Gate.CLOSED
    return _gate(tx, dependencies)


def mark_probe(
    tx: AccountTransaction, dependencies: Collection[str], *, queue: str, subject: str, lease_id: UUID
) -> None:
    """This job tries whether the dependencies are mended; until it is answered no other does."""
    tx.execute(
        update(pauses)
        .where(
            pauses.c.account_id == tx.account_id,
            pauses.c.dependency.in_(sorted(dependencies)),
            pauses.c.kind == PauseKind.REFUSAL,
            pauses.c.until <= func.clock_timestamp(),
        )
        .values(probe_queue=queue, probe_subject=subject, probe_lease_id=lease_id)
    )


def _gate(tx: AccountTransaction, dependencies: Collection[str]) -> Gate:
    row = tx.execute(_GATE, {"account_id": tx.account_id, "dependencies": sorted(dependencies)}).one()
    if row.is_paused or row.has_probe:
        return Gate.CLOSED
    return Gate.PROBE if row.is_probed else Gate.OPEN


def _is(tx: AccountTransaction, dependency: str, kind: PauseKind) -> tuple[ColumnElement[bool], ...]:
    return (pauses.c.account_id == tx.account_id, pauses.c.dependency == dependency, pauses.c.kind == kind)


def _pause(row: AnyRow, now: datetime) -> Pause:
    return Pause(
        row.dependency, PauseKind(row.kind), row.since, row.until, row.reason, row.step, probing=row.until <= now
    )


def _same_order(subject: str, other: str | None) -> bool:
    """Jobs of two queues, and two packages, may be about one order: it is refused in each of them."""
    return other is not None and subject.partition(":")[0] == other.partition(":")[0]


def _bounded(reason: str) -> str:
    return bounded_text(reason, LONGEST_ERROR) or "no reason given"
