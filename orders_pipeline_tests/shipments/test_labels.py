"""A box with several labels, reported in any order: the one that travels is the one that Amazon is told of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from types import SimpleNamespace

import pytest

from orders_pipeline.shipments.labels import label_to_go_back_to, read_labels
from orders_pipeline_tests.world import World

NEW = "1Z999AA10123456784"


def _two_labels(world: World, *, told: bool = False) -> tuple[str, str]:
    """A package that was labelled, voided and labelled anew: three events; its order and its id."""
    order_id = world.accepted()
    package_id = world.ship(order_id)
    if told:
        world.confirm_and_verify()
    world.warehouse.void(order_id, package_id)
    world.warehouse.relabel(order_id, package_id, NEW)
    return order_id, package_id


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("one_by_one", [False, True], ids=["in one page", "one by one"])
def test_the_new_label_travels_in_whatever_order_the_events_come(world: World, order: Sequence[int], one_by_one: bool):
    order_id, package_id = _two_labels(world)
    events = [world.warehouse.events[place] for place in order]
    world.warehouse.events.clear()
    for event in events:
        world.warehouse.events.append(event)
        if one_by_one:
            world.confirm_and_verify()
            world.make_due()
    world.run_until_idle()
    package = world.package(package_id)
    assert (package.state, package.tracking_number) == ("confirmed", NEW)
    assert world.shown(order_id) == {"1": NEW}
    assert world.alerts() == {}


@pytest.mark.parametrize("told", [False, True], ids=["before Amazon was told", "after Amazon was told"])
def test_a_void_without_a_number_that_may_mean_either_label_is_told_to_a_person(world: World, told: bool):
    order_id, package_id = _two_labels(world, told=told)
    void, report = world.warehouse.events[-2:]
    world.warehouse.events[-2:] = [report, {**void, "tracking_number": None}]
    world.run_until_idle()
    assert world.shown(order_id) == {"1": NEW}
    assert world.package(package_id).state == "confirmed"
    assert "which label travels" in world.alerts()["package.void_unclear"].what_to_do
    world.warehouse.events.append({**void, "event_id": "with its number", "tracking_number": NEW})
    world.warehouse.events.append({**void, "event_id": "the other"})
    world.run_until_idle()
    assert world.package(package_id).state == "awaits_replacement"
    assert world.alerts().keys() == {"package.voided"}


def test_a_void_without_a_number_of_the_only_label_voids_it(world: World):
    order_id, package_id = _two_labels(world)
    void = world.warehouse.events[-2]
    world.warehouse.events.append({**void, "event_id": "the new one too", "tracking_number": None})
    world.run_until_idle()
    assert (world.package(package_id).state, world.ports.told) == ("voided", [])
    assert world.shown(order_id) == {}


def test_a_package_that_goes_back_to_an_older_label_is_told(world: World):
    order_id, package_id = _two_labels(world)
    report, void, newer = world.warehouse.events
    old = report["tracking_number"]
    newer["shipped_at"] = world.database.now().isoformat()
    world.warehouse.events[:] = [report, newer, {**void, "tracking_number": NEW}]
    world.run_until_idle()
    assert world.shown(order_id) == {"1": old}
    assert world.package(package_id).state == "confirmed"
    assert world.alerts()["package.earlier_label"].severity == "warning"


def test_a_relabel_without_lines_takes_the_place_of_the_voided_package_of_its_items(world: World):
    order_id = world.accepted()
    first = world.ship(order_id)
    world.warehouse.void(order_id, first)
    second = world.ship(order_id)
    world.confirm_and_verify()
    world.warehouse.void(order_id, second)
    world.confirm_and_verify()
    world.warehouse.relabel(order_id, first, NEW)
    world.warehouse.events[-1]["lines"] = []
    world.run_until_idle()
    assert world.shown(order_id) == {"2": NEW}, "not beside the dead one"
    assert (world.package(first).state, world.package(second).state) == ("confirmed", "replaced")
    assert world.alerts() == {}


def _event(word: str) -> SimpleNamespace:
    kind, number = word[0], word[1:] or None
    return SimpleNamespace(kind={"s": "shipped", "v": "voided"}[kind], tracking_number=number)


@pytest.mark.parametrize(
    ("events", "travels"),
    [
        ("sA", "A"), ("sA vA", None), ("sA sA vA", None), ("sA vA sA", "A"), ("vA sA", None), ("v sA", None),
        ("sA sB vA", "B"), ("sB sA vA", "B"), ("sA sB vB", "A"), ("sA sB v", "B"), ("sA vA sB v", None),
        ("sA vB", None), ("sA vB sB", "A"), ("sA vB sB vA", None), ("sA vA vB sB", None), ("sA vB sC", None),
        ("s", None), ("s v sB", "B"), ("s sA v", None), ("s vA sA", None), ("sA s v", None), ("v v sA sB", "B"),
    ],
)  # fmt: skip
def test_which_label_travels(events: str, travels: str | None):
    label = label_to_go_back_to(read_labels(_event(word) for word in events.split()))  # type: ignore[arg-type]
    assert (label.tracking_number if label is not None else None) == travels
