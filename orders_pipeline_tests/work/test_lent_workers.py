"""Fair turns: whoever wants much leaves room for who comes next, and a seller that hangs holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.work.backlog import seconds_until_due
from orders_pipeline.work.hot_loop import Awake, Stage, work_hot
from orders_pipeline.work.jobs import Job, Queue
from orders_pipeline.work.lent_workers import LentWorkers
from orders_pipeline.work.queue import enqueue
from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import run_queue
from orders_pipeline.work.tally import Tally

PATIENCE = 20.0
HANGING, ANSWERING = [f"hanging-{number}" for number in range(20)], "answering"
POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=15)


def test_alone_an_account_has_half_and_each_that_comes_has_a_share_of_what_is_left():
    workers = LentWorkers(64)
    assert workers.borrow("alone", 100) == 32
    assert [workers.borrow(name, 100) for name in ("second", "third", "fourth")] == [16, 8, 4]
    assert workers.borrow("alone", 1) == 0, "it holds more than is left"
    workers.give_back("alone", 32)
    assert workers.borrow("fourth", 100) == 16, "what comes free is lent again"


def test_of_many_that_want_all_nobody_is_left_with_nothing_while_another_has_more_than_a_share():
    workers, names = LentWorkers(64), [f"account-{number}" for number in range(20)]
    held = dict.fromkeys(names, 0)
    for _ in range(200):
        for name in names:
            held[name] += workers.borrow(name, 8)
            # Each job ends after a while.
            if held[name] > 1:
                workers.give_back(name, 1)
                held[name] -= 1
    assert min(held.values()) >= 1
    assert max(held.values()) <= 64 // 20 + 1


def stage(database: Database, account_id: str, handle: Callable[[Job, float], str]) -> Stage:
    def work(seconds: float) -> Tally:
        return run_queue(
            database, account_id, Queue.FETCH, handle, workers=8, lease=timedelta(minutes=1), policy=POLICY,
            deadline_seconds=seconds,
        )  # fmt: skip

    return Stage(account_id, Queue.FETCH, work)


def due(tx: AccountTransaction) -> dict[str, float]:
    return seconds_until_due(tx, [Queue.FETCH])


def ask(database: Database, account_id: str, *subjects: str) -> None:
    with database.transaction(account_id) as tx:
        enqueue(tx, Queue.FETCH, subjects)


def test_twenty_sellers_whose_every_call_hangs_take_nothing_from_the_one_that_answers(database: Database):
    release, answered, at_once = threading.Event(), threading.Event(), threading.Semaphore(0)
    most, hanging = 0, 0
    guard = threading.Lock()

    def hang(_job: Job, _seconds: float) -> str:
        nonlocal most, hanging
        with guard:
            hanging += 1
            most = max(most, hanging)
        at_once.release()
        release.wait(PATIENCE)
        with guard:
            hanging -= 1
        return "done"

    def answer(_job: Job, _seconds: float) -> str:
        answered.set()
        return "done"

    for account_id in HANGING:
        ask(database, account_id, *(f"order-{number}" for number in range(8)))
    stages = [*(stage(database, one, hang) for one in HANGING), stage(database, ANSWERING, answer)]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work_hot, database, stages, due, Awake(0, 60))
        try:
            # Every one of them has begun: the stock is lent, and each has its own.
            for _ in HANGING:
                assert at_once.acquire(timeout=PATIENCE)
            ask(database, ANSWERING, "order-1")
            assert answered.wait(PATIENCE / 4), "while all the others hang"
        finally:
            release.set()
        results = running.result(PATIENCE)
    assert most <= len(HANGING) + 64, "threads are bounded, however many want eight"
    assert sum(result.tally.outcomes["done"] for result in results.values()) == 8 * len(HANGING) + 1


def test_a_run_whose_accounts_are_no_longer_those_of_the_settings_ends(database: Database):
    handled = threading.Event()

    def handle(_job: Job, _seconds: float) -> str:
        handled.set()
        return "done"

    ask(database, ANSWERING, "order-1")
    work_hot(
        database, [stage(database, ANSWERING, handle)], due, Awake(1000, 1000), is_current=lambda: not handled.is_set()
    )
