"""The buckets: never over the bound, never idle, events first, and what 429s and failures do to them.

Real PostgreSQL and real time, at rates of some ten a second.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from orders_pipeline.channels.amazon.errors import LimitNotBefore
from orders_pipeline.channels.amazon.quota.limits import BREAKER_FAILURES, Limits, LimitState
from orders_pipeline.channels.amazon.quota.operations import OPERATIONS, Operation
from orders_pipeline.channels.amazon.timing import Timing
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import Priority
from orders_pipeline_tests.sandbox.amazon_models import usage_plans

FAST = Operation("fast", "GET", "/fast", rate=50, burst=11, reserve=3, backfill_reserve=6)
# Its reserves are counted: nothing comes back meanwhile, however busy the machine is.
KEPT = Operation("kept", "GET", "/kept", rate=0.01, burst=11, reserve=3, backfill_reserve=6)
# Slower than this machine, however busy it is, lets five threads begin.
IN_TURN = Operation("in_turn", "GET", "/in-turn", rate=5, burst=2, reserve=0)
SLOW = Operation("slow", "GET", "/slow", rate=0.01, burst=3, reserve=0)


def limits_of(database: Database, timing: Timing | None = None) -> Limits:
    return Limits(database, application_id="app", seller_id="A1", region="na", timing=timing)


def state(limits: Limits, operation: Operation) -> LimitState:
    return next(one for one in limits.report() if one.operation == operation.name)


def drain(limits: Limits, operation: Operation, priority: Priority = Priority.EVENT) -> int:
    """Take until nothing is there at once."""
    taken = 0
    try:
        while True:
            limits.acquire(operation, priority, Timing().deadline(0))
            taken += 1
    except LimitNotBefore:
        return taken


def hammer(database_url: str, seconds: float, grants: list[float] | None = None) -> list[float]:
    """Take as often as the bucket allows, from several threads."""
    database = Database(database_url)
    limits = limits_of(database)
    moments: list[float] = [] if grants is None else grants
    end = time.time() + seconds

    def work() -> None:
        while time.time() < end:
            try:
                limits.acquire(FAST, Priority.EVENT, Timing().deadline(end - time.time()))
            except LimitNotBefore:
                return
            moments.append(time.time())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
    return moments


def hammer_process(database_url: str, seconds: float, answers: multiprocessing.Queue[list[float]]) -> None:
    answers.put(hammer(database_url, seconds))


def test_processes_share_a_bucket_without_excess_and_without_idle_tokens(
    database_url: str,
) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[list[float]] = context.Queue()
    database = Database(database_url)
    started = time.time()
    limits_of(database).acquire(FAST, Priority.EVENT, Timing().deadline(1))
    processes = [context.Process(target=hammer_process, args=(database_url, 3.0, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    moments = [moment for _ in processes for moment in answers.get(timeout=60)]
    for process in processes:
        process.join()
    database.close()
    moments.sort()
    # From before the first take, so that no pause of this machine's can make it look like more than there was.
    for taken, moment in enumerate(moments, 2):
        assert taken <= FAST.burst + FAST.rate * (moment - started)
    assert len(moments) >= 0.9 * FAST.rate * (moments[-1] - moments[0])


def test_a_take_that_the_deadline_cannot_wait_for_names_the_time_and_takes_nothing(database: Database) -> None:
    limits = limits_of(database)
    assert drain(limits, SLOW) == SLOW.burst - 1
    before = state(limits, SLOW)
    with pytest.raises(LimitNotBefore) as caught:
        limits.acquire(SLOW, Priority.EVENT, Timing().deadline(5))
    ahead = caught.value.not_before - database.now()
    assert timedelta(seconds=80) < ahead <= timedelta(seconds=100)
    assert "Ask again" in str(caught.value)
    assert state(limits, SLOW).granted == before.granted


def test_waiters_are_served_in_turn_and_the_wait_is_accounted_for(database: Database) -> None:
    limits = limits_of(database)
    drain(limits, IN_TURN)
    started = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: limits.acquire(IN_TURN, Priority.EVENT, Timing().deadline(10)), range(5)))
    took = time.monotonic() - started
    assert 0.6 <= took < 6
    # One waits for one token's time, the next for two, and so on: 3 s in all, less what was there already.
    assert 1 < state(limits, IN_TURN).waited_seconds <= 3.1


def test_sweeps_leave_a_reserve_for_events_and_backfills_leave_more(database: Database) -> None:
    limits = limits_of(database)
    assert drain(limits, KEPT, Priority.BACKFILL) == 4
    assert drain(limits, KEPT, Priority.SWEEP) == 3
    assert drain(limits, KEPT, Priority.EVENT) == 3


def test_a_sweep_goes_on_when_its_token_has_come(database: Database) -> None:
    limits = limits_of(database)
    drain(limits, FAST)
    limits.acquire(FAST, Priority.SWEEP, Timing().deadline(2))
    assert state(limits, FAST).tokens >= FAST.reserve - 0.5
    assert state(limits, FAST).waited_seconds > 0.05


def test_a_429_empties_the_bucket_blocks_it_and_voids_what_was_reserved(database: Database) -> None:
    limits = limits_of(database)
    drain(limits, SLOW)
    told: list[LimitNotBefore] = []

    def wait_long() -> None:
        # Enough for a reservation now, not for one behind the block.
        with pytest.raises(LimitNotBefore) as caught:
            limits.acquire(SLOW, Priority.EVENT, Timing().deadline(100.5))
        told.append(caught.value)

    thread = threading.Thread(target=wait_long)
    thread.start()
    time.sleep(0.2)
    assert state(limits, SLOW).tokens < 0
    limits.throttled(SLOW)
    thread.join(timeout=10)
    now = state(limits, SLOW)
    assert told
    assert now.throttled == 1
    assert now.tokens <= 0.1
    assert now.blocked_until is not None
    assert timedelta(seconds=95) < now.blocked_until - database.now() <= timedelta(seconds=150)


def test_an_announced_rate_is_followed_at_once_even_by_those_who_wait_already(database: Database) -> None:
    limits = limits_of(database)
    drain(limits, SLOW)
    done: list[float] = []
    started = time.monotonic()

    def wait() -> None:
        limits.acquire(SLOW, Priority.EVENT, Timing().deadline(200))
        done.append(time.monotonic() - started)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    permit = limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
    limits.learn_rate(SLOW, permit, "1.0")
    thread.join(timeout=10)
    assert done
    assert done[0] < 3
    assert state(limits, SLOW).rate == 1.0
    assert state(limits, SLOW).burst == SLOW.burst


@pytest.mark.parametrize("header", ["", "nonsense", "0", "-1", "nan", "inf", None])
def test_a_header_that_is_no_rate_changes_nothing(database: Database, header: str | None) -> None:
    limits = limits_of(database)
    permit = limits.acquire(SLOW, Priority.EVENT, Timing().deadline(1))
    limits.learn_rate(SLOW, permit, header)
    assert state(limits, SLOW).rate == SLOW.rate


@pytest.mark.parametrize(
    ("header", "share"),
    [("1e-300", 0.01), ("1e-320", 0.01), ("1e-9", 0.01), ("0.0025", 0.25), ("1e300", 100), ("9" * 300, 100)],
)
def test_an_announced_rate_is_followed_within_bounds(database: Database, header: str, share: float) -> None:
    limits = limits_of(database)
    limits.learn_rate(SLOW, limits.acquire(SLOW, Priority.EVENT, Timing().deadline(1)), header)
    assert state(limits, SLOW).rate == pytest.approx(SLOW.rate * share)
    drain(limits, SLOW)
    soonest = database.now() + timedelta(seconds=2 / (SLOW.rate * share))
    with pytest.raises(LimitNotBefore) as caught:
        for _ in range(SLOW.burst + 100):
            limits.acquire(SLOW, Priority.EVENT, Timing().deadline(0))
    assert caught.value.not_before <= soonest


@pytest.mark.parametrize("stored", [1e-320, 1e-300, 1e-9, 1e300])
def test_an_absurd_rate_that_an_earlier_release_stored_heals_before_the_next_call(
    database: Database, stored: float
) -> None:
    drain(limits_of(database), SLOW)
    with database.begin() as connection:
        connection.execute(text("update pipeline.amazon_rate_limits set rate = :rate"), {"rate": stored})
    limits = limits_of(database)
    with pytest.raises(LimitNotBefore) as caught:
        limits.acquire(SLOW, Priority.EVENT, Timing().deadline(0))
    assert state(limits, SLOW).rate == SLOW.rate
    assert caught.value.not_before <= database.now() + timedelta(seconds=1 / SLOW.rate)


def test_the_state_survives_a_restart(database_url: str) -> None:
    first = Database(database_url)
    drain(limits_of(first), SLOW)
    first.close()
    second = Database(database_url)
    assert drain(limits_of(second), SLOW) == 0
    second.close()


def test_the_breaker_opens_lets_one_probe_through_and_closes_by_itself(database: Database) -> None:
    limits = limits_of(database)
    for _ in range(BREAKER_FAILURES):
        limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
        limits.failed(FAST)
    assert state(limits, FAST).breaker == "open"
    with pytest.raises(LimitNotBefore) as caught:
        limits.acquire(FAST, Priority.EVENT, Timing().deadline(60))
    assert "breaker is open" in str(caught.value)
    with database.begin() as connection:
        connection.execute(
            text("update pipeline.amazon_rate_limits set breaker_open_until = clock_timestamp() - interval '1 s'")
        )
    assert state(limits, FAST).breaker == "half-open"
    probe = limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
    with pytest.raises(LimitNotBefore):
        limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
    limits.succeeded(FAST, probe)
    assert state(limits, FAST).breaker == "closed"
    limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))


def test_a_call_that_fails_for_hours_keeps_the_others_waiting_for_seconds(database: Database) -> None:
    limits = limits_of(database)
    limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
    for _ in range(60):
        limits.failed(FAST)
    until = state(limits, FAST).breaker_open_until
    assert until is not None
    assert until - database.now() < timedelta(seconds=25)


def test_a_failed_probe_keeps_the_breaker_open_for_longer(database: Database) -> None:
    limits = limits_of(database)
    for _ in range(BREAKER_FAILURES):
        limits.acquire(FAST, Priority.EVENT, Timing().deadline(1))
        limits.failed(FAST)
    first = state(limits, FAST).breaker_open_until
    assert first is not None
    first_pause = first - database.now()
    for _ in range(4):
        limits.failed(FAST)
    later = state(limits, FAST).breaker_open_until
    assert later is not None
    assert later - database.now() > 1.5 * first_pause


def test_an_interrupted_waiter_gives_its_reservation_back(database: Database) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    drain(limits_of(database), SLOW)
    before = state(limits_of(database), SLOW)
    with pytest.raises(KeyboardInterrupt):
        limits_of(database, Timing(sleep=interrupted)).acquire(SLOW, Priority.EVENT, Timing().deadline(300))
    after = state(limits_of(database), SLOW)
    assert after.granted == before.granted
    assert after.tokens == pytest.approx(before.tokens, abs=0.1)


def test_sellers_regions_and_operations_have_buckets_of_their_own(database: Database) -> None:
    drain(limits_of(database), SLOW)
    other_seller = Limits(database, application_id="app", seller_id="A2", region="na")
    other_region = Limits(database, application_id="app", seller_id="A1", region="eu")
    for limits in (other_seller, other_region):
        assert drain(limits, SLOW) == SLOW.burst - 1


def test_the_documented_rates_are_those_of_amazons_models() -> None:
    documented: dict[str, tuple[float, int]] = {}
    models = (
        "ordersV0",
        "tokens_2021-03-01",
        "notifications",
        "sellers",
        "reports_2021-06-30",
        "application_2023-11-30",
    )
    for model in models:
        documented |= usage_plans(f"{model}.json")
    newest = usage_plans("orders_2026-01-01.json")
    for operation in OPERATIONS:
        source = newest if operation.path.startswith("/orders/2026-01-01") else documented
        assert source[operation.name.removeprefix("v0.")] == (operation.rate, operation.burst), operation.name
