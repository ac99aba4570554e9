"""A run of a queue: nobody waits for another's slowness or failure, and every job is answered for."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from orders_pipeline.database.engine import Database
from orders_pipeline.work.backlog import backlog, parked
from orders_pipeline.work.jobs import Job, Queue, quota_of
from orders_pipeline.work.pauses import PauseKind, note_refusal, paused
from orders_pipeline.work.queue import claim, claim_these, complete, enqueue, find
from orders_pipeline.work.retry import Policy
from orders_pipeline.work.runner import NotBefore, Park, Refused, Retry, run_queue
from orders_pipeline.work.tally import Tally

ACCOUNT = "account-1"
LEASE = timedelta(minutes=1)
POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(hours=1), attempts=15)
ONE_TRY = Policy(first=timedelta(seconds=1), longest=timedelta(seconds=1), attempts=1)
NAMES = [f"order-{number:02}" for number in range(40)]


class AmazonRefused(Exception):
    """What a client raises."""


def ask(database: Database, names: list[str], queue: Queue = Queue.FETCH) -> None:
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, queue, names)


def run(database: Database, handle: Callable[[Job, float], str], **given: object) -> Tally:
    options = {"workers": 4, "lease": LEASE, "policy": POLICY, "deadline_seconds": 20.0} | given
    return run_queue(database, ACCOUNT, Queue.FETCH, handle, **options)  # pyright: ignore[reportArgumentType]


def pending(database: Database, subject: str) -> Job | None:
    with database.transaction(ACCOUNT) as tx:
        return find(tx, Queue.FETCH, subject)


def left(database: Database) -> dict[str, int]:
    """Jobs of the queue by state, the states that have none left out."""
    with database.transaction(ACCOUNT) as tx:
        (found,) = [one for one in backlog(tx) if one.queue is Queue.FETCH]
    counts = {"due": found.due, "leased": found.leased, "waiting": found.waiting, "parked": found.parked}
    return {state: count for state, count in counts.items() if count}


def make_due(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))


def end_pauses(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update pipeline.paused_dependencies set until = clock_timestamp()"))


# --- outcomes


@pytest.mark.parametrize("answer", [Retry("404", policy=ONE_TRY), Refused("amazon", "403", policy=ONE_TRY)])
def test_the_queue_alone_says_how_long_a_job_is_kept(database: Database, answer: Exception):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["A"], ship_by=database.now() - timedelta(hours=1))

    def handle(job: Job, _: float) -> str:
        raise answer

    for kept, state in ((timedelta(hours=2), "waiting"), (timedelta(minutes=59), "parked")):
        run(database, handle, policy=replace(POLICY, kept_after_ship_by=kept))
        assert left(database) == {state: 1}
        make_due(database)


def test_every_job_is_done_once_and_counted_by_its_outcome(database: Database):
    ask(database, NAMES)
    handled: list[str] = []

    def handle(job: Job, _: float) -> str:
        handled.append(job.subject)
        return "fetched" if job.subject < "order-30" else "unchanged"

    tally = run(database, handle)
    assert tally == Tally({"fetched": 30, "unchanged": 10})
    assert sorted(handled) == NAMES
    assert left(database) == {}


def test_a_handler_may_complete_the_job_with_its_own_result(database: Database):
    ask(database, NAMES[:3])

    def handle(job: Job, _: float) -> str:
        with database.transaction(ACCOUNT) as tx:
            assert complete(tx, job)
            if job.subject == NAMES[0]:
                enqueue(tx, Queue.FETCH, [job.subject], due_in=timedelta(hours=1))
        return "fetched"

    assert run(database, handle).outcomes == {"fetched": 3}
    assert left(database) == {"waiting": 1}


def test_what_is_enqueued_while_it_is_handled_is_handled_again(database: Database):
    ask(database, ["A"])
    versions: list[int] = []

    def handle(job: Job, _: float) -> str:
        versions.append(job.version)
        if len(versions) == 1:
            ask(database, ["A", "B"])
        return "fetched"

    assert run(database, handle).outcomes == {"fetched": 3}
    assert sorted(versions) == [1, 1, 2]


def test_a_failure_is_its_jobs_alone(database: Database):
    ask(database, ["fails", "waits long", "hopeless", "broken", "given up", *NAMES])

    def handle(job: Job, _: float) -> str:
        match job.subject:
            case "fails":
                raise Retry(TimeoutError("no answer"))
            case "waits long":
                raise Retry(TimeoutError("429"), after=timedelta(hours=2))
            case "given up":
                raise Retry("404", policy=ONE_TRY)
            case "hopeless":
                raise Park("422 unknown_sku")
            case "broken":
                raise KeyError("the name of a buyer")
            case _:
                return "fetched"

    tally = run(database, handle)
    assert tally.outcomes == {"fetched": 40, "retry": 3, "parked": 2}
    assert (tally.parked, tally.errors) == (2, {"TimeoutError": 2, "KeyError": 1, "error": 1})
    fails, waits, broken = (pending(database, subject) for subject in ("fails", "waits long", "broken"))
    assert fails is not None
    assert waits is not None
    assert broken is not None
    assert (fails.attempts, fails.last_error) == (1, "no answer")
    assert waits.due_at - database.now() > timedelta(minutes=119)
    assert broken.last_error is not None
    assert broken.last_error.startswith("a defect of this program: KeyError at test_runner.py:")
    assert "buyer" not in broken.last_error
    with database.transaction(ACCOUNT) as tx:
        reasons = {job.subject: job.last_error for job in parked(tx)}
    assert reasons == {"hopeless": "422 unknown_sku", "given up": "404"}


def test_a_defect_is_tried_four_times(database: Database):
    ask(database, ["A"])
    parked_by_run: list[int] = []
    for _ in range(4):
        parked_by_run.append(run(database, lambda job, _: str(1 / 0)).parked)
        make_due(database)
    assert parked_by_run == [0, 0, 0, 1]


# --- refusals


def test_an_order_that_is_always_refused_stops_itself_and_nobody_else(database: Database):
    ask(database, NAMES)

    def handle(job: Job, _: float) -> str:
        if job.subject == NAMES[0]:
            raise Refused("amazon", AmazonRefused("403"))
        return "fetched"

    tally = run(database, handle, workers=1)
    assert (tally.outcomes, tally.errors, tally.paused) == ({"refused": 1, "fetched": 39}, {"AmazonRefused": 1}, {})
    for _ in range(14):
        make_due(database)
        tally = run(database, handle)
    assert tally.parked == 1
    assert left(database) == {"parked": 1}


def test_an_account_that_is_refused_pauses_after_two_parks_nothing_and_resumes_at_the_first_success(database: Database):
    ask(database, NAMES)
    asked: list[str] = []
    mended = False

    def handle(job: Job, _: float) -> str:
        asked.append(job.subject)
        if not mended:
            raise Refused("amazon", AmazonRefused("403"))
        return "fetched"

    tally = run(database, handle, workers=1)
    assert len(asked) == 2
    assert (tally.outcomes, list(tally.paused)) == ({"refused": 2}, ["amazon"])
    assert run(database, handle, workers=8).outcomes == {}, "paused"
    # A day of it: each pause ends with one job that tries.
    for _ in range(30):
        end_pauses(database)
        asked.clear()
        assert run(database, handle, workers=8).outcomes == {"refused": 1}
        assert len(asked) == 1
    with database.transaction(ACCOUNT) as tx:
        (pause,) = paused(tx)
    assert pause.until - database.now() > timedelta(minutes=4)
    end_pauses(database)
    mended = True
    # The first one that was refused counted against itself: nobody could know yet.
    assert run(database, handle, workers=8) == Tally({"fetched": 39})
    assert left(database) == {"waiting": 1}


def test_parallel_refusals_are_one_step(database: Database):
    ask(database, NAMES)
    together, tickets = threading.Barrier(8), itertools.count()

    def handle(job: Job, _: float) -> str:
        # A worker that is done may begin one more before the second refusal is noted.
        if next(tickets) < 8:
            together.wait(10)
        raise Refused("amazon", AmazonRefused("403"))

    tally = run(database, handle, workers=8)
    assert list(tally.outcomes) == ["refused"]
    assert 8 <= tally.outcomes["refused"] <= 15
    with database.transaction(ACCOUNT) as tx:
        (pause,) = paused(tx)
        attempts = tx.execute(text("select sum(attempts) from pipeline.jobs")).scalar_one()
    assert (pause.step, pause.kind, attempts) == (1, PauseKind.REFUSAL, 1)
    assert pause.until - pause.since <= timedelta(seconds=6)


def test_an_outcome_that_asked_nobody_proves_nothing(database: Database):
    ask(database, ["A"])
    with database.transaction(ACCOUNT) as tx:
        note_refusal(tx, "amazon", None, "403")
    end_pauses(database)
    run(database, lambda job, _: "unchanged", proves=lambda word: ["amazon"] if word == "fetched" else [])
    with database.transaction(ACCOUNT) as tx:
        assert len(paused(tx)) == 1
    ask(database, ["A"])
    run(database, lambda job, _: "fetched", proves=lambda word: ["amazon"] if word == "fetched" else [])
    with database.transaction(ACCOUNT) as tx:
        assert paused(tx) == []


def test_what_the_queue_does_not_wait_for_only_its_job_waits_for(database: Database):
    ask(database, ["sealed", "plain"])

    def handle(job: Job, _: float) -> str:
        if job.subject == "sealed":
            raise Refused("keys", "KMS is away", whole=True)
        return "fetched"

    tally = run(database, handle)
    assert (tally.outcomes, tally.errors, list(tally.paused)) == ({"refused": 1, "fetched": 1}, {"error": 1}, ["keys"])
    sealed = pending(database, "sealed")
    assert sealed is not None
    assert (sealed.attempts, sealed.due_at) == (0, tally.paused["keys"])


def test_a_spent_quota_ends_the_run_and_counts_against_nobody(database: Database):
    ask(database, NAMES)
    at = database.now() + timedelta(minutes=5)

    def handle(job: Job, _: float) -> str:
        if job.subject == NAMES[3]:
            raise NotBefore(at)
        return "fetched"

    tally = run(database, handle, workers=1)
    assert (tally.outcomes, tally.not_before, tally.paused) == ({"fetched": 3, "quota": 1}, at, {})
    assert run(database, handle).not_before == at
    assert left(database) == {"due": 37}
    waiting = pending(database, NAMES[3])
    assert waiting is not None
    assert waiting.attempts == 0
    with database.transaction(ACCOUNT) as tx:
        assert [pause.dependency for pause in paused(tx)] == [quota_of(Queue.FETCH)]


# --- the pool


def test_a_slow_job_holds_up_nobody(database: Database):
    ask(database, ["a slow one", *NAMES])
    others_done, came_late = threading.Semaphore(0), threading.Event()

    def handle(job: Job, _: float) -> str:
        if job.subject == "a slow one":
            for _name in NAMES:
                assert others_done.acquire(timeout=10)
            # Also what comes while it alone is in hand.
            ask(database, ["late"])
            assert came_late.wait(10)
        elif job.subject == "late":
            came_late.set()
        else:
            others_done.release()
        return "fetched"

    assert run(database, handle, workers=2).outcomes == {"fetched": 42}


def test_the_handlers_see_the_context_of_the_run(database: Database):
    actor: ContextVar[str] = ContextVar("actor", default="nobody")
    actor.set("run 1")
    ask(database, NAMES[:3])
    assert run(database, lambda job, _: actor.get()).outcomes == {"run 1": 3}


def test_at_the_deadline_nothing_more_is_begun_and_nothing_stays_leased(database: Database):
    ask(database, NAMES)
    given: list[float] = []

    def handle(job: Job, seconds: float) -> str:
        given.append(seconds)
        time.sleep(0.2)
        return "fetched"

    tally = run(database, handle, workers=2, deadline_seconds=0.5)
    assert 2 <= tally.outcomes["fetched"] <= 8
    assert max(given) <= 0.5
    assert left(database) == {"due": 40 - tally.outcomes["fetched"]}


def test_a_handlers_time_ends_before_its_lease(database: Database):
    ask(database, ["A"])
    given: list[float] = []

    def handle(job: Job, seconds: float) -> str:
        given.append(seconds)
        return "fetched"

    run(database, handle, lease=timedelta(seconds=10))
    assert 8 < given[0] <= 9


def test_a_run_begins_as_many_as_it_may(database: Database):
    ask(database, NAMES)
    assert run(database, lambda job, _: "fetched", most=7).outcomes == {"fetched": 7}
    assert left(database) == {"due": 33}


def test_jobs_that_the_caller_claimed_are_handled_and_no_others_and_given_back_when_the_time_is_over(
    database: Database,
):
    ask(database, NAMES)
    with database.transaction(ACCOUNT) as tx:
        first, second = (
            claim_these(tx, Queue.FETCH, names, lease=LEASE, dependencies=()) for names in (NAMES[:9], NAMES[5:15])
        )
    assert [len(first), len(second)] == [9, 6], "what is in somebody's hand is not taken again"
    assert run(database, lambda job, _: "fetched", claimed=first).outcomes == {"fetched": 9}
    assert run(database, lambda job, _: "fetched", claimed=second, deadline_seconds=0).outcomes == {"released": 6}
    assert left(database) == {"due": 31}


def test_a_job_that_lost_its_lease_is_claimed_with_no_others(database: Database):
    """It may kill its worker, and those that are claimed with it would be blamed too."""
    ask(database, NAMES[:3])
    with database.transaction(ACCOUNT) as tx:
        claim_these(tx, Queue.FETCH, NAMES[:1], lease=timedelta(), dependencies=())
        assert [job.subject for job in claim_these(tx, Queue.FETCH, NAMES[:3], lease=LEASE, dependencies=())] == NAMES[
            1:3
        ]
        assert [job.subject for job in claim(tx, Queue.FETCH, limit=3, lease=LEASE)] == NAMES[:1]


def test_what_every_job_would_meet_ends_the_run_when_those_in_hand_are_done(database: Database):
    ask(database, NAMES)
    began, done = threading.Barrier(2), list[str]()

    def handle(job: Job, _: float) -> str:
        began.wait(10)
        if job.subject == NAMES[0]:
            raise OperationalError("select", {}, Exception("server closed the connection"))
        time.sleep(0.2)
        done.append(job.subject)
        return "fetched"

    with pytest.raises(OperationalError):
        run(database, handle, workers=2)
    assert done == [NAMES[1]]
    # Should this job alone meet it, the others come first in the next run.
    assert left(database) == {"due": 38, "waiting": 1}
    given_back = pending(database, NAMES[0])
    assert given_back is not None
    assert (given_back.attempts, given_back.last_error) == (0, None)


def test_a_caller_may_name_more_that_ends_the_run(database: Database):
    ask(database, NAMES)
    with pytest.raises(KeyError):
        run(database, lambda job, _: {}[job.subject], ends_run=lambda error: isinstance(error, KeyError))
    assert sum(left(database).values()) == 40


def test_a_worker_that_is_killed_gives_its_jobs_back(database: Database, database_url: str):
    ask(database, NAMES[:4])
    program = f"""
import os
from datetime import timedelta
from orders_pipeline.database.engine import Database
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.retry import DEFECTS
from orders_pipeline.work.runner import run_queue
run_queue(Database({database_url!r}), {ACCOUNT!r}, Queue.FETCH, lambda job, seconds: os._exit(9), workers=2,
          lease=timedelta(seconds=0.5), policy=DEFECTS, deadline_seconds=20)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == 9
    with database.transaction(ACCOUNT) as tx:
        tx.execute(text("select pg_sleep(0.6)"))
    assert run(database, lambda job, _: "fetched").outcomes == {"fetched": 4}


def test_a_job_whose_lease_was_lost_before_it_began_is_left_to_its_new_worker(database: Database):
    ask(database, ["A"])
    times = iter([0.0, 0.0, 0.0, *[30.0] * 20])

    def claim_meanwhile() -> float:
        now = next(times)
        if now == 30.0:
            with database.transaction(ACCOUNT) as tx:
                tx.execute(text("update pipeline.jobs set leased_until = clock_timestamp() where lost_leases = 0"))
                claim(tx, Queue.FETCH, limit=1, lease=LEASE)
        return now

    tally = run(database, lambda job, _: "fetched", clock=claim_meanwhile, deadline_seconds=100.0)
    assert tally.outcomes == {"lease_lost": 1}
    assert left(database) == {"leased": 1}


# --- the tally


def test_tallies_add_up_and_show_what_is_out_of_order():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    one = Tally({"fetched": 2}, errors={"Timeout": 1}, not_before=at)
    other = Tally({"fetched": 1, "retry": 1}, parked=1, errors={"Timeout": 1}, paused={"amazon": at})
    assert (one + other).as_metadata() == {
        "fetched": 3,
        "retry": 1,
        "jobs_parked": 1,
        "error_Timeout": 2,
        "paused_amazon": "until 2026-03-01T00:00:00+00:00",
        "quota_next_at": "2026-03-01T00:00:00+00:00",
    }
    assert Tally() + one == one
    assert Tally().as_metadata() == {"jobs_parked": 0}
