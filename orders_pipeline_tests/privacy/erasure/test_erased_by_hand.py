"""Where the warehouse's adapter cannot erase, a person has it done, and says so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import overdue_erasures
from orders_pipeline.privacy.erasure.erasure import erase_order
from orders_pipeline.privacy.erasure.warehouse_erasure import note_erased_by_hand
from orders_pipeline.wms.port import Capability
from orders_pipeline.work.jobs import Queue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World, open_world


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return open_world(database, tmp_path)


def test_what_the_adapter_cannot_erase_is_never_asked_for_and_stays_owed_until_a_person_says_so(world: World):
    order_id = world.accepted()
    world.wms.capabilities -= {Capability.ERASE_PII}
    totals = erase_order(
        world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="the buyer asked"
    )
    assert (totals.shredded, totals.complete, totals.warehouse_waiting) == (1, False, 1)
    assert ("erase_pii", order_id) not in world.wms.calls
    said = {"account_id": SELLER, "order_id": order_id, "reason": "erased by hand"}
    assert note_erased_by_hand(world.database, world.vault.audit, **said)
    with world.database.transaction(SELLER) as tx:
        assert overdue_erasures(tx, older_than=timedelta()) == (0, 0), "the request is finished"
    assert world.job(Queue.ERASE, order_id) is None
    written = world.rows("audit.entries", "outcome, purpose", "action = 'warehouse_erase' and outcome = 'by_hand'")
    assert written == [("by_hand", "erased by hand")]
    assert not note_erased_by_hand(world.database, world.vault.audit, **said), "nothing is owed any more"


def test_an_order_that_the_warehouse_does_not_have_needs_no_person_to_erase_it(world: World):
    order_id = world.accepted()
    world.wms.capabilities -= {Capability.ERASE_PII}
    del world.warehouse.orders[order_id]
    totals = erase_order(world.database, world.vault, world.wms, account_id=SELLER, order_id=order_id, reason="buyer")
    assert (totals.warehouse_erased, totals.complete) == (1, True)
