"""Cut-over: what an old process already ships is shown and waits, until a person adopts it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.fulfillment.eligibility import MERCHANT, ItemFacts, OrderFacts, Wanted, decide
from orders_pipeline.operations.adopt import OrdersNotAdopted, adopt_orders, orders_to_adopt
from orders_pipeline.operations.replay import recover_order
from orders_pipeline.orders.ownership import PURCHASED_BEFORE_START, note_start
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World

LATER = datetime.now(UTC) + timedelta(days=1)


def _start(world: World, start_at: datetime | None = None, *, first: datetime | None = None) -> None:
    with world.database.transaction(SELLER) as tx:
        note_start(tx, start_at)
    if first is not None:
        world.sql("update pipeline.account_starts set first_started_at = :first", first=first)


def _reasons(world: World, order_id: str) -> list[str]:
    return list(world.one("pipeline.fulfillment_orders", order_id).hold_reasons)


def _adopt(world: World, *order_ids: str, everything: bool = False) -> tuple[int, int]:
    counts = adopt_orders(
        world.database, world.vault.audit, account_id=SELLER, order_ids=order_ids, everything=everything
    )
    return int(counts["adopted"]), int(counts["adopted_before"])


def _old_process_ships(world: World, order_id: str, shipped_at: datetime) -> None:
    item = world.amazon.orders[order_id].items[0]
    world.warehouse.events.append(
        {
            "event_id": f"old-{order_id}",
            "kind": "shipped",
            "order_ref": order_id,
            "package_id": f"old-{order_id}",
            "carrier": "UPS",
            "service": None,
            "tracking_number": "1Z0000000000000001",
            "shipped_at": shipped_at.isoformat(),
            "lines": [{"line_ref": item.item_id, "quantity": item.quantity}],
        }
    )


def test_orders_from_before_orders_start_at_are_shown_and_not_pushed(world: World):
    _start(world, LATER)
    order_id = world.order()
    world.sync()
    assert world.state(order_id) == "held"
    assert _reasons(world, order_id) == [PURCHASED_BEFORE_START]
    assert [row.order_id for row in orders_to_adopt(world.database, account_id=SELLER)] == [order_id]
    assert order_id not in world.warehouse.orders


def test_an_adopted_order_is_pushed_once_and_who_did_it_is_in_the_audit_log(world: World):
    _start(world, LATER)
    order_id = world.order()
    world.sync()
    assert _adopt(world, order_id) == (1, 0)
    assert _adopt(world, order_id) == (0, 1)
    world.sync()
    assert world.state(order_id) == "accepted"
    assert world.calls(order_id)["push"] == 1
    written = world.rows("audit.entries", "order_id, outcome", "action = 'adopt_order'")
    assert [tuple(row) for row in written] == [(order_id, "adopted")]


def test_adopting_everything_takes_what_waits_and_nothing_else(world: World):
    _start(world, LATER)
    waiting = [world.order(), world.order()]
    world.sync()
    assert _adopt(world, everything=True) == (2, 0)
    later = world.order()
    world.sync()
    assert [world.state(order_id) for order_id in waiting] == ["accepted", "accepted"]
    assert world.state(later) == "held"


def test_a_dry_run_counts_what_it_would_adopt_and_changes_nothing(world: World, audit: AuditLog):
    _start(world, LATER)
    ours, waiting = world.order(), world.order()
    world.sync()
    _adopt(world, ours)
    world.sync()
    for named, counts in (((ours, waiting), (1, 1)), ((), (1, 0))):
        told = adopt_orders(
            world.database, audit, account_id=SELLER, order_ids=named, everything=not named, dry_run=True
        )
        assert (told["would_adopt"], told.get("adopted_before")) == counts
    assert len(world.rows("audit.entries", "order_id, action", "action = 'adopt_order'")) == 1
    assert [row.order_id for row in orders_to_adopt(world.database, account_id=SELLER)] == [waiting]


def test_an_order_may_be_adopted_before_anybody_announced_it(world: World):
    _start(world, LATER)
    order_id = world.order(hear=False)
    assert _adopt(world, order_id) == (1, 0)
    world.sync()
    assert world.state(order_id) == "accepted"


@pytest.mark.parametrize("order_ids", [("902-1845936-5435065", "maria"), ("'; drop table orders; --",)])
def test_a_wrong_id_adopts_nothing_and_is_not_repeated(world: World, order_ids: tuple[str, ...]):
    with pytest.raises(OrdersNotAdopted, match="nothing was adopted") as refused:
        _adopt(world, *order_ids)
    assert order_ids[-1] not in str(refused.value)
    assert not world.rows("pipeline.orders", "order_id, status")


def test_naming_nothing_or_both_is_refused(world: World):
    for order_ids, everything in (((), False), (("902-1845936-5435065",), True)):
        with pytest.raises(OrdersNotAdopted, match="one of the two"):
            _adopt(world, *order_ids, everything=everything)


def test_no_address_is_kept_of_an_order_that_an_old_process_ships(world: World):
    _start(world, LATER)
    order_id = world.order()
    world.sync()
    assert not world.rows("vault.records", "subject_id, kind", "kind = 'shipping_details'")
    _adopt(world, order_id)
    world.fetch()
    assert [row.subject_id for row in world.rows("vault.records", "subject_id, kind", "kind = 'shipping_details'")] == [
        order_id
    ]


def test_without_a_setting_what_a_notification_announces_is_ours(world: World):
    _start(world, first=LATER)
    order_id = world.order()
    world.sync()
    assert world.state(order_id) == "accepted"


def test_searched_orders_from_before_the_first_start_wait(world: World):
    _start(world, first=LATER)
    order_id = world.order(hear=False)
    world.sweep()
    world.sync()
    assert _reasons(world, order_id) == [PURCHASED_BEFORE_START]
    # A person who names it asks for it.
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=order_id)
    world.sync()
    assert world.state(order_id) == "accepted"


def test_an_order_purchased_after_the_start_is_ours_however_it_was_found(world: World):
    _start(world, datetime.now(UTC) - timedelta(days=1))
    announced, found = world.order(), world.order(hear=False)
    world.sweep()
    world.sync()
    assert [world.state(order_id) for order_id in (announced, found)] == ["accepted", "accepted"]


def test_a_changed_start_decides_again_only_about_waiting_orders(world: World):
    _start(world)
    pushed = world.accepted()
    _start(world, LATER)
    waiting = world.order()
    world.sync()
    assert (world.state(pushed), world.state(waiting)) == ("accepted", "held")
    _start(world, datetime.now(UTC) - timedelta(days=1))
    world.sync()
    assert (world.state(pushed), world.state(waiting)) == ("accepted", "accepted")


def test_packages_of_an_old_process_wait_for_adoption(world: World):
    _start(world, LATER)
    order_id = world.order()
    world.sync()
    _old_process_ships(world, order_id, datetime.now(UTC))
    assert world.poll().outcomes == {PURCHASED_BEFORE_START: 1}
    world.confirm()
    assert not world.ports.told
    _adopt(world, order_id)
    assert world.poll().outcomes == {"shipped": 1}
    world.confirm()
    assert [confirmation.order_id for confirmation in world.ports.told] == [order_id]


def test_only_unknown_packages_from_after_the_start_raise_an_alert(world: World):
    _start(world)
    old, new = world.order(hear=False), world.order(hear=False)
    _old_process_ships(world, old, datetime.now(UTC) - timedelta(hours=1))
    _old_process_ships(world, new, datetime.now(UTC))
    assert world.poll().outcomes == {PURCHASED_BEFORE_START: 1, "unknown_order": 1}
    assert [alert.key for alert in world.alerts().values()] == [f"package.unknown_order:{new}"]


def test_the_decision_names_the_start_alone_and_what_is_over_stays_over():
    item = ItemFacts(1, 0, cancelled=False, has_sku=False, programs=frozenset())

    def facts(status: str) -> OrderFacts:
        return OrderFacts(
            status=status, fulfilled_by=MERCHANT, fetched=True, has_address=False, cancellation_requested=True,
            programs=frozenset(), items=(item,), awaits_adoption=True,
        )  # fmt: skip

    waits = decide(facts("UNSHIPPED"))
    assert (waits.wanted, waits.reasons) == (Wanted.HOLD, (PURCHASED_BEFORE_START,))
    assert decide(facts("CANCELLED")).wanted is Wanted.CANCEL
    assert decide(facts("SHIPPED")).wanted is Wanted.CLOSE
