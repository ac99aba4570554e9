"""One order's events that cannot be applied are set aside, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.intake import apply_events
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.operations.replay import replay_parked
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The orders that deciding about an event crashes for, after it has written something of them."""
    orders: set[str] = set()
    really = apply_events._Batch._apply_to_order

    def crash(batch: Any, order_id: str, events: Sequence[AnyRow], *rest: Any) -> Any:
        result = really(batch, order_id, events, *rest)
        if order_id in orders:
            raise ValueError("7 Nightingale Row")
        return result

    monkeypatch.setattr(apply_events._Batch, "_apply_to_order", crash)
    return orders


def test_a_pass_ends_at_its_deadline_and_the_next_one_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    """A month of a backfill's events does not outlast the run."""
    monkeypatch.setattr(apply_events, "EVENTS_A_BATCH", 1)
    for _ in range(3):
        world.order()
    world.drain()
    only: dict[str, Any] = {"account_id": SELLER, "marketplace_ids": world.marketplace_ids}
    passed = [apply_events.apply_events(world.database, deadline_seconds=seconds, **only) for seconds in (0, 45, 0)]
    assert [sum(tally.outcomes.values()) for tally in passed] == [1, 2, 0]


def test_events_that_cannot_be_applied_are_set_aside_and_the_others_go_on(world: World, broken: set[str]):
    bad, *others = [world.order() for _ in range(5)]
    broken.add(bad)
    world.drain()
    tally = world.absorb()
    assert (tally.outcomes, tally.parked, tally.errors) == ({"fetch": 4}, 1, {"ValueError": 1})
    world.sync()
    assert {world.state(order_id) for order_id in others} == {"accepted"}
    assert world.rows("pipeline.orders", "order_id, status", f"order_id = '{bad}'") == [], "nothing of it is half done"
    alert = world.alerts()["order.events_parked"]
    assert bad in alert.message
    assert "Nightingale" not in world.everything_stored()
    world.decide()
    with world.database.transaction(SELLER) as tx:
        assert not pending_work(tx).for_sync, "no run is asked for over and over"


def test_an_order_whose_cancellation_could_not_be_applied_is_not_pushed(world: World, broken: set[str]):
    order_id = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    broken.add(order_id)
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    assert world.calls(order_id) == {}
    (job,) = world.jobs(Queue.PUSH)
    assert job.due_at - world.database.now() > timedelta(minutes=5), "no run is asked for until a person has acted"
    broken.clear()
    replay_parked(world.database, world.vault.audit, account_id=SELLER, stage="events")
    world.sync()
    assert world.state(order_id) == "cancelled"


def test_a_replay_applies_what_was_set_aside(world: World, broken: set[str]):
    bad = world.order()
    broken.add(bad)
    world.sync()
    broken.clear()
    replay_parked(world.database, world.vault.audit, account_id=SELLER, stage="events")
    world.sync()
    assert world.state(bad) == "accepted"
    assert world.alerts() == {}


def test_what_happens_now_does_not_wait_for_the_events_of_a_past_month(world: World, monkeypatch: pytest.MonkeyPatch):
    """A report's events come all at once, a hundred thousand of them; a live order's fetch waits for its own event."""
    monkeypatch.setattr(apply_events, "EVENTS_A_BATCH", 2)
    applied: list[str] = []
    really = apply_events._Batch._apply_to_order

    def note(batch: Any, order_id: str, *rest: Any) -> Any:
        applied.append(order_id)
        return really(batch, order_id, *rest)

    monkeypatch.setattr(apply_events._Batch, "_apply_to_order", note)
    past = [world.order() for _ in range(5)]
    world.drain()
    world.sql("update pipeline.order_events set source = 'backfill'")
    live = world.order()
    world.drain()
    world.absorb()
    assert live in applied[:2]
    assert sorted(applied) == sorted([live, *past]), "none is left out, and none is applied twice"


def test_nothing_is_decided_about_an_order_before_amazon_was_asked_about_it(world: World):
    order_id = world.order()
    world.drain()
    world.absorb()
    assert [job.queue for job in world.jobs()] == [Queue.FETCH]
    world.fetch()
    assert world.decide().outcomes == {"queued": 1}
    assert world.state(order_id) == "queued"
