"""The work queue: what is claimed, in which order, and that nothing is lost whatever its workers do."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.work.backlog import Backlog, backlog, next_due, parked, seconds_until_due
from orders_pipeline.work.jobs import BACKFILLED, Job, Queue, package_subject
from orders_pipeline.work.pauses import note_refusal, note_success, pause_until
from orders_pipeline.work.queue import (
    LEASES_LOST,
    MOST_LOST_LEASES,
    ZERO,
    claim,
    complete,
    enqueue,
    find,
    park,
    release,
    renew,
    retry,
    unpark,
    withdraw,
)
from orders_pipeline.work.retry import Policy
from orders_pipeline_tests.statement_plans import watched

ACCOUNT, OTHER_ACCOUNT = "account-1", "account-2"
SPARE = "fetch.spare_quota"
LEASE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
POLICY = Policy(first=timedelta(seconds=30), longest=HOUR, attempts=3)
SHIP_BY = datetime(2026, 3, 2, tzinfo=UTC)


def take(tx: AccountTransaction, limit: int = 10, lease: timedelta = LEASE, queue: Queue = Queue.PUSH) -> list[Job]:
    return claim(tx, queue, limit=limit, lease=lease)


def subjects(jobs: list[Job]) -> list[str]:
    return [job.subject for job in jobs]


def pending(tx: AccountTransaction, subject: str = "A", queue: Queue = Queue.PUSH) -> Job:
    found = find(tx, queue, subject)
    assert found is not None
    return found


def due_in(tx: AccountTransaction, subject: str = "A") -> float:
    """Seconds, rounded, until the job is due."""
    now = tx.execute(text("select clock_timestamp()")).scalar_one()
    return round((pending(tx, subject).due_at - now).total_seconds())


# --- enqueue and claim


def test_jobs_are_claimed_by_priority_then_ship_by_then_age(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["no ship-by, old"])
        enqueue(tx, Queue.PUSH, ["no ship-by, new"])
        deadlines = {"ships late": SHIP_BY + HOUR, "ships soon": SHIP_BY}
        enqueue(tx, Queue.PUSH, list(deadlines), ship_by=deadlines)
        enqueue(tx, Queue.PUSH, ["a cancellation"], priority=5)
        enqueue(tx, Queue.PUSH, ["later"], due_in=HOUR)
        assert subjects(take(tx, 2)) == ["a cancellation", "ships soon"]
        assert subjects(take(tx)) == ["ships late", "no ship-by, old", "no ship-by, new"]
        assert take(tx) == []


def test_of_what_only_a_backfill_asks_for_one_is_claimed_at_a_time_and_none_without_a_spare_token(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["a", "b", "c"], priority=BACKFILLED)
        enqueue(tx, Queue.FETCH, ["live"])
        assert subjects(take(tx, queue=Queue.FETCH)) == ["live", "a"]
        until = database.now() + HOUR
        pause_until(tx, SPARE, until, "the others are for live work")
        assert take(tx, queue=Queue.FETCH) == []
        assert next_due(tx, [Queue.FETCH]) is not None
        for subject in ("live", "a"):
            complete(tx, pending(tx, subject, Queue.FETCH))
        assert next_due(tx, [Queue.FETCH]) == until
        enqueue(tx, Queue.FETCH, ["live too"])
        enqueue(tx, Queue.FETCH, ["b"], priority=0)
        assert subjects(take(tx, queue=Queue.FETCH)) == ["b", "live too"]


def test_what_a_backfill_found_is_claimed_many_at_a_time_where_no_token_is_needed(database: Database):
    found = [f"{number:03}" for number in range(100)]
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.DECIDE, found, priority=BACKFILLED)
        enqueue(tx, Queue.DECIDE, ["live"])
        assert subjects(take(tx, 100, queue=Queue.DECIDE)) == ["live", *found[:99]]


def test_what_waits_for_a_spare_token_is_not_read_to_find_what_is_due(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, [f"{number:05}" for number in range(10_000)], priority=BACKFILLED)
        enqueue(tx, Queue.FETCH, ["live"], due_in=HOUR)
        enqueue(tx, Queue.PUSH, ["A"])
        pause_until(tx, SPARE, database.now() + timedelta(minutes=1), "live work's")
        tx.execute(text("analyze pipeline.jobs"))
    with watched(database.engine) as statements, database.transaction(ACCOUNT) as tx:
        waits = seconds_until_due(tx, [Queue.FETCH, Queue.PUSH])
        assert take(tx, queue=Queue.FETCH) == []
    assert (0 < waits[Queue.FETCH] <= 60, waits[Queue.PUSH] <= 0) == (True, True)
    assert statements.far_reads({"jobs"}) == {}


def test_what_is_enqueued_again_keeps_the_earlier_time_and_the_higher_priority(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"], due_in=HOUR, priority=2, ship_by=SHIP_BY)
        enqueue(tx, Queue.PUSH, ["A"], due_in=2 * HOUR, priority=1)
        job = pending(tx)
        assert (job.priority, job.ship_by, job.version) == (2, SHIP_BY, 2)
        assert due_in(tx) == 3600
        enqueue(tx, Queue.PUSH, ["A"], due_in=timedelta(minutes=1), priority=3, ship_by=SHIP_BY + HOUR)
        job = pending(tx)
        assert (job.priority, job.ship_by, job.version) == (3, SHIP_BY + HOUR, 3)
        assert due_in(tx) == 60
        # A priority below the usual one lasts too, unless another is named.
        enqueue(tx, Queue.PUSH, ["B"], priority=-5)
        enqueue(tx, Queue.PUSH, ["B"])
        assert pending(tx, "B").priority == -5


def test_accounts_and_queues_are_apart(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
    with database.transaction(OTHER_ACCOUNT) as tx:
        assert take(tx) == []
        assert find(tx, Queue.PUSH, "A") is None
        enqueue(tx, Queue.PUSH, ["B"])
    with database.transaction(ACCOUNT) as tx:
        assert take(tx, queue=Queue.ERASE) == []
        (job,) = take(tx)
    with database.transaction(OTHER_ACCOUNT) as tx:
        assert not complete(tx, job)
        assert withdraw(tx, Queue.PUSH, ["A"]) == 0


def test_a_subject_names_an_order_or_a_package_of_it(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.CONFIRM, [package_subject("111-1", "box:7"), "111-1"])
        found = {(job.order_id, job.package_id) for job in take(tx, queue=Queue.CONFIRM)}
    assert found == {("111-1", "box:7"), ("111-1", None)}


def test_two_who_claim_at_once_share_the_jobs(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, list("ABCD"))
    with database.transaction(ACCOUNT) as one, database.transaction(ACCOUNT) as other:
        assert subjects(take(one, 3)) == ["A", "B", "C"]
        assert subjects(take(other, 3)) == ["D"]


def test_overlapping_enqueues_of_many_never_wait_for_each_other_in_a_circle(database: Database):
    names = [f"order-{number}" for number in range(200)]

    def enqueue_shuffled(seed: int) -> None:
        for _ in range(5):
            with database.transaction(ACCOUNT) as tx:
                enqueue(tx, Queue.FETCH, random.Random(seed).sample(names, len(names)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enqueue_shuffled, range(6)))
    with database.transaction(ACCOUNT) as tx:
        assert {job.version for job in claim(tx, Queue.FETCH, limit=500, lease=LEASE)} == {30}


# --- answers


def test_what_is_done_is_gone_and_what_is_enqueued_meanwhile_stays(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A", "B", "C"])
        done, again, later = take(tx)
        assert complete(tx, done)
        assert find(tx, Queue.PUSH, "A") is None
        assert not complete(tx, done), "it was completed before"
        enqueue(tx, Queue.PUSH, ["B"])
        enqueue(tx, Queue.PUSH, ["C"], due_in=HOUR)
        assert take(tx) == [], "in hand"
        assert complete(tx, again)
        assert complete(tx, later)
        assert subjects(take(tx)) == ["B"]
        assert due_in(tx, "C") == 3600, "what was in hand is done; what was asked for since is due in its time"


def test_a_lost_lease_changes_nothing_any_more(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
        (lost,) = take(tx, lease=ZERO)
        (held,) = take(tx)
        before = pending(tx)
        assert not complete(tx, lost)
        assert retry(tx, lost, "late", POLICY) is None
        assert not release(tx, lost)
        assert not park(tx, lost, "late")
        assert not renew(tx, lost, lease=LEASE)
        assert pending(tx) == before
        assert renew(tx, held, lease=2 * HOUR)
        assert complete(tx, held)


def test_a_failure_waits_ever_longer_and_is_parked_with_its_reason_at_last(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
        for attempts, seconds in ((1, 30), (2, 60)):
            (job,) = take(tx)
            decision = retry(tx, job, ValueError("503 \x1b[31m" + "x" * 5000), POLICY)
            assert decision is not None
            assert decision.attempts == pending(tx).attempts == attempts
            assert seconds * 0.8 - 1 <= due_in(tx) <= seconds
            tx.execute(text("update pipeline.jobs set due_at = clock_timestamp()"))
        (job,) = take(tx)
        decision = retry(tx, job, "503 for ever", POLICY)
        assert decision is not None
        assert decision.parked
        (given_up,) = parked(tx)
        assert (given_up.subject, given_up.attempts, given_up.last_error) == ("A", 3, "503 for ever")
        assert parked(tx, queue=Queue.FETCH) == []
        assert take(tx) == []


def test_a_stored_error_is_bounded(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A", "B"])
        first, second = take(tx)
        retry(tx, first, "\x1b[31m" + "x" * 5000, POLICY)
        park(tx, second, "y" * 5000 + "\x00")
        for subject in "AB":
            error = pending(tx, subject).last_error
            assert error is not None
            assert len(error) <= 1000
            assert error.isprintable()


def test_a_release_counts_no_attempt(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
        (job,) = take(tx)
        release(tx, job)
        (job,) = take(tx)
        assert job.attempts == 0
        release(tx, job, due_at=database.now() + HOUR)
        assert (pending(tx).attempts, due_in(tx)) == (0, 3600)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (lambda tx, job: retry(tx, job, "503", replace(POLICY, first=HOUR)), 600),
        (lambda tx, job: retry(tx, job, "503", replace(POLICY, attempts=1)), 600),
        (lambda tx, job: park(tx, job, "422"), 600),
        (lambda tx, job: release(tx, job, due_at=job.due_at + 2 * HOUR), 600),
        # The work itself was not done: it is due as it was.
        (lambda tx, job: release(tx, job), 0),
    ],
)
def test_what_was_enqueued_since_the_claim_is_neither_parked_nor_put_off(
    database: Database, answer: Callable[[AccountTransaction, Job], object], seconds: int
):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
        (job,) = take(tx)
        enqueue(tx, Queue.PUSH, ["A"], due_in=timedelta(minutes=10))
        answer(tx, job)
        assert pending(tx).parked_at is None
        assert due_in(tx) == seconds


def test_what_is_parked_starts_anew_when_it_is_enqueued_or_unparked(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A", "B", "C"])
        enqueue(tx, Queue.FETCH, ["A"])
        for job in [*take(tx), *take(tx, queue=Queue.FETCH)]:
            park(tx, job, "422")
        enqueue(tx, Queue.PUSH, ["A"], due_in=HOUR)
        job = pending(tx)
        assert (job.parked_at, job.attempts, job.last_error, due_in(tx)) == (None, 0, None, 3600)
        assert unpark(tx, queue=Queue.PUSH, subjects=["B", "not there"]) == 1
        assert subjects(take(tx)) == ["B"]
        assert unpark(tx) == 2
        assert [(job.queue, job.subject, job.attempts) for job in (*take(tx), *take(tx, queue=Queue.FETCH))] == [
            (Queue.PUSH, "C", 0),
            (Queue.FETCH, "A", 0),
        ]


def test_what_is_withdrawn_is_gone_also_from_the_hands_of_a_worker(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A", "B", "C"])
        (job,) = take(tx, 1)
        assert withdraw(tx, Queue.PUSH, ["A", "B"]) == 2
        assert not complete(tx, job)
        assert subjects(take(tx)) == ["C"]


# --- workers that die


def test_a_job_that_kills_its_workers_is_parked_and_those_beside_it_are_not(database: Database):
    """Each round claims all that it may, and dies with all of it in hand."""
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["killer", *(f"innocent {number}" for number in range(6))])
        done: set[str] = set()
        for _ in range(60):
            jobs = take(tx, 8, lease=HOUR)
            if "killer" not in subjects(jobs):
                for job in jobs:
                    complete(tx, job)
                    done.add(job.subject)
            tx.execute(text("update pipeline.jobs set leased_until = clock_timestamp() where lease_id is not null"))
        (killer,) = parked(tx)
        assert (killer.subject, killer.last_error, killer.lost_leases) == ("killer", LEASES_LOST, MOST_LOST_LEASES)
        assert len(done) == 6


def test_an_answer_ends_the_count_of_lost_leases(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["A"])
        for _ in range(3):
            for _ in range(MOST_LOST_LEASES - 1):
                assert take(tx, lease=ZERO)
            (job,) = take(tx)
            assert job.lost_leases == MOST_LOST_LEASES - 1
            assert retry(tx, job, "503", replace(POLICY, first=ZERO, attempts=None))


# --- what is pending


def test_the_backlog_counts_each_job_once(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.PUSH, ["parked"])
        park(tx, take(tx)[0], "422")
        enqueue(tx, Queue.PUSH, ["in hand"])
        take(tx)
        enqueue(tx, Queue.PUSH, ["died"])
        take(tx, lease=ZERO)
        enqueue(tx, Queue.PUSH, ["due"])
        enqueue(tx, Queue.PUSH, ["later"], due_in=HOUR)
        found = {one.queue: one for one in backlog(tx)}
        oldest = found[Queue.PUSH].oldest_due_at
        assert found[Queue.PUSH] == Backlog(Queue.PUSH, due=2, leased=1, waiting=1, parked=1, oldest_due_at=oldest)
        assert oldest is not None
        assert list(found) == list(Queue)
        assert found[Queue.FETCH] == Backlog(Queue.FETCH, 0, 0, 0, 0, None)


def test_the_next_due_time_minds_leases_and_pauses(database: Database):
    with database.transaction(ACCOUNT) as tx:
        assert next_due(tx) is None
        enqueue(tx, Queue.FETCH, ["A"])
        enqueue(tx, Queue.PUSH, ["A"], due_in=HOUR)
        assert next_due(tx) == find_due(tx, Queue.FETCH)
        assert next_due(tx, [Queue.PUSH]) == find_due(tx, Queue.PUSH)
        assert next_due(tx, [Queue.VERIFY]) is None
        (job,) = take(tx, queue=Queue.FETCH)
        assert next_due(tx) == job.leased_until
        until = database.now() + timedelta(minutes=5)
        pause_until(tx, "amazon", until, "maintenance")
        assert next_due(tx) == until
        park(tx, job, "404")
        assert next_due(tx) == find_due(tx, Queue.PUSH)


def test_while_one_job_probes_a_dependency_nothing_else_is_due(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["A"], priority=9)
        enqueue(tx, Queue.FETCH, ["B"])
        enqueue(tx, Queue.CONFIRM, ["A:1"])
        note_refusal(tx, "amazon", None, "403")
        tx.execute(text("update pipeline.paused_dependencies set until = clock_timestamp()"))
        (probe,) = take(tx, queue=Queue.FETCH)
        assert probe.leased_until is not None
        assert next_due(tx) == probe.leased_until, "a run that is started now would find nothing"
        assert next_due(tx, [Queue.CONFIRM]) == probe.leased_until, "what needs the same waits too"
        assert release(tx, probe)
        next_at = next_due(tx)
        assert next_at is not None
        assert next_at < database.now(), "it gave no answer: another may try"
        (probe,) = take(tx, queue=Queue.FETCH)
        note_success(tx, "amazon")
        assert next_due(tx) == find_due(tx, Queue.FETCH, "B")


def find_due(tx: AccountTransaction, queue: Queue, subject: str = "A") -> datetime:
    job = find(tx, queue, subject)
    assert job is not None
    return job.due_at


# --- the promise of it all


def test_whatever_workers_do_nothing_is_lost_and_nothing_is_done_by_two_at_once(database_url: str):
    """Six workers that complete, fail, give back, die and hang, beside two that enqueue; then the queue is emptied.

    `wanted` counts what was asked for, in the transaction of each enqueue; `handled` what a worker had read of it when
    it completed. Claims are logged with their times by the database's clock, in the transactions that they are about.
    """
    database = Database(database_url, pool_size=10)
    with database.begin() as connection:
        connection.execute(text("create table wanted (subject text primary key, wanted int, handled int default 0)"))
        connection.execute(
            text(
                "create table claims (subject text, lease_id uuid, claimed_at timestamptz, until timestamptz, "
                "ended_at timestamptz)"
            )
        )
    names = [f"order-{number}" for number in range(12)]
    lease, policy = timedelta(milliseconds=250), Policy(timedelta(milliseconds=5), timedelta(milliseconds=20), None)
    stop = threading.Event()

    def ask(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            chosen = sorted(dice.sample(names, dice.randint(1, 5)))
            with database.transaction(ACCOUNT) as tx:
                for name in chosen:
                    tx.execute(
                        text(
                            "insert into wanted values (:name, 1) "
                            "on conflict (subject) do update set wanted = wanted.wanted + 1"
                        ),
                        {"name": name},
                    )
                enqueue(tx, Queue.FETCH, chosen, due_in=timedelta(milliseconds=dice.choice([0, 0, 20])))
            time.sleep(dice.random() * 0.01)

    def answer(job: Job, read: int, what: str) -> None:
        with database.transaction(ACCOUNT) as tx:
            match what:
                case "complete":
                    # The order's row before its job.
                    tx.execute(text("select from wanted where subject = :s for update"), {"s": job.subject})
                    if held := complete(tx, job):
                        tx.execute(
                            text("update wanted set handled = :read where subject = :s"),
                            {"read": read, "s": job.subject},
                        )
                case "retry":
                    held = retry(tx, job, "503", policy) is not None
                case "park":
                    held = park(tx, job, "422")
                case _:
                    held = release(tx, job)
            if held:
                tx.execute(
                    text("update claims set ended_at = clock_timestamp() where lease_id = :id"), {"id": job.lease_id}
                )

    def work(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            work_once(dice, ["complete"] * 6 + ["retry", "release", "park", "die", "hang"])
            if dice.random() < 0.05:
                with database.transaction(ACCOUNT) as tx:
                    unpark(tx, queue=Queue.FETCH)

    def work_once(dice: random.Random, what: list[str]) -> bool:
        with database.transaction(ACCOUNT) as tx:
            claimed = claim(tx, Queue.FETCH, limit=3, lease=lease)
            for job in claimed:
                tx.execute(
                    text("insert into claims values (:s, :id, clock_timestamp(), :until)"),
                    {"s": job.subject, "id": job.lease_id, "until": job.leased_until},
                )
        for job in claimed:
            with database.transaction(ACCOUNT) as tx:
                read = tx.execute(text("select wanted from wanted where subject = :s"), {"s": job.subject}).scalar_one()
            chosen = dice.choice(what)
            time.sleep(dice.random() * 0.005 + (0.3 if chosen == "hang" else 0))
            if chosen != "die":
                answer(job, read, "complete" if chosen == "hang" else chosen)
        return bool(claimed)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, seed) for seed in range(6)] + [pool.submit(ask, seed) for seed in (100, 101)]
        time.sleep(4)
        stop.set()
        for future in running:
            future.result()
    emptied = time.monotonic() + 20
    while time.monotonic() < emptied:
        with database.transaction(ACCOUNT) as tx:
            unpark(tx)
            if next_due(tx) is None:
                break
        if not work_once(random.Random(0), ["complete"]):
            time.sleep(0.02)
    with database.begin() as connection:
        left = connection.execute(text("select * from wanted where handled <> wanted")).all()
        numbers = connection.execute(
            text("select count(*) as claims, count(*) filter (where ended_at is null) as abandoned from claims")
        ).one()
        at_once = connection.execute(
            text(
                "select * from (select *, lead(claimed_at) over (partition by subject order by claimed_at) as next_at "
                "from claims) c where next_at < least(coalesce(ended_at, until), until)"
            )
        ).all()
    database.close()
    assert left == [], "every request was followed by a look at what it asked for"
    assert at_once == [], "within its lease a job is one worker's"
    assert numbers.claims > 200
    assert numbers.abandoned > 5
