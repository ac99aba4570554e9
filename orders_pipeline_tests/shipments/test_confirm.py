"""Confirmed means verified: what each answer of Amazon's, or its silence, leads to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from orders_pipeline.channels.amazon.carriers import COLUMNS, CarrierTable, read_table
from orders_pipeline.channels.amazon.errors import (
    AmazonBadRequest,
    AmazonError,
    AmazonRoleMissing,
    AmazonUnavailable,
    LimitNotBefore,
)
from orders_pipeline.database.engine import Database
from orders_pipeline.model.untrusted_text import LONGEST_ERROR
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.operations.replay import recover_order
from orders_pipeline.shipments.failures import CONFIRM_POLICY
from orders_pipeline.work.alerts import ALERTS as WORK_ALERTS
from orders_pipeline.work.backlog import next_due
from orders_pipeline.work.jobs import AMAZON, Job, Queue, package_subject
from orders_pipeline.work.queue import claim, enqueue, find, park, retry
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World, open_world

ROLE_MISSING = AmazonRoleMissing("confirmShipment answered 403", operation="confirmShipment", status=403)
SERVER_ERROR = AmazonUnavailable("confirmShipment answered 500", operation="confirmShipment", status=500)
REFUSED = AmazonBadRequest("confirmShipment answered 400", operation="confirmShipment", status=400)
RESET = AmazonUnavailable("confirmShipment could not be reached", operation="confirmShipment")
INDIA = "A21TJRUUN4KGV"


def _shipped(world: World, *, carrier: str = "UPS", **specification: object) -> tuple[str, str]:
    order_id = world.accepted(**specification)
    return order_id, world.ship(order_id, carrier=carrier)


def _job(world: World, package_id: str) -> Job:
    with world.database.transaction(SELLER) as tx:
        job = find(tx, Queue.CONFIRM, package_subject(world.package(package_id).order_id, package_id))
    assert job is not None
    return job


def _pass_ship_by(world: World, by: timedelta) -> None:
    """Every package's ship-by time was so long ago, and its work is due."""
    passed = world.database.now() - by
    world.sql("update pipeline.shipment_confirmations set ship_by = :passed", passed=passed)
    world.sql("update pipeline.jobs set ship_by = :passed where queue = 'confirm'", passed=passed)
    world.make_due()


def _mapped(line: str) -> CarrierTable:
    return read_table([",".join(COLUMNS), line], "carriers.csv")


def test_a_204_is_not_a_confirmation_until_amazon_shows_the_package(world: World):
    _, package_id = _shipped(world)
    world.poll()
    world.confirm()
    assert world.package(package_id).state == "accepted"
    world.make_due()
    world.verify()
    assert world.package(package_id).state == "confirmed"


def test_a_dropped_confirmation_is_resent_and_then_an_alert(world: World):
    _, package_id = _shipped(world)
    world.amazon.faults.add("dropped", "confirmShipment", times=None)
    for _ in range(40):
        world.confirm_and_verify()
        world.make_due()
    assert world.package(package_id).state == "dropped"
    assert len(world.ports.told) == 4
    assert "Amazon drops it" in world.alerts()["package.dropped"].message


def test_a_confirmation_that_was_dropped_once_is_sent_again_and_confirmed(world: World):
    _, package_id = _shipped(world)
    world.amazon.faults.add("dropped", "confirmShipment")
    for _ in range(6):
        world.confirm_and_verify()
        world.make_due()
    assert world.package(package_id).state == "confirmed"
    assert len(world.ports.told) == 2


def test_a_confirmation_with_a_lost_answer_is_verified_and_not_repeated(world: World):
    _, package_id = _shipped(world)
    world.faults.fail("confirm", RESET, after=True)
    world.poll()
    world.confirm()
    assert world.package(package_id).state == "sending"
    for _ in range(3):
        world.make_due()
        world.confirm()
        world.verify()
    assert world.package(package_id).state == "confirmed"
    assert len(world.ports.told) == 1


def test_a_process_that_died_after_telling_leaves_a_package_that_is_verified_first(world: World):
    order_id, package_id = _shipped(world)
    world.poll()

    class Died(BaseException):
        pass

    world.faults.fail("confirm", Died(), after=True)  # type: ignore[arg-type]
    with pytest.raises(Died):
        world.confirm()
    assert world.package(package_id).state == "sending"
    assert world.confirm().outcomes == {}, "its lease has not run out"
    world.make_due()
    world.confirm()
    assert world.package(package_id).state == "confirmed"
    assert len(world.amazon.ledger.confirmations_of(order_id)) == 1


def test_already_fulfilled_with_our_tracking_number_there_is_a_confirmation(world: World):
    order_id, package_id = _shipped(world)
    world.poll()
    world.confirm()
    # What Amazon has under another name than ours, as after a restore from a backup.
    packages = world.amazon.orders[order_id].packages
    packages["7"] = packages.pop("1")
    world.sql("update pipeline.shipment_confirmations set state = 'pending'")
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.CONFIRM, [package_subject(order_id, package_id)])
    world.confirm()
    assert world.amazon.ledger.confirmations_of(order_id)[-1].outcome == "refused"
    world.verify()
    assert world.package(package_id).state == "confirmed"
    assert world.alerts() == {}


def test_an_order_that_someone_confirmed_by_hand_is_closed_and_shown(world: World):
    order_id, package_id = _shipped(world)
    world.amazon.change_status(order_id, "SHIPPED")
    world.run_until_idle()
    assert world.package(package_id).state == "by_hand"
    assert world.state(order_id) == "closed"
    assert world.ports.told == []
    assert world.alerts()["package.by_hand"].severity == "info"


def test_an_order_that_was_wrongly_believed_to_be_shipped_is_confirmed_after_all(world: World):
    order_id, package_id = _shipped(world)
    world.sql("update pipeline.orders set status = 'SHIPPED'")
    for _ in range(4):
        world.confirm_and_verify()
        world.make_due()
    assert world.package(package_id).state == "confirmed"
    assert world.amazon.orders[order_id].status == "SHIPPED"


def test_a_package_of_a_cancelled_order_is_blocked_and_told_to_a_person(world: World):
    order_id, package_id = _shipped(world)
    world.amazon.cancel(order_id)
    world.hear()
    world.sync()
    world.confirm_and_verify()
    assert world.package(package_id).state == "blocked"
    assert world.ports.told == []
    assert "Have the carrier return the package" in world.alerts()["package.blocked"].what_to_do


def test_a_cancellation_that_only_amazon_knows_of_blocks_the_package_too(world: World):
    order_id, package_id = _shipped(world)
    world.amazon.cancel(order_id, notify=False)
    world.confirm_and_verify()
    assert world.package(package_id).state == "blocked"
    assert "package.refused" not in world.alerts()


def test_an_unknown_carrier_is_sent_as_other_and_edited_once_mapped(world: World):
    order_id, package_id = _shipped(world, carrier="Bluefin Couriers")
    world.confirm_and_verify()
    (told,) = world.ports.told
    assert (told.carrier_code, told.carrier_name) == ("Other", "Bluefin Couriers")
    assert "carriers.csv" in world.alerts()["carrier.unknown"].what_to_do
    assert world.package(package_id).state == "confirmed"
    world.make_due()
    world.confirm()
    assert len(world.ports.told) == 1, "nothing is told twice while there is no code"
    assert _job(world, package_id).due_at - world.database.now() > timedelta(minutes=50)
    world.carriers = _mapped("Bluefin Couriers,*,*,OnTrac,")
    world.confirm_and_verify()
    assert [one.carrier_code for one in world.ports.told] == ["Other", "OnTrac"]
    assert {one.package_reference_id for one in world.ports.told} == {1}
    assert world.amazon.orders[order_id].packages["1"].carrier_code == "OnTrac"
    assert world.package(package_id).state == "confirmed"
    assert world.rows("pipeline.jobs", "queue, subject", "queue in ('confirm', 'verify')") == []
    assert "carrier.unknown" not in world.alerts()


def test_a_carriers_code_makes_no_package_due_whose_backoff_runs_or_that_was_parked(world: World):
    _, package_id = _shipped(world, carrier="Bluefin Couriers")
    world.confirm_and_verify()
    world.carriers = _mapped("Bluefin Couriers,*,*,OnTrac,")
    world.make_due()
    with world.database.transaction(SELLER) as tx:
        (job,) = claim(tx, Queue.CONFIRM, limit=1, lease=timedelta(minutes=1))
        assert retry(tx, job, "a defect", CONFIRM_POLICY)
    failed = _job(world, package_id)
    assert "mapped" not in world.confirm().outcomes
    assert _job(world, package_id) == failed
    world.make_due()
    with world.database.transaction(SELLER) as tx:
        (job,) = claim(tx, Queue.CONFIRM, limit=1, lease=timedelta(minutes=1))
        assert park(tx, job, "a defect")
    assert "mapped" not in world.confirm().outcomes
    assert _job(world, package_id).parked_at is not None, "a person is still asked"
    assert len(world.ports.told) == 1


def test_where_other_is_refused_a_package_waits_for_its_carriers_code(world: World):
    world.marketplace_ids = (INDIA,)
    _, package_id = _shipped(world, carrier="Bluefin Couriers", marketplace_id=INDIA)
    world.confirm_and_verify()
    assert world.ports.told == []
    assert world.package(package_id).state == "awaits_carrier"
    assert world.alerts()["carrier.unknown"].severity == "error"
    world.carriers = _mapped("Bluefin Couriers,*,*,BlueDart,")
    world.make_due()
    world.confirm_and_verify()
    assert [one.carrier_code for one in world.ports.told] == ["BlueDart"]


def test_a_refused_package_that_amazon_does_not_show_is_an_alert(world: World):
    order_id, package_id = _shipped(world)
    world.poll()
    world.sql("update pipeline.shipment_confirmations set lines = jsonb_set(lines, '{0,quantity}', '9')")
    world.confirm()
    world.verify()
    assert world.package(package_id).state == "refused"
    assert "exceed the unshipped quantity" in world.alerts()["package.refused"].message
    assert world.amazon.orders[order_id].status == "UNSHIPPED"


def test_one_package_that_fails_does_not_stop_the_others(world: World):
    orders = [_shipped(world) for _ in range(5)]
    world.poll()
    world.faults.fail("confirm", RESET, orders[0][0])
    world.faults.fail("confirm", KeyError("a defect, with a street in it: 7 Nightingale Row"), orders[1][0])
    world.confirm()
    world.make_due()
    world.verify()
    assert [world.package(package_id).state for _, package_id in orders[2:]] == ["confirmed"] * 3
    assert "Nightingale" not in world.everything_stored()
    for _ in range(3):
        world.make_due()
        world.confirm_and_verify()
    assert {world.package(package_id).state for _, package_id in orders} == {"confirmed"}
    assert world.alerts() == {}


def test_a_refused_account_stops_all_packages_and_asks_for_no_runs(world: World):
    for _ in range(12):
        _shipped(world)
    world.poll()
    refused = AmazonRoleMissing("confirmShipment answered 403: add the role.", operation="confirmShipment", status=403)
    world.faults.fail("confirm", refused, times=100)
    tally = world.confirm()
    assert tally.paused.keys() == {AMAZON}
    assert tally.outcomes["refused"] <= 6, "the others were not tried"
    with world.database.transaction(SELLER) as tx:
        assert not pending_work(tx).for_confirm
    rows = world.rows("pipeline.shipment_confirmations", "state, confirmations, known_to_amazon")
    assert {tuple(row) for row in rows} == {("pending", 0, False)}, "nothing was told"
    assert world.rows("pipeline.jobs", "queue, subject", "parked_at is not null") == []
    world.faults.clear()
    for _ in range(3):
        world.make_due()
        world.confirm_and_verify()
    assert {row.state for row in world.rows("pipeline.shipment_confirmations", "state, order_id")} == {"confirmed"}
    assert world.rows("pipeline.paused_dependencies") == []


@pytest.mark.parametrize("error", [ROLE_MISSING, SERVER_ERROR, REFUSED], ids=["403", "500", "400"])
def test_one_order_that_amazon_always_refuses_stops_itself_and_nobody_else(world: World, error: AmazonError):
    refused, first = _shipped(world)
    world.poll()
    world.faults.fail("confirm", error, refused, times=1000)
    for _ in range(CONFIRM_POLICY.attempts or 0):
        _, package_id = _shipped(world)
        world.poll()
        world.confirm()
        world.make_due()
        world.verify()
        assert world.package(package_id).state == "confirmed"
    assert world.package(first).state != "confirmed"
    assert "work.parked" not in world.alerts(WORK_ALERTS), "its ship-by time is still to come"
    _pass_ship_by(world, timedelta(hours=23))
    world.confirm()
    told = world.alerts(WORK_ALERTS).keys()
    assert "work.parked" not in told, "late is better than never"
    assert {"package.late", "package.refused"} & told, "a person hears of it meanwhile"
    _pass_ship_by(world, timedelta(hours=25))
    world.confirm()
    stopped = {"work.parked", "package.refused"} & world.alerts(WORK_ALERTS).keys()
    assert len(stopped) == 1, "a person is asked"
    calls = len(world.ports.told)
    world.make_due()
    world.confirm_and_verify()
    assert len(world.ports.told) == calls
    world.faults.clear()
    recover_order(world.database, world.vault.audit, account_id=SELLER, order_id=refused)
    world.run_until_idle()
    assert world.package(first).state == "confirmed"
    assert world.alerts(WORK_ALERTS) == {}


def test_a_quota_that_has_run_out_leaves_the_packages_as_they_were(world: World):
    _, package_id = _shipped(world)
    world.poll()
    back = world.database.now() + timedelta(minutes=3)
    world.faults.fail("confirm", LimitNotBefore("no token", operation="confirmShipment", not_before=back), times=100)
    assert world.confirm().not_before == back
    package = world.package(package_id)
    assert (package.state, package.confirmations, package.known_to_amazon) == ("pending", 0, False)
    assert _job(world, package_id).attempts == 0
    with world.database.transaction(SELLER) as tx:
        assert next_due(tx, [Queue.CONFIRM]) == back


def test_a_spent_quota_of_reading_holds_up_only_the_package_that_must_be_read_first(world: World):
    _, unknown = _shipped(world)
    world.faults.fail("confirm", RESET)
    world.confirm_and_verify()
    assert world.package(unknown).state == "sending"
    order_id = world.accepted()
    back = world.database.now() + timedelta(minutes=3)
    world.faults.fail("get_order", LimitNotBefore("no token", operation="getOrder", not_before=back), times=100)
    world.make_due()
    world.confirm()
    other = world.ship(order_id)
    world.poll()
    world.confirm()
    assert world.package(other).state == "accepted"
    assert (_job(world, unknown).due_at, _job(world, unknown).attempts) == (back, 1), "a wait is no failure"


def test_a_package_that_is_verified_is_edited_by_a_job_of_its_own(world: World):
    _, package_id = _shipped(world, carrier="Bluefin Couriers")
    world.faults.fail("confirm", RESET, after=True)
    world.confirm_and_verify()
    assert world.package(package_id).state == "sending"
    # Its carrier gets a code while what came of the call is not known.
    world.carriers = _mapped("Bluefin Couriers,*,*,OnTrac,")
    world.make_due()
    world.confirm()
    assert world.package(package_id).state != "sending", "no call is begun that no job would bring to its end"
    world.confirm_and_verify()
    assert [one.carrier_code for one in world.ports.told] == ["Other", "OnTrac"]
    assert world.package(package_id).state == "confirmed"


def test_v0_counts_each_piece_for_one_package_only(database: Database, tmp_path: Path):
    world = open_world(database, tmp_path, api_version="v0")
    order_id = world.accepted(quantities=(2,))
    packages = [world.ship(order_id, {0: 1}), world.ship(order_id, {0: 1})]
    world.amazon.faults.add("dropped", "confirmShipment")
    world.poll()
    world.confirm()
    world.make_due()
    world.verify()
    states = [world.package(package_id).state for package_id in packages]
    assert states == ["accepted", "accepted"], "it may be either"
    for _ in range(6):
        world.make_due()
        world.confirm_and_verify()
    assert [world.package(package_id).state for package_id in packages] == ["confirmed", "confirmed"]
    assert world.amazon.orders[order_id].status == "SHIPPED"


@pytest.mark.parametrize("said", ["bad \x00", "bad \ud800", "x" * 60_000])
def test_whatever_a_refusal_says_it_is_noted_bounded_and_told(world: World, said: str):
    order_id, package_id = _shipped(world)
    world.poll()
    world.faults.fail("confirm", AmazonBadRequest(said, operation="confirmShipment", status=400), order_id)
    world.confirm()
    world.verify()
    noted = world.package(package_id)
    assert (noted.state, len(noted.reason) <= LONGEST_ERROR) == ("refused", True)
    assert "package.refused" in world.alerts()
