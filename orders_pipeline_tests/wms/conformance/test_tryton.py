"""The Tryton adapter keeps every promise of what it declares, on a real Tryton, whatever it has no word for."""

from __future__ import annotations

import pytest

from orders_pipeline.wms.conformance.suite import PROMISES, try_adapter
from orders_pipeline.wms.connect import open_warehouse
from warehouses.tryton.conformance import tried
from warehouses.tryton.server import TrytonServer

GROUPS = sorted(
    {promise.name.partition(".")[0] for promise in PROMISES} - {"hold", "release", "webhook", "acknowledge"}
)
# Tryton reports nothing: the adapter makes events of what it reads there, in the contract's words. Its boxes belong to
# one shipment, and what was voided does not travel again.
NOT_IN_TRYTON = {
    "event.again_is_the_same", "event.clock", "event.merged", "event.out_of_order",
    "event.unknown_kind", "event.voided_and_shipped_again",
}  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_the_tryton_adapter_keeps_its_promises(tryton: TrytonServer, group: str):
    names = [promise.name for promise in PROMISES if promise.name.startswith(f"{group}.")]
    there = tried(tryton)
    results = list(try_adapter(open_warehouse, there.settings, lambda: there.worker, only=names))
    assert {one.promise.name: one.reason for one in results if one.verdict == "fails"} == {}
    not_tried = {one.promise.name for one in results if one.verdict == "not tried"}
    assert not_tried == {name for name in NOT_IN_TRYTON if name in names}
