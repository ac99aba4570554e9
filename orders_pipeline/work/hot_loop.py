"""One run that works several stages off side by side, and stays awake for a while after all of them are done.

A stage is one kind of work of one account. It is done in passes: each works until nothing is due, or its time is up.
A pass begins when its stage hears of work: by a notification at the commit that made it (another process's, or that of
the stage before it), when something comes due, or by looking, once a second. So the first order is at the warehouse
while others are still being fetched, and what comes while the run is awake waits for no new run.

A stage that raises is tried again a little later, beside the others; the error is in its result. What every stage would
meet (the database is away) is raised by the look, and ends the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from threading import Event

from sqlalchemy import Connection

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.database.notifications import Listener
from orders_pipeline.work.lent_workers import LentWorkers, lent_workers
from orders_pipeline.work.runner import stop_asked
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import is_infrastructure_error

# What was not heard of is found by looking: a query of a millisecond for each account. A notification may be lost with
# its connection, a pooler may never tell of any, and the end of a pause is notified by nobody.
LOOK_EVERY_SECONDS = 1.0
# One pass of a stage. Then what else came for it is looked at, and another account's stage may have its turn.
PASS_SECONDS = 45.0
# Every stage begins once, though nothing is known to be due for it. Of those so many at once, behind all that has work:
# the first passes of fifty accounts together would keep the processor from the one that has an order.
FIRST_AT_ONCE = 4
# As an error that every job would meet: sooner it is mostly the same again.
AFTER_DEFECT_SECONDS = 10.0

# For each stage by name, in how many seconds it has something to do: zero or less now; absent: nothing is pending.
Due = Callable[[AccountTransaction], Mapping[str, float]]
# Of these accounts, those for which anything at all may be pending: of many accounts most have nothing.
WithWork = Callable[[Connection, Collection[str]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Stage:
    """`name`: the topic under which its work is notified. `work(seconds)` is one pass."""

    account_id: str
    name: str
    work: Callable[[float], Tally]


@dataclass(frozen=True, slots=True)
class Awake:
    """How long a run stays: after its last work, and in all. With no idle time it ends once nothing is due."""

    idle_seconds: float
    longest_seconds: float


@dataclass(slots=True)
class StageResult:
    """What all passes of a stage did together, pauses as the last one met them, errors by name.

    `error`: the last defect, or what was away (a connection, a lock) if no pass has ended well since: what is back
    needs nobody.
    """

    tally: Tally = field(default_factory=Tally)
    error: Exception | None = None


def work_hot(
    database: Database,
    stages: Collection[Stage],
    due: Due,
    awake: Awake,
    *,
    with_work: WithWork | None = None,
    is_current: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
) -> Mapping[Stage, StageResult]:
    """Begin every stage once, then whenever it has work, until all were idle for long enough or the time is up.

    Each stage has a thread for its passes, and no other's: who hangs, hangs alone. The workers of all queues are lent
    (`lent_workers.py`). `is_current`: asked at each look; once it says no, nothing is begun any more.

    When it is interrupted (Dagster raises in the main thread), nothing else is begun; what is in hand ends first.
    """
    with Listener(database) as listener:
        return _HotLoop(database, stages, due, awake, with_work, is_current, listener, clock).run()


@dataclass(slots=True)
class _Lane:
    """One stage on its way.

    `is_first`: it is wanted only because each stage begins once. `not_before`, by the clock: after an error it is not
    begun sooner. `shown`: a look at the store showed work for it. `not_looked_at_before`: its pass found none of that
    work, since another process holds it; so it is looked at later, or once another stage has worked. `begun_after`: how
    many passes of all stages had worked when its own began.
    """

    stage: Stage
    result: StageResult = field(default_factory=StageResult)
    wanted: bool = True
    is_first: bool = True
    running: Future[Tally] | None = None
    not_before: float = 0.0
    not_looked_at_before: float = 0.0
    shown: bool = False
    begun_after: int | None = None


class _HotLoop:
    def __init__(
        self,
        database: Database,
        stages: Collection[Stage],
        due: Due,
        awake: Awake,
        with_work: WithWork | None,
        is_current: Callable[[], bool],
        listener: Listener,
        clock: Callable[[], float],
    ) -> None:
        self.database, self.due, self.awake, self.listener, self.clock = database, due, awake, listener, clock
        self.with_work, self.is_current = with_work, is_current
        self.account_ids = sorted({stage.account_id for stage in stages})
        self.lender = LentWorkers()
        self.lanes = {(stage.account_id, stage.name): _Lane(stage) for stage in stages}
        self.stop = Event()
        self.ends_at = clock() + awake.longest_seconds
        self.worked_at = clock()
        self.passes = 0
        # With several accounts at once: those that have work begin before the others.
        self.look_at = clock() + (LOOK_EVERY_SECONDS if len(self.account_ids) == 1 else 0.0)

    def run(self) -> Mapping[Stage, StageResult]:
        with ThreadPoolExecutor(len(self.lanes), thread_name_prefix="stage") as pool:
            try:
                while True:
                    self._collect()
                    if self.clock() >= self.look_at or not self._is_busy():
                        self._look()
                    self._begin(pool)
                    if self._is_over():
                        break
                    for heard in self.listener.wait(self._seconds_to_wait()):
                        if heard in self.lanes:
                            self.lanes[heard].wanted, self.lanes[heard].is_first = True, False
                            # Also when another run takes it: this one is to be there when that one ends.
                            self.worked_at = self.clock()
            finally:
                # Also when the run is interrupted: the passes begin nothing else, and the pool waits for them.
                self.stop.set()
        return {lane.stage: lane.result for lane in self.lanes.values()}

    def _collect(self) -> None:
        """Take in the passes that have ended."""
        for lane in self.lanes.values():
            if lane.running is None or not lane.running.done():
                continue
            error, passed = lane.running.exception(), lane.running
            lane.running, lane.is_first = None, False
            if isinstance(error, Exception):
                # A defect stays: that the database was away once as well hides nothing.
                if lane.result.error is None or not is_infrastructure_error(error):
                    lane.result.error = error
                lane.result.tally += Tally(errors={type(error).__name__: 1})
                lane.not_before = self.clock() + AFTER_DEFECT_SECONDS
            elif error is not None:
                raise error
            else:
                done = passed.result()
                if lane.result.error is not None and is_infrastructure_error(lane.result.error):
                    lane.result.error = None
                lane.result.tally = replace(lane.result.tally + done, not_before=done.not_before, paused=done.paused)
                self._note_work(lane, bool(done.outcomes))

    def _note_work(self, lane: _Lane, has_worked: bool) -> None:
        if has_worked:
            self.worked_at, self.passes = self.clock(), self.passes + 1
            for each in self.lanes.values():
                each.not_looked_at_before = 0.0
        elif lane.begun_after == self.passes:
            lane.not_looked_at_before = self.clock() + LOOK_EVERY_SECONDS

    def _look(self) -> None:
        """Find what is due, and when to look again: in a second, or when the next job comes due."""
        soonest = LOOK_EVERY_SECONDS
        if not self.is_current():
            # What is in hand ends; who comes next knows better what is to be done.
            self.ends_at = self.clock()
            self.stop.set()
        with self.database.begin() as connection:
            account_ids: Collection[str] = self.account_ids
            if self.with_work is not None and len(account_ids) > 1:
                account_ids = self.with_work(connection, account_ids)
            found = {one: self.due(AccountTransaction(connection, one)) for one in account_ids}
        for account_id, stages in found.items():
            for name, seconds in stages.items():
                lane = self.lanes[account_id, name]
                if seconds <= 0 and self.clock() >= lane.not_looked_at_before:
                    lane.wanted = lane.shown = True
                    lane.is_first = False
                elif seconds > 0 and lane.running is None:
                    soonest = min(soonest, seconds)
        self.look_at = self.clock() + soonest

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        now = self.clock()
        seconds = min(PASS_SECONDS, self.ends_at - now)
        if seconds <= 0:
            return
        firsts = FIRST_AT_ONCE - sum(lane.is_first for lane in self.lanes.values() if lane.running is not None)
        for lane in sorted(self.lanes.values(), key=lambda lane: lane.is_first):
            if lane.wanted and lane.running is None and now >= lane.not_before:
                if lane.is_first:
                    if firsts <= 0:
                        break
                    firsts -= 1
                lane.begun_after = self.passes if lane.shown else None
                lane.wanted = lane.shown = False
                context = copy_context()
                context.run(stop_asked.set, self.stop)
                context.run(lent_workers.set, self.lender)
                lane.running = pool.submit(context.run, lane.stage.work, seconds)
                lane.running.add_done_callback(lambda _: self.listener.wake())

    def _seconds_to_wait(self) -> float:
        idle_until = min(self.worked_at + self.awake.idle_seconds, self.ends_at)
        return (self.look_at if self._is_busy() else min(self.look_at, idle_until)) - self.clock()

    def _is_busy(self) -> bool:
        return any(lane.running is not None for lane in self.lanes.values())

    def _is_over(self) -> bool:
        now = self.clock()
        all_began = not any(lane.wanted and lane.is_first for lane in self.lanes.values())
        is_idle = all_began and now - self.worked_at >= self.awake.idle_seconds
        return not self._is_busy() and (is_idle or now >= self.ends_at)
