"""What everybody waits for: a pause needs two subjects, doubles only by probes, and ends at the first success."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.work import queue
from orders_pipeline.work.jobs import Queue, quota_of
from orders_pipeline.work.pauses import (
    LONGEST_PAUSE,
    Gate,
    Pause,
    PauseKind,
    RefusalState,
    decide_step,
    gate,
    note_refusal,
    note_success,
    pause_length,
    pause_until,
    paused,
)
from orders_pipeline.work.queue import claim, enqueue, release_refused

ACCOUNT, OTHER_ACCOUNT = "account-1", "account-2"
LEASE = timedelta(minutes=1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def end_pause(tx: AccountTransaction) -> None:
    tx.execute(text("update pipeline.paused_dependencies set until = clock_timestamp() - interval '1 ms'"))


@pytest.mark.parametrize(
    ("state", "subject", "step"),
    [
        # Nothing waits for one subject's refusals, however many, nor for those of one order's packages.
        (RefusalState("A", 0, None, None), "A", 0),
        (RefusalState("A:1", 0, None, None), "A:2", 0),
        (RefusalState("A", 0, None, None), "A:2", 0),
        (RefusalState("A", 0, None, None), "B", 1),
        (RefusalState(None, 0, None, None), None, 1),
        (RefusalState("A", 0, None, None), None, 1),
        # Parallel workers refused in the same moment are one step.
        (RefusalState("A", 1, FUTURE, None), "C", 1),
        (RefusalState("A", 3, FUTURE, None), None, 3),
        # After the pause only the probe's word counts: the others began before it.
        (RefusalState("A", 1, PAST, "D"), "C", 1),
        (RefusalState("A", 1, PAST, "D"), "D", 2),
        (RefusalState("A", 1, PAST, None), "C", 2),
        (RefusalState("A", 1, PAST, "D"), None, 2),
    ],
)
def test_which_refusal_makes_the_pause_longer(state: RefusalState, subject: str | None, step: int):
    assert decide_step(state, subject, NOW) == step


def test_pauses_double_from_five_seconds_to_five_minutes():
    assert [pause_length(step).total_seconds() for step in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pause_length(10_000) == LONGEST_PAUSE


def test_one_refused_subject_pauses_nothing(database: Database):
    with database.transaction(ACCOUNT) as tx:
        for _ in range(20):
            assert note_refusal(tx, "amazon", "A", "403") is None
        assert (gate(tx, ["amazon"]), paused(tx)) == (Gate.OPEN, [])
        note_success(tx, "amazon")
        # The count starts anew with a success between.
        assert note_refusal(tx, "amazon", "B", "403") is None


def test_a_second_subject_pauses_for_seconds_and_its_account_alone(database: Database):
    with database.transaction(ACCOUNT) as tx:
        note_refusal(tx, "amazon", "A", "403")
        pause = note_refusal(tx, "amazon", "B", "revoked \u202e" + "x" * 5000)
        assert pause == paused(tx)[0]
        assert pause is not None
        assert (pause.kind, pause.step, pause.probing) == (PauseKind.REFUSAL, 1, False)
        assert timedelta(seconds=4) < pause.until - pause.since <= timedelta(seconds=6)
        assert len(pause.reason) <= 1000
        assert "\u202e" not in pause.reason
        assert gate(tx, ["warehouse", "amazon"]) is Gate.CLOSED
        assert gate(tx, ["warehouse"]) is Gate.OPEN
    with database.transaction(OTHER_ACCOUNT) as tx:
        assert (gate(tx, ["amazon"]), paused(tx)) == (Gate.OPEN, [])


def test_a_pause_that_begins_while_a_worker_looks_for_jobs_keeps_it_from_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    def gate_and_then_a_refusal(tx: AccountTransaction, dependencies: Collection[str]) -> Gate:
        found = gate(tx, dependencies)
        with database.transaction(ACCOUNT) as beside:
            note_refusal(beside, "amazon", None, "403")
        return found

    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["A", "B"])
    monkeypatch.setattr(queue, "gate", gate_and_then_a_refusal)
    with database.transaction(ACCOUNT) as tx:
        assert claim(tx, Queue.FETCH, limit=10, lease=LEASE) == []


def test_a_refusal_that_is_nobodys_own_pauses_at_once(database: Database):
    with database.transaction(ACCOUNT) as tx:
        assert note_refusal(tx, "amazon", None, "no token is given out") is not None
        assert gate(tx, ["amazon"]) is Gate.CLOSED


def test_one_success_ends_the_pause_and_writes_nothing_where_nothing_was_refused(database: Database):
    with database.transaction(ACCOUNT) as tx:
        note_success(tx, "amazon")
        written = tx.execute(text("select pg_current_xact_id_if_assigned()")).scalar_one()
    assert written is None
    with database.transaction(ACCOUNT) as tx:
        for subject in "ABC":
            note_refusal(tx, "amazon", subject, "403")
        note_success(tx, "amazon")
        assert (gate(tx, ["amazon"]), paused(tx)) == (Gate.OPEN, [])


def test_after_the_pause_one_job_at_a_time_tries_and_never_the_same_again_and_again(database: Database):
    def claimed(limit: int = 10) -> list[str]:
        with database.transaction(ACCOUNT) as tx:
            return [job.subject for job in claim(tx, Queue.FETCH, limit=limit, lease=LEASE)]

    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["A"], priority=9)
        enqueue(tx, Queue.FETCH, ["B", "C"])
        note_refusal(tx, "amazon", None, "403")
    assert claimed() == []
    tried: list[str] = []
    for step in (2, 3, 4):
        with database.transaction(ACCOUNT) as tx:
            end_pause(tx)
            (probe,) = claim(tx, Queue.FETCH, limit=10, lease=LEASE)
            tried.append(probe.subject)
        assert claimed() == [], "one probes"
        with database.transaction(ACCOUNT) as tx:
            assert paused(tx)[0].probing
            pause = note_refusal(tx, "amazon", probe.subject, "403")
            assert pause is not None
            assert (pause.step, pause.probing) == (step, False)
            assert release_refused(tx, probe, "403")
        assert claimed() == []
    assert tried == ["A", "B", "C"]
    with database.transaction(ACCOUNT) as tx:
        note_success(tx, "amazon")
    assert claimed() == ["A", "B", "C"], "at once, although each was refused a moment ago"


def test_a_probe_whose_worker_died_is_followed_by_another(database: Database):
    with database.transaction(ACCOUNT) as tx:
        enqueue(tx, Queue.FETCH, ["A", "B"])
        note_refusal(tx, "amazon", None, "403")
        end_pause(tx)
    for _ in range(2):
        with database.transaction(ACCOUNT) as tx:
            assert len(claim(tx, Queue.FETCH, limit=10, lease=timedelta(0))) == 1


def test_a_pause_whose_end_is_known_ends_then_and_not_by_a_success(database: Database):
    quota = quota_of(Queue.FETCH)
    with database.transaction(ACCOUNT) as tx:
        later = database.now() + timedelta(minutes=1)
        pause_until(tx, quota, later, "the quota is spent")
        pause_until(tx, quota, later - timedelta(seconds=30), "an older answer")
        note_success(tx, quota)
        enqueue(tx, Queue.FETCH, ["A", "B"])
        enqueue(tx, Queue.VERIFY, ["A"])
        assert claim(tx, Queue.FETCH, limit=10, lease=LEASE) == []
        assert len(claim(tx, Queue.VERIFY, limit=10, lease=LEASE)) == 1, "another queue has a quota of its own"
        (pause,) = paused(tx)
        assert (pause.dependency, pause.kind, pause.until) == (quota, PauseKind.LIMIT, later)
        end_pause(tx)
        assert paused(tx) == list[Pause]()
        assert len(claim(tx, Queue.FETCH, limit=10, lease=LEASE)) == 2, "nothing is to be probed"
