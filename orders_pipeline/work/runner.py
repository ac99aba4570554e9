"""Work a queue off on a pool of threads until nothing is due, a pause gates it, or the deadline has come.

The pool is continuous: a slot that comes free takes the next job, so a slow one holds up nobody. In a hot run all slots
but the first are lent (`lent_workers.py`). A handler's failure is
that job's alone; only what every job would meet (the database is away) ends the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event

from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.work.jobs import DEPENDENCIES, Job, Queue, dependencies_of, quota_of
from orders_pipeline.work.lent_workers import lent_workers
from orders_pipeline.work.pauses import PauseKind, note_refusal, note_success, pause_until, paused
from orders_pipeline.work.queue import (
    claim,
    complete,
    park,
    release,
    release_refused,
    renew,
    retry,
)
from orders_pipeline.work.retry import DEFECTS, Policy
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import error_location, is_infrastructure_error

# While a slot is free and others work, what became due meanwhile is looked for so often.
POLL_SECONDS = 0.25
# A job that begins later than this share of its lease after its claim has it renewed: its time must last.
RENEW_AFTER = 0.1
# This share of a lease is left for the answer to be stored.
RESERVE = 0.1
AFTER_INFRASTRUCTURE_ERROR = timedelta(seconds=10)
RELEASED, LEASE_LOST, QUOTA = "released", "lease_lost", "quota"

Handler = Callable[[Job, float], str]

# Set for a run that is to end now: what is in hand is brought to its end, nothing else is begun.
stop_asked: ContextVar[Event | None] = ContextVar("stop_asked", default=None)


class Retry(Exception):
    """The job failed by itself: tried again by the policy (or this one), not before `after` has passed."""

    def __init__(self, error: Exception | str, after: timedelta | None = None, *, policy: Policy | None = None) -> None:
        super().__init__(str(error))
        self.error, self.after, self.policy = error, after, policy


class Refused(Exception):
    """The dependency refused, or is away: it is paused once another subject meets the same.

    `whole`: it can't be this job's fault (no token is given out), so the dependency is paused at once. `policy`: how
    the job goes on while it alone is refused, if not by the queue's.
    """

    def __init__(
        self, dependency: str, error: Exception | str, *, whole: bool = False, policy: Policy | None = None
    ) -> None:
        super().__init__(str(error))
        self.dependency, self.error, self.whole, self.policy = dependency, error, whole, policy


class NotBefore(Exception):
    """A quota is spent until `at` (aware, UTC): the queue's own, or that of another dependency."""

    def __init__(self, at: datetime, dependency: str | None = None) -> None:
        super().__init__(f"not before {at.isoformat()}")
        self.at, self.dependency = at, dependency


class Park(Exception):
    """Trying again is of no use: the job is set aside with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def run_queue(
    database: Database,
    account_id: str,
    queue: Queue,
    handle: Handler,
    *,
    workers: int,
    lease: timedelta,
    policy: Policy,
    deadline_seconds: float,
    dependencies: Collection[str] = (),
    proves: Callable[[str], Collection[str]] | None = None,
    ends_run: Callable[[Exception], bool] = is_infrastructure_error,
    most: int | None = None,
    claimed: Sequence[Job] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Handle every due job, several at a time, and say what became of them.

    `handle(job, seconds)` returns the outcome's word, and must end within `seconds`. It may complete the job itself,
    in the transaction that stores its result; else the runner does. It may raise Retry, Refused, NotBefore and Park;
    any other error is a defect of that job (DEFECTS), unless `ends_run` says that all would meet it: then the jobs in
    hand are finished, and it is raised.

    `proves(word)`: the dependencies that answered for this outcome, so that their pause is over; all of the queue's if
    it is not given. `dependencies` are gated on besides the queue's own; `most` jobs are begun at most.
    `claimed`: these, which the caller has claimed a moment ago, and no others.
    """
    return _Run(database, account_id, queue, handle, workers, lease, policy, deadline_seconds, dependencies, proves,
                ends_run, most, claimed, clock).run()  # fmt: skip


class _Run:
    def __init__(
        self,
        database: Database,
        account_id: str,
        queue: Queue,
        handle: Handler,
        workers: int,
        lease: timedelta,
        policy: Policy,
        deadline_seconds: float,
        dependencies: Collection[str],
        proves: Callable[[str], Collection[str]] | None,
        ends_run: Callable[[Exception], bool],
        most: int | None,
        claimed: Sequence[Job] | None,
        clock: Callable[[], float],
    ) -> None:
        self.database, self.account_id, self.queue, self.handle = database, account_id, queue, handle
        self.workers, self.lease, self.policy = workers, lease, policy
        self.dependencies, self.needed = dependencies, dependencies_of(queue, dependencies)
        answering = DEPENDENCIES[queue] | set(dependencies)
        self.proves = proves or (lambda _: answering)
        self.ends_run, self.left, self.clock = ends_run, most, clock
        self.claimed = None if claimed is None else list(claimed)
        self.ends_at = clock() + deadline_seconds
        self.stop = Event()
        self.stop_asked = stop_asked.get() or self.stop
        self.lender, self.borrowed = lent_workers.get(), 0

    def run(self) -> Tally:
        tally, failures = Tally(), list[Exception]()
        with ThreadPoolExecutor(self.workers, thread_name_prefix=str(self.queue)) as pool:
            in_hand: set[Future[Tally]] = set()
            try:
                while True:
                    if not failures:
                        in_hand |= self._begin(pool, self._free(len(in_hand)), failures)
                    self._return_lent(len(in_hand))
                    if not in_hand:
                        break
                    done, in_hand = wait(in_hand, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                    for future in done:
                        error = future.exception()
                        if error is None:
                            tally += future.result()
                        elif isinstance(error, Exception):
                            failures.append(error)
                        else:
                            raise error
                    if failures:
                        self.stop.set()
            finally:
                # Also when the run is interrupted: what was not begun is given back, what was begun ends.
                self.stop.set()
        self._return_lent(0)
        if failures:
            raise failures[0]
        return tally + self._pauses()

    def _free(self, in_hand: int) -> int:
        """How many jobs may be begun beside those in hand: the first by the stage's own worker, others by lent ones."""
        if self.lender is None:
            return self.workers - in_hand
        own = 1 if in_hand == 0 else 0
        lent = self.lender.borrow(self.account_id, self.workers - in_hand - own)
        self.borrowed += lent
        return own + lent

    def _return_lent(self, in_hand: int) -> None:
        if self.lender is not None and (over := self.borrowed - max(in_hand - 1, 0)) > 0:
            self.lender.give_back(self.account_id, over)
            self.borrowed -= over

    def _begin(self, pool: ThreadPoolExecutor, free: int, failures: list[Exception]) -> set[Future[Tally]]:
        if self.claimed is not None:
            # After the deadline too: each is given back then.
            begun, self.claimed = self.claimed[:free], self.claimed[free:]
            return {pool.submit(copy_context().run, self._work, job, self.clock()) for job in begun}
        limit = free if self.left is None else min(free, self.left)
        if limit < 1 or self._is_over():
            return set()
        claimed_at = self.clock()
        try:
            with self._transaction() as tx:
                claimed = claim(tx, self.queue, limit=limit, lease=self.lease, dependencies=self.dependencies)
        except Exception as error:  # noqa: BLE001 - raised by the run, when what is in hand has ended
            failures.append(error)
            self.stop.set()
            return set()
        if self.left is not None:
            self.left -= len(claimed)
        return {pool.submit(copy_context().run, self._work, job, claimed_at) for job in claimed}

    def _work(self, job: Job, claimed_at: float) -> Tally:
        lease_seconds = self.lease.total_seconds()
        if self._is_over():
            with self._transaction() as tx:
                release(tx, job)
            return Tally({RELEASED: 1})
        if self.clock() - claimed_at > lease_seconds * RENEW_AFTER:
            claimed_at = self.clock()
            with self._transaction() as tx:
                if not renew(tx, job, lease=self.lease):
                    return Tally({LEASE_LOST: 1})
        begun = self.clock()
        lease_left = claimed_at + lease_seconds * (1 - RESERVE) - begun
        try:
            word = self.handle(job, max(min(self.ends_at - begun, lease_left), 0.0))
            with self._transaction() as tx:
                # False where the handler completed the job together with its result.
                complete(tx, job)
                note_success(tx, *self.proves(word))
            return Tally({word: 1})
        except (Retry, Refused, NotBefore, Park) as answer:
            return self._answer(job, answer)
        except Exception as error:
            if self.ends_run(error):
                # This job alone may meet it (a statement's time-out): the others come before it in the next run.
                self._give_back(job, AFTER_INFRASTRUCTURE_ERROR)
                raise
            return self._failed(
                job, f"a defect of this program: {error_location(error)}", type(error).__name__, DEFECTS
            )

    def _is_over(self) -> bool:
        return self.stop.is_set() or self.stop_asked.is_set() or self.clock() >= self.ends_at

    def _answer(self, job: Job, answer: Retry | Refused | NotBefore | Park) -> Tally:
        if isinstance(answer, Retry):
            policy = self._policy_of(answer)
            return self._failed(job, answer.error, _name(answer.error), policy, after=answer.after)
        if isinstance(answer, Refused):
            return self._refused(job, answer)
        with self._transaction() as tx:
            if isinstance(answer, Park):
                was_parked = park(tx, job, answer.reason)
                return Tally({"parked": 1}, parked=int(was_parked))
            dependency = answer.dependency or quota_of(self.queue)
            # What the queue doesn't wait for as a whole, the job waits for by itself.
            release(tx, job, due_at=None if dependency in self.needed else answer.at)
            pause_until(tx, dependency, answer.at, "the quota is spent")
        return Tally({QUOTA: 1}, not_before=answer.at)

    def _refused(self, job: Job, answer: Refused) -> Tally:
        errors = {_name(answer.error): 1}
        with self._transaction() as tx:
            # First the job, then the pause, as everywhere; what the refusal means is known only from the pause.
            if not renew(tx, job, lease=self.lease):
                return Tally({LEASE_LOST: 1}, errors=errors)
            pause = note_refusal(tx, answer.dependency, None if answer.whole else job.subject, str(answer.error))
            if pause is not None:
                gated = answer.dependency in self.needed
                release_refused(tx, job, answer.error, due_at=None if gated else pause.until)
                return Tally({"refused": 1}, errors=errors, paused={answer.dependency: pause.until})
            decision = retry(tx, job, answer.error, self._policy_of(answer))
        return Tally({"refused": 1}, parked=int(decision is not None and decision.parked), errors=errors)

    def _policy_of(self, answer: Retry | Refused) -> Policy:
        """The answer's own pauses and tries, if it has any; until when a job is kept is for its queue to say."""
        if answer.policy is None:
            return self.policy
        return replace(answer.policy, kept_after_ship_by=self.policy.kept_after_ship_by)

    def _failed(
        self, job: Job, error: Exception | str, name: str, policy: Policy, *, after: timedelta | None = None
    ) -> Tally:
        with self._transaction() as tx:
            decision = retry(tx, job, error, policy, after=after)
        was_parked = decision is not None and decision.parked
        return Tally({"parked" if was_parked else "retry": 1}, parked=int(was_parked), errors={name: 1})

    def _give_back(self, job: Job, delay: timedelta) -> None:
        try:
            with self._transaction() as tx:
                release(tx, job, due_at=database_now(tx.connection) + delay)
        except Exception as error:
            # The database is away: the end of the lease gives it back.
            if not is_infrastructure_error(error):
                raise

    def _pauses(self) -> Tally:
        with self._transaction() as tx:
            found = [pause for pause in paused(tx) if pause.dependency in self.needed]
        limits = [pause.until for pause in found if pause.kind is PauseKind.LIMIT]
        refusals = {pause.dependency: pause.until for pause in found if pause.kind is PauseKind.REFUSAL}
        return Tally(not_before=max(limits, default=None), paused=refusals)

    def _transaction(self) -> AbstractContextManager[AccountTransaction]:
        return self.database.transaction(self.account_id)


def _name(error: Exception | str) -> str:
    return type(error).__name__ if isinstance(error, Exception) else "error"
