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

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.database.notifications import Listener
from orders_pipeline.work.runner import stop_asked
from orders_pipeline.work.tally import Tally
from orders_pipeline.work.workers import is_infrastructure_error

# What was not heard of is found by looking: a query of a millisecond for each account. A notification may be lost with
# its connection, a pooler may never tell of any, and the end of a pause is notified by nobody.
LOOK_EVERY_SECONDS = 1.0
# One pass of a stage. Then what else came for it is looked at, and another account's stage may have its turn.
PASS_SECONDS = 45.0
# Four accounts' four stages. Each has up to eight workers that hold a connection for milliseconds; the pool has twenty.
PASSES_AT_ONCE = 16
# As an error that every job would meet: sooner it is mostly the same again.
AFTER_DEFECT_SECONDS = 10.0

# For each stage by name, in how many seconds it has something to do: zero or less now; absent: nothing is pending.
Due = Callable[[AccountTransaction], Mapping[str, float]]


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
    clock: Callable[[], float] = time.monotonic,
) -> Mapping[Stage, StageResult]:
    """Begin every stage once, then whenever it has work, until all were idle for long enough or the time is up.

    When it is interrupted (Dagster raises in the main thread), nothing else is begun; what is in hand ends first.
    """
    with Listener(database) as listener:
        return _HotLoop(database, stages, due, awake, listener, clock).run()


@dataclass(slots=True)
class _Lane:
    """One stage on its way.

    `not_before`, by the clock: after an error it is not begun sooner. `shown`: a look at the store showed work for it.
    `not_looked_at_before`: its pass found none of that work, since another process holds it; so it is looked at later,
    or once another stage has worked. `begun_after`: how many passes of all stages had worked when its own began.
    """

    stage: Stage
    result: StageResult = field(default_factory=StageResult)
    wanted: bool = True
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
        listener: Listener,
        clock: Callable[[], float],
    ) -> None:
        self.database, self.due, self.awake, self.listener, self.clock = database, due, awake, listener, clock
        self.lanes = {(stage.account_id, stage.name): _Lane(stage) for stage in stages}
        self.stop = Event()
        self.ends_at = clock() + awake.longest_seconds
        self.worked_at = clock()
        self.passes = 0
        self.look_at = clock() + LOOK_EVERY_SECONDS

    def run(self) -> Mapping[Stage, StageResult]:
        with ThreadPoolExecutor(PASSES_AT_ONCE, thread_name_prefix="stage") as pool:
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
                            self.lanes[heard].wanted = True
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
            lane.running = None
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
        for account_id in sorted({account_id for account_id, _ in self.lanes}):
            with self.database.transaction(account_id) as tx:
                found = self.due(tx)
            for name, seconds in found.items():
                lane = self.lanes[account_id, name]
                if seconds <= 0 and self.clock() >= lane.not_looked_at_before:
                    lane.wanted = lane.shown = True
                elif seconds > 0 and lane.running is None:
                    soonest = min(soonest, seconds)
        self.look_at = self.clock() + soonest

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        now = self.clock()
        seconds = min(PASS_SECONDS, self.ends_at - now)
        if seconds <= 0:
            return
        for lane in self.lanes.values():
            if lane.wanted and lane.running is None and now >= lane.not_before:
                lane.begun_after = self.passes if lane.shown else None
                lane.wanted = lane.shown = False
                context = copy_context()
                context.run(stop_asked.set, self.stop)
                lane.running = pool.submit(context.run, lane.stage.work, seconds)
                lane.running.add_done_callback(lambda _: self.listener.wake())

    def _seconds_to_wait(self) -> float:
        idle_until = min(self.worked_at + self.awake.idle_seconds, self.ends_at)
        return (self.look_at if self._is_busy() else min(self.look_at, idle_until)) - self.clock()

    def _is_busy(self) -> bool:
        return any(lane.running is not None for lane in self.lanes.values())

    def _is_over(self) -> bool:
        now = self.clock()
        is_idle = now - self.worked_at >= self.awake.idle_seconds
        return not self._is_busy() and (is_idle or now >= self.ends_at)
