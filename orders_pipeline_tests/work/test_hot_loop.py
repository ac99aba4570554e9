"""A run that works its stages off side by side, and stays awake for what comes next."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError

from orders_pipeline.database import notifications
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.work import hot_loop
from orders_pipeline.work.backlog import seconds_until_due
from orders_pipeline.work.hot_loop import Awake, Stage, StageResult, work_hot
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.queue import claim, complete, enqueue, find
from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import run_queue
from orders_pipeline.work.tally import Tally

ACCOUNT, OTHER = "account-1", "account-2"
LEASE = timedelta(minutes=1)
POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=15)
LONG = Awake(idle_seconds=100, longest_seconds=1000)
AT_ONCE = Awake(idle_seconds=0, longest_seconds=1000)
PATIENCE = 20.0


class Clock:
    """The loop's clock: time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Handled:
    """What a queue's stage handled; a test waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._subjects: list[str] = []

    def __call__(self, job: Job, _seconds: float) -> str:
        with self._changed:
            self._subjects.append(job.subject)
            self._changed.notify_all()
        return "done"

    def await_(self, subject: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: subject in self._subjects, PATIENCE)


def queue_stage(database: Database, handle: Callable[[Job, float], str], *, workers: int = 2) -> Stage:
    def work(seconds: float) -> Tally:
        return run_queue(
            database, ACCOUNT, Queue.FETCH, handle, workers=workers, lease=LEASE, policy=POLICY,
            deadline_seconds=seconds,
        )  # fmt: skip

    return Stage(ACCOUNT, Queue.FETCH, work)


def due(tx: AccountTransaction) -> dict[str, float]:
    return seconds_until_due(tx, [Queue.FETCH])


def ask(database: Database, *subjects: str, due_in: timedelta = timedelta()) -> None:
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, subjects, due_in=due_in)


@contextmanager
def awake(database: Database, stages: Sequence[Stage], clock: Clock) -> Generator[Future[Mapping[Stage, StageResult]]]:
    """A hot run in a thread; at the end its time is up."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work_hot, database, stages, due, LONG, clock=clock)
        try:
            yield running
        finally:
            clock.now += LONG.longest_seconds


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by looking, for the time of a test."""
    monkeypatch.setattr(hot_loop, "LOOK_EVERY_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_look")
def test_work_that_another_process_commits_is_begun_by_its_notification(database: Database):
    handled = Handled()
    ask(database, "first")
    with awake(database, [queue_stage(database, handled)], clock := Clock()) as running:
        assert handled.await_("first")
        ask(database, "second")
        assert handled.await_("second")
        assert not running.done(), "it stays for more"
        # A look is never due by this clock: the last notification ends the wait.
        clock.now += LONG.longest_seconds
        ask(database, "late")
    (result,) = running.result(PATIENCE).values()
    assert result.tally.outcomes["done"] >= 2


@pytest.mark.parametrize("trouble", ["refused", "never told", "connection lost"])
def test_without_notifications_new_work_is_found_by_looking(
    database: Database, monkeypatch: pytest.MonkeyPatch, trouble: str
):
    if trouble == "refused":
        # A syntax error: as any server or pooler that refuses the statement.
        monkeypatch.setattr(notifications, "CHANNEL", "not a channel")
    if trouble == "never told":
        monkeypatch.setattr(notifications, "CHANNEL", "another_channel")
    monkeypatch.setattr(hot_loop, "LOOK_EVERY_SECONDS", 0.05)
    handled = Handled()
    ask(database, "first")
    with ThreadPoolExecutor(1) as pool:
        # With the real clock: it looks every so often.
        running = pool.submit(work_hot, database, [queue_stage(database, handled)], due, Awake(2, 60))
        assert handled.await_("first")
        if trouble == "connection lost":
            with database.begin() as connection:
                listening = "query like 'listen %' and datname = current_database()"
                ended = text(f"select pg_terminate_backend(pid) from pg_stat_activity where {listening}")
                assert connection.execute(ended).scalars().all() == [True]
        ask(database, "second")
        assert handled.await_("second")
        (result,) = running.result(PATIENCE).values()
    assert result.error is None
    assert result.tally.outcomes == {"done": 2}


@pytest.mark.usefixtures("no_look")
def test_what_comes_due_later_is_begun_at_its_time(database: Database):
    handled = Handled()
    ask(database, "later", due_in=timedelta(seconds=0.3))
    work_hot(database, [queue_stage(database, handled)], due, Awake(1.0, 60))
    assert handled.await_("later")


def test_it_ends_when_it_was_idle_for_long_enough_and_no_sooner(database: Database):
    clock, handled = Clock(), Handled()
    ask(database, "first")
    with awake(database, [queue_stage(database, handled)], clock) as running:
        assert handled.await_("first")
        clock.now += LONG.idle_seconds - 1
        ask(database, "second")
        assert handled.await_("second"), "awake to the last"
        clock.now += 2
        ask(database, "third")
        assert handled.await_("third"), "the second began its idle time anew"
        while not running.done():
            # Its last pass may end after the time has passed: then it is idle from there.
            clock.now += LONG.idle_seconds
            wait([running], timeout=0.05)
        (result,) = running.result().values()
    assert result.tally.outcomes == {"done": 3}


def test_it_stays_awake_while_another_run_takes_what_it_hears_of(database: Database):
    """A successor is to be there when the run before it ends, although that one was quicker until then."""
    clock, passes, taken_by_another = Clock(), threading.Semaphore(0), Tally()

    def work(_seconds: float) -> Tally:
        passes.release()
        return taken_by_another

    with awake(database, [Stage(ACCOUNT, Queue.FETCH, work)], clock) as running:
        assert passes.acquire(timeout=PATIENCE), "its first pass"
        for order in range(3):
            clock.now += LONG.idle_seconds * 0.6
            with database.transaction(ACCOUNT) as tx:
                enqueue(tx, Queue.FETCH, [f"order-{order}"])
                (job,) = claim(tx, Queue.FETCH, limit=1, lease=LEASE)
                complete(tx, job)
            assert passes.acquire(timeout=PATIENCE), "it heard of the order"
        assert not running.done()


def test_it_ends_when_it_is_old_however_much_comes(database: Database):
    clock = Clock()

    def endless(job: Job, _seconds: float) -> str:
        ask(database, f"{int(job.subject) + 1}")
        clock.now += 1
        return "done"

    ask(database, "1")

    def one(_seconds: float) -> Tally:
        return run_queue(
            database, ACCOUNT, Queue.FETCH, endless, workers=1, lease=LEASE, policy=POLICY, deadline_seconds=9, most=1
        )

    stage = Stage(ACCOUNT, Queue.FETCH, one)
    results = work_hot(database, [stage], due, Awake(idle_seconds=100, longest_seconds=5), clock=clock)
    assert results[stage].tally.outcomes == {"done": 5}


DEFECT, AWAY = ZeroDivisionError(), TimeoutError()


@pytest.mark.parametrize(
    ("raised", "shown"), [([DEFECT], DEFECT), ([AWAY], None), ([DEFECT, AWAY], DEFECT), ([AWAY, DEFECT], DEFECT)]
)
def test_what_one_stage_raises_is_its_own_and_it_is_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, raised: Sequence[Exception], shown: Exception | None
):
    """A defect stays one; a database that did not answer for a moment needs nobody once it does."""
    monkeypatch.setattr(hot_loop, "AFTER_DEFECT_SECONDS", 0.0)
    monkeypatch.setattr(hot_loop, "LOOK_EVERY_SECONDS", 0.05)
    handled, tries = Handled(), list[int]()
    ask(database, "first")

    def broken(_seconds: float) -> Tally:
        tries.append(1)
        if len(tries) <= len(raised):
            raise raised[len(tries) - 1]
        return Tally({"mended": 1})

    stages = [Stage(OTHER, "broken", broken), queue_stage(database, handled)]

    def both_due(tx: AccountTransaction) -> dict[str, float]:
        return due(tx) if tx.account_id == ACCOUNT else {} if len(tries) > len(raised) else {"broken": 0.0}

    bad, good = work_hot(database, stages, both_due, AT_ONCE).values()
    assert bad.error is shown
    assert bad.tally.outcomes == {"mended": 1}
    assert bad.tally.errors == {type(error).__name__: 1 for error in raised}, "they are counted all the same"
    assert good.error is None
    assert good.tally.outcomes == {"done": 1}


def test_due_work_that_another_process_holds_keeps_nobody_busy(database: Database):
    passes: list[float] = []

    def held_by_another(seconds: float) -> Tally:
        passes.append(seconds)
        return Tally()

    work_hot(database, [Stage(ACCOUNT, "held", held_by_another)], lambda _: {"held": 0.0}, Awake(0.5, 60))
    assert len(passes) <= 2, "the next try comes with the next look, a second later"


def test_when_it_is_interrupted_what_is_in_hand_ends_and_the_rest_is_given_back(database: Database):
    class Interrupted(BaseException):
        """What Dagster raises in the main thread."""

    interrupted = threading.Event()
    handled: list[str] = []

    def interrupt(_number: int, _frame: object) -> None:
        interrupted.set()
        raise Interrupted

    def handle(job: Job, _seconds: float) -> str:
        if not interrupted.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert interrupted.wait(PATIENCE)
        handled.append(job.subject)
        return "done"

    ask(database, "1", "2", "3")
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            work_hot(database, [queue_stage(database, handle, workers=1)], due, LONG)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(handled) == 1
    with database.transaction(ACCOUNT) as tx:
        left = [find(tx, Queue.FETCH, subject) for subject in ("1", "2", "3") if subject not in handled]
    assert [job.lease_id for job in left if job is not None] == [None, None]
